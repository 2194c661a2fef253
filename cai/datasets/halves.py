"""Halves of the preference data, for a preference model each (HH-RLHF, §4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.datasets.parquet import SplitWriter, open_parquet
from cai.datasets.preferences import preference_features
from cai.splits import position

ROWS_AT_ONCE = 1000


def write_halves(
    data: Path, folder: Path, smallest: Mapping[str, str] | None = None
) -> Mapping[str, int]:
    """Write ``train``, what the train-PM learns from, and ``test``, the test-PM's.

    A prompt with all of its pairs falls into one of the halves, by its hash alone.

    Args:
        data: ``datasets/preferences/train``; the pairs held out are in neither half.
        folder: ``datasets/preference_halves``.
        smallest: where prompts that are near others go; see `cai.splits`.

    Returns:
        The number of rows of each.
    """
    writer = SplitWriter(folder, preference_features())
    writer.write(
        ("train" if position(row["prompt"], "half", smallest) < 0.5 else "test", row)
        for row in _rows(data)
    )
    return writer.counts


def _rows(data: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(data.glob("*.parquet")):
        with open_parquet(file) as opened:
            for batch in opened.iter_batches(ROWS_AT_ONCE):
                yield from batch.to_pylist()
