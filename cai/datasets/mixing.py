"""Put the rows of several sources together: in proportion, each once, and counted by source.

The sources are read twice. The first time their hashes are noted in a temporary file of SQLite's
own, and it is settled there which rows stay; the second time these are given in their sources'
order. So memory does not grow with the rows, and which rows stay is a function of the rows alone,
not of their order in a file: but of rows of one rank, as of a pair whose labels contradict each
other, the first in a file stays.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cai.datasets.shares import quotas
from cai.errors import CaiError
from cai.splits import Split

Fields = Mapping[str, Any]

SPLITS: tuple[Split, ...] = ("train", "test")
MOST_REASONS = 50
"""Reasons of one source that are counted apart; those of a broken file may have no end."""

OTHER_REASONS = "other reasons"
OVER_WEIGHT = "more than its weight"
OVER_MOST = "more than its most"
REPEATED = "is a repeated row"


class LeftOut(NamedTuple):
    """A row that is no example, and why."""

    reason: str


class Example(NamedTuple):
    """A row of a source.

    Args:
        source: what the row is counted under.
        rank: a hash, hexadecimal; of a source that has too many rows, those of the largest are
            left out. It tells rows of one source apart.
        once: hash of what only one source may have.
        split: which part of the data it is for, by the hash of its messages alone.
        fields: the columns.
    """

    source: str
    rank: str
    once: str
    split: Split
    fields: Fields


@dataclass(frozen=True)
class Source:
    """Where rows come from.

    Args:
        name: what they are called in counts.
        read: gives them, the same each time.
        weight: share of the mixture beside those of other sources; None: all rows.
        most: most rows; None: all.
    """

    name: str
    read: Callable[[], Iterator[Example | LeftOut]]
    weight: float | None = None
    most: int | None = None


@dataclass(frozen=True)
class Mixed:
    """What was written of each source.

    Args:
        rows: by source and split.
        left_out: by source and reason.
    """

    rows: Mapping[str, Mapping[Split, int]]
    left_out: Mapping[str, Mapping[str, int]]

    def to_json(self) -> dict[str, dict[str, Any]]:
        """One data set's part of ``mix`` in `metrics.json`, by source."""
        return {
            name: {**counts, "left_out": dict(self.left_out.get(name, {}))}
            for name, counts in self.rows.items()
        }

    def reasons(self, data: str) -> dict[str, int]:
        """What was left out of a data set, by its name, source and reason together."""
        return {
            f"{data}, {source}: {reason}": number
            for source, reasons in self.left_out.items()
            for reason, number in reasons.items()
        }

    @property
    def totals(self) -> dict[Split, int]:
        """Rows of each split."""
        return {split: sum(counts[split] for counts in self.rows.values()) for split in SPLITS}


@dataclass
class Mixture:
    """Mixes sources; counts what it has given and left out.

    Args:
        sources: of names that differ. Of what several have, the first one's is kept.
        checked: False if all rows are given as they come, and nothing can be left out.
        repeated: why a row goes that an earlier source has too, with {} for its name.
    """

    sources: Sequence[Source]
    checked: bool
    repeated: str = "is in {} too"
    _given: dict[str, Counter[Split]] = field(default_factory=dict[str, "Counter[Split]"])
    _left_out: dict[str, Counter[str]] = field(default_factory=dict[str, "Counter[str]"])

    def rows(self) -> Iterator[tuple[Split, Fields]]:
        """The rows that stay, source after source.

        Raises:
            CaiError: a source with a weight has no row to train on.
        """
        self._given, self._left_out = {}, {}
        if not self.checked:
            yield from self._given_of(lambda place, example: True)
            return
        with closing(_Notes()) as notes:
            for place, source in enumerate(self.sources):
                self._note(place, source, notes)
            for split in SPLITS:
                self._cut_to_weights(split, notes)
            yield from self._given_of(lambda place, example: notes.take(place, example.rank))

    @property
    def mixed(self) -> Mixed:
        """What `rows` has given, once it is at its end."""
        rows: dict[str, Mapping[Split, int]] = {
            name: {split: self._given.get(name, Counter[Split]())[split] for split in SPLITS}
            for name in dict.fromkeys((*self._given, *self._left_out))
        }
        return Mixed(rows, {name: dict(found) for name, found in self._left_out.items()})

    def _given_of(self, stays: Callable[[int, Example], bool]) -> Iterator[tuple[Split, Fields]]:
        for place, source in enumerate(self.sources):
            for example in source.read():
                if not isinstance(example, LeftOut) and stays(place, example):
                    self._given.setdefault(example.source, Counter[Split]())[example.split] += 1
                    yield example.split, example.fields

    def _note(self, place: int, source: Source, notes: _Notes) -> None:
        for example in source.read():
            if isinstance(example, LeftOut):
                self._leave_out(source.name, example.reason)
            elif (owner := notes.owner(example.once)) is not None:
                self._leave_out(source.name, self.repeated.format(self.sources[owner].name))
            elif not notes.note(place, example):
                self._leave_out(source.name, REPEATED)
        if source.most is not None and (cut := notes.cut(place, source.most)):
            self._leave_out(source.name, OVER_MOST, cut)
        # Rows that are left out for good take none from the sources after this one.
        if source.weight != 0:
            notes.claim(place)

    def _leave_out(self, name: str, reason: str, number: int = 1) -> None:
        counted = self._left_out.setdefault(name, Counter[str]())
        known = reason in counted or len(counted) < MOST_REASONS
        counted[reason if known else OTHER_REASONS] += number

    def _cut_to_weights(self, split: Split, notes: _Notes) -> None:
        places = {source.name: place for place, source in enumerate(self.sources)}
        weights = {one.name: one.weight for one in self.sources if one.weight is not None}
        there = {name: notes.count(places[name], split) for name in weights}
        empty = [name for name, weight in weights.items() if weight and not there[name]]
        if split == "train" and empty:
            raise CaiError(
                f"mix: {' and '.join(empty)} cannot have a share of the rows to train on: there "
                f"is no row ({self._why(empty[0])}); give it rows, or no weight"
            )
        for name, number in quotas(there, weights).items():
            if cut := notes.cut(places[name], number, split):
                self._leave_out(name, OVER_WEIGHT, cut)

    def _why(self, name: str) -> str:
        found = self._left_out.get(name, Counter[str]())
        reasons = [f"{reason}: {number}" for reason, number in found.items()]
        return ", ".join(reasons) or "none was there"


class _Notes:
    """Which rows there are, by source and hash, in a temporary file; close it at the end."""

    def __init__(self) -> None:
        # A pass that was stopped leaves its rows to the garbage collector, in whatever thread.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        # Nothing here outlives the process, so nothing need be safe from a power cut.
        self._file.execute("PRAGMA journal_mode = OFF")
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute(
            "CREATE TABLE stays (source INTEGER, rank BLOB, split TEXT, once BLOB, "
            "PRIMARY KEY (source, rank)) WITHOUT ROWID"
        )
        self._file.execute("CREATE TABLE owners (once BLOB PRIMARY KEY, source INT) WITHOUT ROWID")
        self._file.execute("BEGIN")

    def claim(self, source: int) -> None:
        """Make a source the owner of what its noted rows have."""
        taken = "INSERT OR IGNORE INTO owners SELECT once, source FROM stays WHERE source = ?"
        self._file.execute(taken, (source,))

    def owner(self, once: str) -> int | None:
        """The source that has claimed a hash; None if none has."""
        values = (bytes.fromhex(once),)
        found = self._file.execute("SELECT source FROM owners WHERE once = ?", values).fetchone()
        return None if found is None else int(found[0])

    def note(self, source: int, example: Example) -> bool:
        """Note that a row stays; False if its source has one of this rank already."""
        once, rank = (bytes.fromhex(one) for one in (example.once, example.rank))
        values = (source, rank, example.split, once)
        done = self._file.execute("INSERT OR IGNORE INTO stays VALUES (?, ?, ?, ?)", values)
        return done.rowcount == 1

    def count(self, source: int, split: Split) -> int:
        """Rows of a source and split that stay."""
        asked = "SELECT count(*) FROM stays WHERE source = ? AND split = ?"
        return int(self._file.execute(asked, (source, split)).fetchone()[0])

    def cut(self, source: int, number: int, split: Split | None = None) -> int:
        """Keep so many rows of a source, those of the smallest ranks; gives how many have gone."""
        where = "source = ?" if split is None else "source = ? AND split = ?"
        which = (source,) if split is None else (source, split)
        asked = f"SELECT rank FROM stays WHERE {where} ORDER BY rank LIMIT 1 OFFSET ?"
        first = self._file.execute(asked, (*which, number)).fetchone()
        if first is None:
            return 0
        goes = f"DELETE FROM stays WHERE {where} AND rank >= ?"
        return self._file.execute(goes, (*which, first[0])).rowcount

    def take(self, source: int, rank: str) -> bool:
        """Whether a row stays that was not taken yet."""
        values = (source, bytes.fromhex(rank))
        gone = self._file.execute("DELETE FROM stays WHERE source = ? AND rank = ?", values)
        return gone.rowcount == 1

    def close(self) -> None:
        """Forget all."""
        self._file.close()
