"""What differs between two constitutions: which principles, and which of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from cai.constitution.schema import TEXTS, Constitution, Principle
from cai.constitution.shots import FewShots

Change = Literal["added", "removed", "reworded", "changed"]
"""Reworded: a text that is sent to a model differs; changed: another field does."""


@dataclass(frozen=True)
class FieldChange:
    """One field before and after; None where there is none."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class PrincipleChange:
    """What became of one principle.

    Args:
        id: the principle's.
        change: what became of it.
        fields: that differ.
        was: the id that an added principle of the very same content had before; empty if none.
    """

    id: str
    change: Change
    fields: tuple[FieldChange, ...]
    was: str = ""


@dataclass(frozen=True)
class Difference:
    """What differs between two constitutions.

    Args:
        principles: that differ, in the order of the second constitution; removed ones last.
        few_shots: stages whose examples differ.
        about: fields of the constitution itself that differ, such as its language.
    """

    principles: tuple[PrincipleChange, ...]
    few_shots: tuple[FieldChange, ...]
    about: tuple[FieldChange, ...]

    @property
    def is_empty(self) -> bool:
        """Whether they say the same."""
        return not (self.principles or self.few_shots or self.about)


ABOUT = ("title", "version", "license", "language", "source")
PRINCIPLE = tuple(key for key in Principle.model_fields if key != "id")
SHOTS = tuple(FewShots.model_fields)

Said = Mapping[str, Mapping[str, Any]]
"""JSON data of what principles say, by their ids."""


def difference(before: Constitution, after: Constitution) -> Difference:
    """Compare two constitutions by what they say, whatever files it comes from.

    Order, comments and layout make no difference, nor does it matter what is inherited.
    """
    return Difference(
        principles=tuple(principle_changes(said_of(before.principles), said_of(after.principles))),
        few_shots=tuple(_fields(_said(before.few_shots, SHOTS), _said(after.few_shots, SHOTS))),
        about=tuple(_fields(_said(before, ABOUT), _said(after, ABOUT))),
    )


def principle_changes(before: Said, after: Said) -> Iterator[PrincipleChange]:
    """What became of principles, in the order of the second ones; removed ones last.

    Args:
        before: JSON data of each principle's fields that were said, by its id.
        after: the same.
    """
    gone = {id: fields for id, fields in before.items() if id not in after}
    for id, said in after.items():
        if id not in before:
            was = next((other for other, fields in gone.items() if fields == said), "")
            yield PrincipleChange(id, "added", tuple(_fields({}, said)), was)
        elif fields := tuple(_fields(before[id], said)):
            reworded = any(field.field in TEXTS for field in fields)
            yield PrincipleChange(id, "reworded" if reworded else "changed", fields)
    for id, said in gone.items():
        yield PrincipleChange(id, "removed", tuple(_fields(said, {})))


def said_of(principles: Iterable[Principle]) -> dict[str, dict[str, Any]]:
    """JSON data of the fields of principles that differ from what is meant without them, by id."""
    return {one.id: _said(one, PRINCIPLE) for one in principles}


def _said(model: BaseModel, keys: tuple[str, ...]) -> dict[str, Any]:
    fields = type(model).model_fields
    own = {key for key in keys if getattr(model, key) != fields[key].default}
    data = model.model_dump(mode="json", include=own, exclude_none=True)
    return {key: data[key] for key in keys if key in data}


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FieldChange]:
    for key in sorted({**before, **after}, key=_place):
        old, new = before.get(key), after.get(key)
        if old != new:
            yield FieldChange(key, old, new)


def _place(key: str) -> int:
    """Fields stand as they do in a principle; others (of examples, of the whole) stay in order."""
    return PRINCIPLE.index(key) if key in PRINCIPLE else -1
