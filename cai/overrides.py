"""Overrides of a recipe from the command line: ``--set a.b=value``."""

from __future__ import annotations

from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cai.document import Document
from cai.errors import Fault, InputError


def plain_yaml() -> Any:
    """The reader and writer of plain data; it makes no objects."""
    return YAML(typ="safe", pure=True)


def override_field(document: Document, override: str) -> None:
    """Put the value of ``a.b=value`` in its place, making the mappings above it.

    Args:
        document: changed in place.
        override: the field's path, with numbers for places in lists, and its value as YAML.

    Raises:
        InputError: it is not of this form, its value is not YAML, or a list has no such place.
    """
    node: Any = document.data
    name, equals, text = override.partition("=")
    if not equals or not name.strip() or not isinstance(node, dict):
        raise InputError("--set", [Fault(f"must read field.field=value, met {override!r}")])
    try:
        value = plain_yaml().load(text)
    except YAMLError as error:
        fault = Fault(f"{override!r}: the value is not YAML; put it in quotes")
        raise InputError("--set", [fault]) from error
    *parents, last = name.strip().split(".")
    for part in parents:
        if isinstance(node, dict):
            node = cast("dict[str, Any]", node).setdefault(part, {})
        else:
            node = node[_index(node, part, override)]
    if isinstance(node, dict):
        node[last] = value
    else:
        node[_index(node, last, override)] = value


def _index(node: Any, part: str, override: str) -> int:
    size = len(cast("list[Any]", node)) if isinstance(node, list) else 0
    if not part.isdigit() or int(part) >= size:
        fault = Fault(f"{override!r}: {part!r} is no place in a list of {size}; count from 0")
        raise InputError("--set", [fault])
    return int(part)
