"""Settings that reruns gave to single rows, kept in the run folder so that they stick.

A setting holds for its row and for what follows from that row in the same conversation: after a
revision that was made again with longer replies, the rounds behind it have longer replies too. The
rows before it keep the recipe's settings, and with them their calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cai.errors import RunError
from cai.records import RowKey
from cai.stages.label_maths import pairs_of
from cai.whole import write_whole

LAST = 1_000_000
"""The place in its conversation of a row that follows from all rounds."""


class KeptSettings(BaseModel):
    """What one rerun set for the rows of one stage.

    Args:
        settings: ``a.b=value`` overrides of the recipe, in their order.
        rows: those that were made again with them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: tuple[str, ...]
    rows: tuple[RowKey, ...]


class RerunFile(BaseModel):
    """All that a run folder's ``reruns.json`` says.

    Args:
        kept: from the oldest to the newest; a newer one has the last word.
        unfinished: rows that a rerun was to make again when it was stopped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept: tuple[KeptSettings, ...] = ()
    unfinished: tuple[RowKey, ...] = ()

    @property
    def rows(self) -> frozenset[RowKey]:
        """The rows that settings were kept for."""
        return frozenset(row for one in self.kept for row in one.rows)

    def keeping(self, settings: tuple[str, ...], rows: Iterable[RowKey]) -> RerunFile:
        """The same with newer settings for some rows; a row that has them already stays as is."""
        known = RowSettings(self.kept)
        new = tuple(row for row in rows if known.of(row)[-len(settings) :] != settings)
        if not (settings and new):
            return self
        return RerunFile(
            kept=(*self.kept, KeptSettings(settings=settings, rows=new)),
            unfinished=self.unfinished,
        )

    def without(self, stage: str) -> RerunFile:
        """The same without the settings of a stage's rows; of all rows if the stage is empty."""
        left = (
            KeptSettings(settings=one.settings, rows=tuple(r for r in one.rows if r.stage != stage))
            for one in self.kept
            if stage
        )
        return RerunFile(kept=tuple(one for one in left if one.rows), unfinished=self.unfinished)

    def to_do(self, rows: Iterable[RowKey]) -> RerunFile:
        """The same with these rows as the unfinished ones."""
        return RerunFile(kept=self.kept, unfinished=tuple(rows))


def read_reruns(path: Path) -> RerunFile:
    """Read a run folder's ``reruns.json``; empty if there is none.

    Raises:
        RunError: it cannot be read.
    """
    if not path.is_file():
        return RerunFile()
    try:
        return RerunFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} cannot be read ({_reason(error)}); restore it, or delete it to make all rows "
            "as the recipe says"
        ) from error


def _reason(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else fault["msg"]


def write_reruns(reruns: RerunFile, path: Path) -> None:
    """Replace the file in one step; it is on disk when this returns, or gone if it says nothing.

    Raises:
        RunError: it cannot be written.
    """
    try:
        if reruns == RerunFile():
            path.unlink(missing_ok=True)
            return
        write_whole(path, reruns.model_dump_json().encode())
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error


class RowSettings:
    """Looks up the overrides that hold for a row.

    Args:
        kept: what reruns have set.
    """

    def __init__(self, kept: Sequence[KeptSettings]) -> None:
        """Sort the settings by conversation."""
        self._by_conversation: defaultdict[RowKey, list[tuple[int, tuple[str, ...]]]]
        self._by_conversation = defaultdict(list)
        for one in kept:
            for row in one.rows:
                conversation, place = _place(row)
                self._by_conversation[conversation].append((place, one.settings))

    def of(self, key: RowKey) -> tuple[str, ...]:
        """The overrides of a row, to be applied in this order; none for most rows."""
        if not self._by_conversation:
            return ()
        conversation, place = _place(key)
        return self._until(self._by_conversation.get(conversation, ()), place)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Every sequence of overrides that some row has, each once."""
        found: dict[tuple[str, ...], None] = {}
        for settings in self._by_conversation.values():
            found.update((self._until(settings, place), None) for place, _ in settings)
        return iter(found)

    @staticmethod
    def _until(settings: Sequence[tuple[int, tuple[str, ...]]], place: int) -> tuple[str, ...]:
        return tuple(one for first, several in settings if first <= place for one in several)


@dataclass
class ChosenItems:
    """The items that a rerun takes through their steps, each named by `item_of`.

    Args:
        items: those chosen.
        replies: to each prompt that are compared with each other.
        found: those of them that the recipe's prompts and pairs still have.
    """

    items: frozenset[RowKey]
    replies: int = 2
    found: set[RowKey] = field(default_factory=set[RowKey])

    def take(self, item: RowKey) -> bool:
        """Whether an item was chosen; then it counts as found."""
        if item not in self.items:
            return False
        self.found.add(item)
        return True

    def rows(self, stages: Sequence[str], rounds: int) -> Iterator[RowKey]:
        """Every row of these stages that the items found could have, up to a number of rounds."""
        for item in self.found:
            made = _rows_of(item, rounds, self.replies)
            yield from (row for row in made if row.stage in stages)


def item_of(row: RowKey, replies: int) -> RowKey:
    """The item that makes a row: of a conversation its first response, of a group its first pair.

    Args:
        row: any.
        replies: to each prompt that are compared with each other.
    """
    pairs = len(pairs_of(replies))
    if row.stage == "pair":
        return replace(row, stage="comparison", sample=row.sample // replies * pairs)
    if row.stage == "comparison":
        return replace(row, sample=row.sample // pairs * pairs)
    return _place(row)[0]


def _place(row: RowKey) -> tuple[RowKey, int]:
    """The conversation of a row, by its first row, and the row's place in it."""
    if row.stage in ("revision", "revision_check"):
        return replace(row, stage="response", round=0), row.round
    if row.stage == "revision_over_initial":
        return replace(row, stage="response"), LAST
    return row, 0


def _rows_of(item: RowKey, rounds: int, replies: int) -> Iterator[RowKey]:
    if item.stage == "comparison":
        pairs = len(pairs_of(replies))
        for place in range(pairs):
            yield replace(item, sample=item.sample + place)
        for sample in range(replies):
            yield replace(item, stage="pair", sample=item.sample // pairs * replies + sample)
        return
    yield item
    if item.stage == "response":
        yield replace(item, stage="revision_over_initial")
        for round_number in range(1, rounds + 1):
            yield replace(item, stage="revision", round=round_number)
            yield replace(item, stage="revision_check", round=round_number)
