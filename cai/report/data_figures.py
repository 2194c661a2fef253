"""What a data set of a run holds, counted for its card."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from cai.datasets.parquet import open_parquet
from cai.movable import movable
from cai.stages.baseline_pairs import PairSource

COUNTED = ("source", "prompt_source", "kind", "origin", "principle", "model")
"""Columns whose values are counted, in those data sets that have them."""

MARGINS = 10
"""Bins of the histogram of margins; ties stand apart."""

ROWS_PER_BATCH = 5000


@dataclass
class DataFigures:
    """Counts of all rows, held out ones too.

    Args:
        rows: how many.
        values: rows by the value of a column, by column; empty values are not counted.
        words: of all replies to learn from, or all chosen ones.
        ties: pairs whose label is one half.
        margins: other pairs by P(chosen is better) − P(rejected is better), in bins of one tenth,
            each with its upper edge.
    """

    rows: int = 0
    values: dict[str, Counter[str]] = field(default_factory=dict[str, "Counter[str]"])
    words: int = 0
    ties: int = 0
    margins: list[int] = field(default_factory=lambda: [0] * MARGINS)

    @property
    def sources(self) -> Mapping[str, int]:
        """Rows by where their prompts come from."""
        return self.values.get("prompt_source") or self.values.get("source") or {}

    @property
    def has_labels(self) -> bool:
        """Whether rows are pairs with a label."""
        return bool(self.ties or sum(self.margins))

    @property
    def brought(self) -> int:
        """Rows whose label or reply was there before: what people judged, and rows mixed in."""
        if not self.has_labels:
            return self.values.get("origin", Counter[str]())["mixed"]
        made = get_args(PairSource)
        labels = self.values.get("source", Counter[str]())
        return sum(rows for source, rows in labels.items() if source not in made)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row."""
        self.rows += 1
        for column in COUNTED:
            if row.get(column):
                # Rows of earlier versions name a folder of their machine as the model.
                self.values.setdefault(column, Counter())[movable(row[column])] += 1
        reply: Sequence[Mapping[str, str]] = row.get("chosen") or row.get("messages") or ()
        if reply:
            self.words += len(reply[-1]["content"].split())
        if (p_chosen := row.get("p_chosen")) is not None:
            self._add_label(p_chosen)

    def _add_label(self, p_chosen: float) -> None:
        margin = 2 * p_chosen - 1
        if margin == 0:
            self.ties += 1
        else:
            # 2 · 0.6 - 1 falls short of 0.2, and 2 · 0.55 - 1 goes beyond 0.1.
            place = math.ceil(round(margin * MARGINS, 9)) - 1
            self.margins[max(place, 0)] += 1


def count_data(folder: Path) -> DataFigures:
    """Count the rows of all splits of a data set."""
    figures = DataFigures()
    for file in sorted(folder.rglob("*.parquet")):
        for row in _rows(file):
            figures.add(row)
    return figures


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with open_parquet(file) as opened:
        wanted = (*COUNTED, "messages", "chosen", "p_chosen")
        columns = [name for name in wanted if name in opened.schema_arrow.names]
        for batch in opened.iter_batches(ROWS_PER_BATCH, columns=columns):
            yield from batch.to_pylist()
