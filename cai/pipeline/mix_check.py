"""Look at the sources of a mix before anything is bought: all that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from cai.document import Document, Place, dotted
from cai.errors import Fault, InputError
from cai.mix_settings import MixedData, MixedSource
from cai.recipe import Recipe
from cai.sources import Unreadable
from cai.sources.mixed_rows import read_conversations, read_labelled_pairs

FIRST_ROWS = 20
"""Rows of a source that are looked at; one that can be read is enough."""

_READ: dict[MixedData, Callable[[MixedSource], Iterator[Any]]] = {
    "sft": read_conversations,
    "preferences": read_labelled_pairs,
}


def check_mix(recipe: Recipe, document: Document | None = None, *, foretold: bool = False) -> None:
    """Refuse files and data sets of a mix that nothing can be learned from.

    Args:
        recipe: any.
        document: the file that it was read from, for the lines of faults; None for none.
        foretold: whether the run is only foretold: then data sets on the hub are not asked for,
            nor files that say how many rows they will have.

    Raises:
        InputError: some cannot be read, or none of their first rows can; all are named.
    """
    faults: list[Fault] = []
    for data in get_args(MixedData):
        for index, source in enumerate(recipe.mix.of(data)):
            if source.origin or (foretold and not _is_to_be_there(source)):
                continue
            if told := _fault(source, _READ[data]):
                place = ("mix", data, index, "file" if source.file else "dataset")
                faults.append(Fault(told, dotted(place), _line(document, place)))
    if faults:
        where: Path | str = f"the recipe {recipe.name}" if document is None else document.path
        raise InputError(where, sorted(faults, key=lambda fault: fault.line or 0))


def _is_to_be_there(source: MixedSource) -> bool:
    return source.is_at_hand or (source.file is not None and source.rows is None)


def _line(document: Document | None, place: Place) -> int | None:
    return None if document is None else document.line(place)


def _fault(source: MixedSource, read: Callable[[MixedSource], Iterator[Any]]) -> str | None:
    """What is wrong with a source; None if one of its first rows can be learned from."""
    try:
        rows = list(islice(read(source), FIRST_ROWS))
    except InputError as error:
        return "; ".join(f"{Path(error.source).name} {fault.message}" for fault in error.faults)
    if any(not isinstance(row, Unreadable) for row in rows):
        return None
    return _unreadable(source.title, rows)


def _unreadable(name: str, rows: Sequence[Unreadable]) -> str:
    if not rows:
        return f"{name} has no row; name a file that has some, or delete it"
    reasons = "; ".join(dict.fromkeys(row.reason for row in rows))
    return f"{name}: none of its first {len(rows)} rows can be learned from: each {reasons}"
