"""What is the same on every machine: names of files and models without the folders they lie in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

TEXTS = frozenset({"stop", "citation"})
"""Keys of a recipe whose texts are no paths, whatever sign they begin with."""

_PROVIDER = re.compile(r"([\w:-]*:)(/.*)", re.DOTALL)
"""A model by its provider and the folder that a server has it in, such as openai:/srv/qwen."""


def movable(value: Any) -> Any:
    """JSON data with the folders of this machine left out of its absolute paths."""
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value).items()
        return {key: part if key in TEXTS else movable(part) for key, part in parts}
    if isinstance(value, list):
        return [movable(part) for part in cast("list[Any]", value)]
    return _without_folders(value) if isinstance(value, str) else value


def _without_folders(text: str) -> str:
    if Path(text).is_absolute():
        return Path(text).name
    found = _PROVIDER.fullmatch(text)
    # What has two slashes is the address of a server.
    if found is None or found[2].startswith("//"):
        return text
    return found[1] + Path(found[2]).name
