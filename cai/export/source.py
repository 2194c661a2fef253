"""What an export is made of: a run's rows, what is asked of them, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cai.datasets.parquet import open_parquet
from cai.errors import CaiError
from cai.export.files import FileType
from cai.pipeline.folder import RunFolder

DataSet = Literal["sft", "preferences"]

ROWS_PER_BATCH = 1000


@dataclass(frozen=True)
class Source:
    """A run that is exported.

    Args:
        run: the run's folder.
        minimum_margin: least P(chosen is better) − P(rejected is better), in [0, 1].
        file_type: JSON lines or Parquet.
        left_out: gets what has no place in the format, by reason.
    """

    run: RunFolder
    minimum_margin: float
    file_type: FileType
    left_out: Counter[str] = field(default_factory=Counter[str])

    def has(self, name: DataSet) -> bool:
        """Whether the run has made a data set."""
        return self.folder(name).is_dir()

    def rows(self, name: DataSet, split: str) -> Iterator[dict[str, Any]]:
        """Stream the rows of a split; of online training, the pairs of all iterations.

        Raises:
            InputError: a file of it is damaged.
        """
        for path in sorted((self.folder(name) / split).glob("*.parquet")):
            with open_parquet(path) as file:
                for batch in file.iter_batches(ROWS_PER_BATCH):
                    yield from batch.to_pylist()

    def refuse_margin(self, format: str, why: str) -> None:
        """Refuse a margin where no pair is left out for its label.

        Raises:
            CaiError: one was asked for.
        """
        if self.minimum_margin:
            raise CaiError(f"--format {format} {why}; leave --minimum-margin out")

    def folder(self, name: DataSet) -> Path:
        """Where a data set of the run lies."""
        run = self.run.last_with("preferences") if name == "preferences" else self.run
        return run.dataset(name)


@dataclass(frozen=True)
class Written:
    """A data set of an export.

    Args:
        name: of the data set.
        holds: what it is for, in a sentence.
        made_of: the run's data set that it was made of.
        folder: where its files lie in the export; "." for the export itself.
        splits: rows by split; a split without rows has no file.
        suffix: of the files, such as "jsonl"; empty for what `datasets` does not load.
        sources: rows by the column ``source`` and split, where a row is of one source.
    """

    name: str
    holds: str
    made_of: DataSet
    folder: str
    splits: Mapping[str, int]
    suffix: str
    sources: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])


Exporter = Callable[[Source, Path], Sequence[Written]]
"""Writes a run's rows into a new folder, as one program reads them."""
