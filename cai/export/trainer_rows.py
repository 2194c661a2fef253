"""Files for trainers: conversations and hard pairs, a folder a data set, a file a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cai.datasets.parquet import SPLITS
from cai.export.files import write_rows
from cai.export.formats import Format, NoPlace, Row
from cai.export.hard_pairs import Hardening
from cai.export.source import Source, Written

SFT = "Conversations that end with a revised or a helpful reply, for supervised finetuning."
PAIRS = (
    "Pairs of replies of which `chosen` is the likelier one to be better, with a winner for "
    "trainers that know no soft labels; `p_chosen` keeps the label."
)


def write_for_trainer(format: Format, source: Source, out: Path) -> Sequence[Written]:
    """Write ``sft`` and the data sets of pairs that a format has.

    Args:
        format: how the trainer reads a conversation and a pair.
        source: the run.
        out: the new folder.

    Raises:
        CaiError: there is no such margin.
    """
    made: list[Written] = []
    said = format.conversation
    if said is not None and source.has("sft"):
        rows = {split: map(said, source.rows("sft", split)) for split in SPLITS}
        made.append(Written("sft", SFT, "sft", "sft", *_files("sft", rows, source, out)))
    if source.has("preferences"):
        for name in format.pairs:
            rows = {split: _pairs(format, name, source, split) for split in SPLITS}
            files = _files(name, rows, source, out)
            made.append(Written(name, PAIRS, "preferences", name, *files))
    return made


def _files(
    name: str, rows: Mapping[str, Iterator[Row]], source: Source, out: Path
) -> tuple[Mapping[str, int], str, Mapping[str, Mapping[str, int]]]:
    """Write the files of a data set.

    Returns:
        The rows of each split, what the files end with, and the rows by source and split.
    """
    sources: dict[str, dict[str, int]] = {}

    def counted(split: str) -> Iterator[Row]:
        for row in rows[split]:
            counts = sources.setdefault(row["source"], {})
            counts[split] = counts.get(split, 0) + 1
            yield row

    splits = {
        split: write_rows(counted(split), out / name / split, source.file_type) for split in rows
    }
    return splits, source.file_type, sources


def _pairs(format: Format, name: str, source: Source, split: str) -> Iterator[Row]:
    hardening = Hardening(source.minimum_margin)
    for pair in hardening.pairs(source.rows("preferences", split)):
        try:
            yield format.pairs[name](pair)
        except NoPlace as reason:
            source.left_out[f"{name}: {reason}"] += 1
    # All are made of the same pairs; those that are left out of all are counted once.
    if name == "preferences":
        source.left_out.update(hardening.left_out)
