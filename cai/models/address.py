"""The address of a server, as a recipe gives it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_NAMES_A_USER = re.compile(r"[^/]*//[^/\s?#]*@")


def check_address(address: str) -> None:
    """Refuse an address with a user or a password in it, or with a port that no server can have.

    Raises:
        ValueError: says what is wrong and what to do.
    """
    if _NAMES_A_USER.match(address):
        # The address is not shown: it may hold a password, and it would go into ledger and cards.
        raise ValueError(
            "has a user or a password before its @; leave them out, and name the environment "
            "variable that holds the key by api_key_env"
        )
    try:
        port = urlsplit(address).port
    except ValueError as error:
        raise ValueError(f"{address!r} is no address: {error}") from error
    if port == 0:
        raise ValueError(f"{address!r} is no address: no server can have port 0")
