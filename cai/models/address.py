"""The address of a server, as a recipe gives it."""

from __future__ import annotations

import re
import reprlib
from urllib.parse import urlsplit

_WHOLE = re.compile(r"https?://[^\s?#]+[^\s?#/]")
_NAMES_A_USER = re.compile(r"[^/]*//[^/\s?#]*@")


def check_address(address: str) -> None:
    """Refuse what is no address that paths can be put behind, or one with a user or a password.

    Raises:
        ValueError: says what is wrong and what to do.
    """
    if _NAMES_A_USER.match(address):
        # The address is not shown: it may hold a password, and it would go into ledger and cards.
        raise ValueError(
            "has a user or a password before its @; leave them out, and name the environment "
            "variable that holds the key by api_key_env"
        )
    if _WHOLE.fullmatch(address) is None:
        # What stands behind a question mark is not shown: it may be a key.
        shown = reprlib.repr(re.split(r"[?#]", address)[0])
        raise ValueError(
            f"{shown} is no address of a server; write one such as http://127.0.0.1:8000/v1, "
            "with http:// or https://, and without a last slash, ? or #"
        )
    try:
        port = urlsplit(address).port
    except ValueError as error:
        raise ValueError(f"{address!r} is no address: {error}") from error
    if port == 0:
        raise ValueError(f"{address!r} is no address: no server can have port 0")
