"""What is the same on every machine: names of files and models without the folders they lie in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast


def movable(value: Any) -> Any:
    """JSON data with the folders of this machine left out of its absolute paths."""
    if isinstance(value, dict):
        return {key: movable(part) for key, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [movable(part) for part in cast("list[Any]", value)]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
