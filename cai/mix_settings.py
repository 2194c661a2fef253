"""How a recipe says what SFT and the preference model learn from beside each other: ``mix``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from cai.sources.hub import HubSource
from cai.stages.baseline_pairs import PairSource
from cai.validation import Broken, Entry, check_with

SftOrigin = Literal["revision", "helpful"]
"""What a run has for SFT of its own, as the column ``origin`` of the data says it."""

PairOrigin = PairSource | Literal["human"]
"""What a run has of pairs of its own, as the column ``source`` of the data says it."""

SFT_ORIGINS: tuple[SftOrigin, ...] = get_args(SftOrigin)
PAIR_ORIGINS: tuple[PairOrigin, ...] = (*get_args(PairSource), "human")

_MADE_BY = {"helpful": "prompts.helpful", "human": "comparisons.human"}
"""Fields of the recipe that make rows of an origin, if not ``comparisons.sources``."""

MixedData = Literal["sft", "preferences"]
"""The data sets that are mixed."""


class MixedSource(HubSource):
    """One source of rows: a part of the run's own, a file, or a data set on the hub."""

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="What its rows are called, in the column source and in counts; by default the "
        "name of the file or of the data set.",
    )
    file: Path | None = Field(
        default=None, description="A .jsonl, .json, .csv or .parquet file, the texts also gzipped."
    )
    weight: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Its share of the rows: sources that have weights give rows in their "
        "proportion, in train and in test. Without one, all of its rows.",
    )
    most: int | None = Field(
        default=None,
        ge=1,
        description="Most rows of it: those with the smallest hashes, wherever they stand.",
    )
    kind: Literal["harmful", "harmless"] = Field(
        default="harmless", description="What the prompts of a file or data set are taken to be."
    )

    @property
    def origin(self) -> str | None:
        """The part of the run's own rows that this is; None for a file or data set."""
        return None

    @property
    def title(self) -> str:
        """What its rows are called; it never holds a folder of this machine."""
        return self.name or self.origin or self.short_name or ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = {"run": self.origin, "file": self.file, "dataset": self.dataset}
        found = [name for name, value in given.items() if value]
        if len(found) != 1:
            met = " and ".join(found) or "none"
            raise ValueError(f"give exactly one of run, file and dataset; met {met}")
        if self.origin and (self.name is not None or self.limit is not None):
            raise ValueError(
                "name and limit are for files and data sets; rows of the run keep their names, "
                "and most says how many of them are taken"
            )
        return self


class SftSource(MixedSource):
    """A source of conversations that end with a reply to learn."""

    run: SftOrigin | None = Field(default=None, description="A part of the run's own rows.")

    @property
    def origin(self) -> str | None:
        """The part of the run's own rows that this is; None for a file or data set."""
        return self.run


class PairOfSource(MixedSource):
    """A source of pairs of replies."""

    run: PairOrigin | None = Field(default=None, description="A part of the run's own pairs.")

    @property
    def origin(self) -> str | None:
        """The part of the run's own pairs that this is; None for a file or data set."""
        return self.run


class MixSettings(Entry):
    """What is learned from, beside or in place of what the run has made.

    The run's own rows come first, all of them, unless they are named.
    """

    repeated: Literal["rows", "prompts"] = Field(
        default="rows",
        description="What may be in one source only, in the first that has it: rows, or all rows "
        "of a prompt.",
    )
    sft: tuple[SftSource, ...] = Field(default=(), description="Sources of datasets/sft.")
    preferences: tuple[PairOfSource, ...] = Field(
        default=(), description="Sources of datasets/preferences."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _told_apart(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return check_with(value, handler, _same_names(value))

    def of(self, data: MixedData) -> tuple[MixedSource, ...]:
        """The sources of a data set, in the recipe's order."""
        return self.sft if data == "sft" else self.preferences

    @property
    def files(self) -> tuple[MixedSource, ...]:
        """All sources that are no part of the run's own rows."""
        return tuple(one for one in (*self.sft, *self.preferences) if one.origin is None)

    def not_made(self, made: Collection[str]) -> Iterator[Broken]:
        """Sources of which a recipe makes no row, as faults of it.

        Args:
            made: what it does make.
        """
        for data in get_args(MixedData):
            for place, source in enumerate(self.of(data)):
                if source.origin and source.origin not in made:
                    field = _MADE_BY.get(source.origin, "comparisons.sources")
                    message = f"is {source.origin!r}, of which {field} makes no row; delete it"
                    yield Broken(("mix", data, place, "run"), message)

    def anchored(self, folder: Path) -> Self:
        """The same with relative paths resolved against a folder."""
        return self._with_files(
            lambda one: {"file": (folder / one.file).resolve()} if one.file else {}
        )

    def limited(self, limit: int) -> Self:
        """The same with files and data sets cut to so many rows each."""
        return self._with_files(lambda one: {"limit": min(one.limit or limit, limit)})

    def _with_files(self, change: Callable[[MixedSource], Mapping[str, object]]) -> Self:
        def changed(one: MixedSource) -> MixedSource:
            return one if one.origin else one.model_copy(update=change(one))

        parts = [tuple(map(changed, sources)) for sources in (self.sft, self.preferences)]
        return self.model_copy(update=dict(zip(("sft", "preferences"), parts, strict=True)))


def _same_names(value: Any) -> Iterator[Broken]:
    """Sources of one data set whose rows could not be told apart; `value` may be anything."""
    if not isinstance(value, Mapping):
        return
    own: Mapping[str, tuple[str, ...]] = {"sft": SFT_ORIGINS, "preferences": PAIR_ORIGINS}
    for data, origins in own.items():
        listed: Any = cast("Mapping[str, Any]", value).get(data)
        if not isinstance(listed, list | tuple):
            continue
        met = Counter[str]()
        for place, source in enumerate(cast("list[Any]", listed)):
            name, is_own = _title(source)
            if name and name in origins and not is_own:
                message = f"{name!r} is what rows of the run are called; give it another name"
                yield Broken((data, place, "name"), message)
            elif name and met[name]:
                message = f"{name!r} is the name of a source above; give it another name"
                yield Broken((data, place), message)
            met[name or ""] += 1


def _title(source: Any) -> tuple[str | None, bool]:
    """What a source will be called, and whether it is a part of the run's own rows."""
    if isinstance(source, MixedSource):
        return source.title, source.origin is not None
    if not isinstance(source, Mapping):
        return None, False
    fields = cast("Mapping[str, Any]", source)
    run, name, file = fields.get("run"), fields.get("name"), fields.get("file")
    found = name or run or (Path(str(file)).name if file else fields.get("dataset"))
    return (str(found) if found else None), bool(run) and not name
