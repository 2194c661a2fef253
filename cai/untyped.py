"""Import libraries that ship no types, late and as `Any`, so that strict checking stays on."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def untyped(name: str) -> Any:
    """A module by name, imported now: heavy libraries load where they are used."""
    return import_module(name)
