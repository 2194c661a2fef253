"""The data set that a preference model is pretrained on: prompt, chosen, rejected, as texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.datasets.parquet import SplitWriter
from cai.sources.prompt_sets import Unreadable
from cai.sources.votes import read_ranked_pairs
from cai.untyped import untyped


def write_ranked_pairs(file: Path, folder: Path, per_question: int) -> Mapping[str, int]:
    """Write the pairs of a file of votes to ``train``; gives the rows left out, by reason.

    Args:
        file: as `cai.sources.votes` reads it.
        folder: of the data set.
        per_question: most pairs of one question.

    Raises:
        InputError: the file is not there or is broken.
    """
    datasets = untyped("datasets")
    text = datasets.Value("string")
    left_out: Counter[str] = Counter()
    columns = ("prompt", "chosen", "rejected", "source")
    writer = SplitWriter(folder, datasets.Features(dict.fromkeys(columns, text)))

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for pair in read_ranked_pairs(file, per_question):
            if isinstance(pair, Unreadable):
                left_out[f"{pair.source}: {pair.reason}"] += 1
                continue
            values = (pair.question, pair.better, pair.worse, "votes")
            yield "train", dict(zip(columns, values, strict=True))

    writer.write(rows())
    return left_out
