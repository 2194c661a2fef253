"""What is the same on every machine: names of files and models without folders and own servers."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

TEXTS = frozenset({"stop", "citation"})
"""Keys of a recipe whose texts are no paths, whatever sign they begin with."""

OWN_ENDPOINT = "http://localhost:8000/v1"
"""Stands for a server that others cannot reach; its address says something of its owner alone."""

OWN_DOMAINS = (
    *(".local", ".localhost", ".localdomain", ".internal", ".intranet", ".private"),
    *(".corp", ".home", ".lan", ".home.arpa"),
)
"""Ends of names that no public server has: RFC 6762, appendix G; RFC 8375; RFC 6761."""

_PROVIDER = re.compile(r"([\w:-]*:)(/.*?)(&\w+=.*)?", re.DOTALL)
"""A model by its provider and the folder that a server has it in, such as openai:/srv/qwen; with
the options that change its answers."""

_SERVED = re.compile(
    r"(?P<model>\S+?)@(?P<address>https?://[^\s&]+|(?:[\w.-]+:\d+|\d+(?:\.\d+){3})(?=&|$))(?P<rest>.*)",
    re.DOTALL,
)
"""A model with the address of its server, such as openai:qwen@http://gpu-box:8000/v1, and options;
an address from the environment may lack its scheme."""

_ADDRESS = re.compile(r"https?://[^\s&\"'<>{},]+")


def movable(value: Any) -> Any:
    """JSON data without this machine's folders in absolute paths and in identities of models.

    Of a model with the address of its server, an address of an own network goes too. An address
    that stands for itself stays: which server is asked makes another recipe.
    """
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).items()
        return {key: part if key in TEXTS else movable(part) for key, part in parts}
    if isinstance(value, list):
        return [movable(part) for part in cast("list[Any]", value)]
    return _movable_name(value) if isinstance(value, str) else value


def without_own_servers(text: str) -> str:
    """A text with `OWN_ENDPOINT` in place of every address of a network of its own."""
    return _ADDRESS.sub(lambda found: _public(found[0]), text)


def is_own(address: str) -> bool:
    """Whether an address is of a network of its own: no public address, no public name."""
    try:
        host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:  # brackets that hold no address
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        name = host.rstrip(".")
        return "." not in name or name.endswith(OWN_DOMAINS)


def _public(address: str) -> str:
    return OWN_ENDPOINT if is_own(address) else address


def _movable_name(text: str) -> str:
    found = _SERVED.fullmatch(text)
    # What begins as an address may have a password before its server, and is no model.
    if found is None or "://" in found["model"]:
        return _without_folders(text)
    model, rest = _without_folders(found["model"]), without_own_servers(found["rest"])
    return f"{model}@{_public(found['address'])}{rest}"


def _without_folders(text: str) -> str:
    if Path(text).is_absolute():
        return Path(text).name
    found = _PROVIDER.fullmatch(text)
    # What has two slashes is the address of a server.
    if found is None or found[2].startswith("//"):
        return text
    return found[1] + Path(found[2]).name + (found[3] or "")
