"""Keys of a recipe, as pages and commands write them: ``comparisons.label.orders``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from cai.recipe import Recipe

DOTTED = re.compile(rf"({'|'.join(Recipe.model_fields)})(\.[a-z_]+)+")

NO_KEYS = frozenset({"datasets.load_dataset"})
"""Names of other things that begin as a key does."""


def is_key(name: str) -> bool:
    """Whether a recipe has a key, or takes any name at that place."""
    return _is_under(Recipe, name.split("."))


def looks_like_a_key(text: str) -> bool:
    """Whether a piece of code in a text is meant as a key within a section."""
    return text not in NO_KEYS and DOTTED.fullmatch(text) is not None


def _is_under(model: type[BaseModel], names: Sequence[str]) -> bool:
    field = model.model_fields.get(names[0])
    if field is None:
        return False
    if len(names) == 1:
        return True
    parts = (field.annotation, *get_args(field.annotation))
    return any(_takes(part, names[1:]) for part in parts)


def _takes(part: Any, names: Sequence[str]) -> bool:
    """Whether a value of some kind has a key; a mapping has any."""
    if isinstance(part, type) and issubclass(part, BaseModel):
        return _is_under(part, names)
    return getattr(part, "__origin__", None) is dict
