"""Overrides of a recipe from the command line: ``--set a.b=value``."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cai.document import Document, Place, dotted
from cai.errors import Fault, InputError


def plain_yaml() -> Any:
    """The reader and writer of plain data; it makes no objects."""
    return YAML(typ="safe", pure=True)


def plain_text(data: Mapping[str, Any]) -> bytes:
    """Plain data as YAML, in UTF-8."""
    stream = StringIO()
    plain_yaml().dump(data, stream)
    return stream.getvalue().encode()


def override_field(document: Document, override: str, source: Path | str = "--set") -> None:
    """Put the value of ``a.b=value`` in its place, making the mappings above it.

    Args:
        document: changed in place; it says afterwards what was set here.
        override: the field's path, with numbers for places in lists, and its value as YAML.
        source: where the override stands; faults name it.

    Raises:
        InputError: it is not of this form, its value is not YAML, a list has no such place, or
            something above the field has no fields.
    """
    name, equals, text = override.partition("=")
    takes_fields = isinstance(document.data, dict)
    if not equals or not name.strip() or not takes_fields:
        raise InputError(source, [Fault(f"must read field.field=value, met {override!r}")])
    try:
        value = plain_yaml().load(text)
    except YAMLError as error:
        fault = Fault(f"{override!r}: the value is not YAML; put it in quotes")
        raise InputError(source, [fault]) from error
    try:
        made = _put(document.data, name.strip().split("."), value)
    except LookupError as error:
        raise InputError(source, [Fault(f"{override!r}: {error.args[0]}")]) from error
    document.set_elsewhere[made] = str(source)


def _put(node: Any, path: Sequence[str], value: Any) -> Place:
    """Put a value in its place; gives the place of the outermost value that was made for it.

    Raises:
        LookupError: there is no such place; says what is there.
    """
    place: Place = ()
    made: Place = ()
    *parents, last = path
    for part in parents:
        key = _key(node, part, place)
        place = (*place, key)
        if isinstance(key, str) and node.get(key) is None:
            node[key] = {}
            made = made or place
        node = node[key]
    key = _key(node, last, place)
    node[key] = value
    return made or (*place, key)


def _key(node: Any, part: str, place: Place) -> str | int:
    """What a part of a path is in the mapping or list at a place."""
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        # A model may be its name alone, and needs it in a mapping too.
        also = "name: …, " if "models" in place else ""
        met = f"{dotted(place)} is {reprlib.repr(node)}, which has no fields"
        raise LookupError(f"{met}; write it whole: --set '{dotted(place)}={{{also}{part}: …}}'")
    size = len(cast("list[Any]", node))
    if not part.isdigit() or int(part) >= size:
        raise LookupError(f"{part!r} is no place in a list of {size}; count from 0")
    return int(part)
