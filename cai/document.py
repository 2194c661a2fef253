"""A YAML file as plain data, with the line of every value in it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.reader import ReaderError

from cai.errors import Fault, InputError

Place = tuple[str | int, ...]
"""Keys and list positions that lead from the top of a file to a value."""

MOST_VALUES = 200_000
"""A larger file is refused: a few nested aliases could stand for billions of values."""

_HINTS = {
    "mapping values are not allowed here": 'put a text that has ": " in it in quotes',
    "cannot start any token": "indent with spaces; put a text that begins with a sign in quotes",
    "expected a single document": "delete the line '---' between the documents",
    "undefined alias": "define it with &, or put a text that begins with * in quotes",
}


@dataclass(frozen=True)
class Document:
    """What a YAML file says, and where it says it.

    Args:
        path: the file.
        data: mappings, lists, texts, numbers, booleans and None; texts are as written.
        lines: 1-based line of each key or list item.
        faults: what is wrong whatever the file is for: repeated keys, unknown tags.
        set_elsewhere: values that the file does not say, and who does, such as ``--set``.
    """

    path: Path
    data: Any
    lines: Mapping[Place, int]
    faults: tuple[Fault, ...] = ()
    set_elsewhere: dict[Place, str] = field(default_factory=dict[Place, str])

    def line(self, place: Place) -> int | None:
        """Line of the value at a place, or of the innermost value around it that is there."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)

    def fault(self, message: str, place: Place) -> Fault:
        """Something wrong at a place, with its line, or with who set what is there."""
        for length in range(len(place), 0, -1):
            if source := self.set_elsewhere.get(place[:length]):
                return Fault(message, dotted(place), source=source)
        return Fault(message, dotted(place), self.line(place))


def read_document(path: Path) -> Document:
    """Read a YAML file (version 1.2, one document, no tags that make objects).

    Raises:
        InputError: the file cannot be read, is not UTF-8 text or is not YAML. The parser stops
            at the first fault of that kind, so it is the only one given.
    """
    text = _text(path)
    try:
        node = _parser().compose(text)
        walk = _Walk()
        data = None if node is None else _plain(node, (), walk, ())
    except YAMLError as error:
        raise InputError(path, [_syntax_fault(error, text)]) from error
    except RecursionError as error:
        raise InputError(path, [Fault("is nested too deeply to read; flatten it")]) from error
    except _TooLarge as error:
        fault = Fault(f"has more than {MOST_VALUES:,} values, its aliases followed; shorten it")
        raise InputError(path, [fault]) from error
    return Document(path, data, walk.lines, tuple(walk.faults))


def dotted(place: Place) -> str:
    """Write a place as ``principles.3.critique``."""
    return ".".join(str(step) for step in place)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(path, [Fault("is not there; check the path")]) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        fault = Fault(f"cannot be read ({reason}); name a YAML file")
        raise InputError(path, [fault]) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        met = f"has the byte 0x{raw[error.start]:02x}, which is not UTF-8 text"
        raise InputError(path, [Fault(f"{met}; save it as UTF-8", line=line)]) from error


def _parser() -> Any:
    """A parser whose nodes keep their lines; Any, since ruamel declares no types."""
    return YAML(typ="safe", pure=True)


def _syntax_fault(error: Any, text: str) -> Fault:
    if isinstance(error, ReaderError):
        met: Any = error
        code = met.character if isinstance(met.character, int) else ord(met.character)
        line = text.count("\n", 0, met.position) + 1
        return Fault(f"has the character U+{code:04X}, which YAML forbids; delete it", line=line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    hint = next((hint for sign, hint in _HINTS.items() if sign in problem), "correct the line")
    message = f"is not valid YAML: {problem}; {hint}"
    return Fault(message, line=None if mark is None else mark.line + 1)


class _TooLarge(Exception):
    """The walk met more values than a file of ours can have."""


@dataclass
class _Walk:
    """What is gathered on the way through a file."""

    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    faults: list[Fault] = field(default_factory=list[Fault])
    seen: int = 0

    def fault(self, message: str, place: Place, node: Any) -> None:
        self.faults.append(Fault(message, dotted(place), _line(node)))


def _plain(node: Any, place: Place, walk: _Walk, above: tuple[int, ...]) -> Any:
    """Data of a node of ruamel's, which is typed as Any since ruamel declares no types."""
    walk.seen += 1
    if walk.seen > MOST_VALUES:
        raise _TooLarge
    walk.lines.setdefault(place, _line(node))
    if id(node) in above:
        walk.fault("is an alias of something around it; write it out", place, node)
        return None
    if node.tag not in _KINDS:
        walk.fault(f"has the tag {node.tag}, which is not read; delete the tag", place, node)
        return None
    above = (*above, id(node))
    if node.id == "mapping":
        return _mapping(node, place, walk, above)
    if node.id == "sequence":
        return [_plain(item, (*place, index), walk, above) for index, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: Any, place: Place, walk: _Walk, above: tuple[int, ...]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.id != "scalar":
            walk.fault("has a list or mapping as a key; write a word", place, key_node)
            continue
        key = str(key_node.value)
        here = (*place, key)
        if key in mapping:
            first = walk.lines[here]
            walk.fault(f"is written twice, first on line {first}; delete one", here, key_node)
            continue
        walk.lines[here] = _line(key_node)
        mapping[key] = _plain(value_node, here, walk, above)
    return mapping


def _scalar(node: Any) -> bool | int | float | str | None:
    """Numbers, booleans and null by YAML's rules; whatever else (dates too) stays text."""
    if node.tag in _NOT_TEXT:
        with contextlib.suppress(ValueError):  # such as a number of 5,000 digits
            return _parser().constructor.construct_object(node)
    return str(node.value)


_NOT_TEXT = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
_KINDS = _NOT_TEXT | {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "timestamp", "merge", "value")
}


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
