"""The card of a data set, in the hub's format: its head here, its text in `cai.report.card_text`.

It says nothing that changes from one run to the next of the same command: data of the same calls
have the same card.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.card import write_card
from cai.datasets.parquet import open_parquet
from cai.report.card_rows import Row, example_row, is_of_pairs
from cai.report.card_text import CardText, card_lines
from cai.report.data_figures import DataFigures, count_data
from cai.untyped import untyped

HOLDS = {
    "sft": "Conversations that end with a revised or a helpful reply (column `messages`), for "
    "supervised finetuning (Bai et al. 2022, §3).",
    "preferences": "Pairs of replies with the probability that `chosen` is the better one (column "
    "`p_chosen`), for a preference model (Bai et al. 2022, §4.1).",
    "best_of": "Prompts with every reply that was drawn and its score by the preference model; the "
    "best one ends `messages`, for supervised finetuning (Bai et al. 2022, HH-RLHF §2.3).",
}
"""What each data set of a run is for."""

SIZES = (
    *((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")),
    *((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B")),
)
"""The hub's categories of sizes, each with the rows that it ends before."""

DEFAULT = "default"
"""The configuration of a card with one data set."""


@dataclass(frozen=True)
class SplitFiles:
    """A split as a card tells it.

    Args:
        pattern: of its files, relative to the card.
        rows: how many it has; the hub's viewer refuses a split of none, so none is told of it.
        size: of its files, in bytes.
    """

    pattern: str
    rows: int
    size: int


@dataclass(frozen=True)
class DataPart:
    """A data set that a card tells of.

    Args:
        name: of its configuration on the hub.
        holds: what it is for, in a sentence.
        splits: its files.
        counted: the data set of the run that it was made of.
        file: one with rows of it, Parquet or JSON lines; None where there are no rows.
    """

    name: str
    holds: str
    splits: Mapping[str, SplitFiles]
    counted: Path
    file: Path | None = None


def write_cards(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write the card of every data set that a run has.

    Args:
        folder: the run's.
        metrics: its figures, with `run`, `rows`, `left_out` and `filtered`.
    """
    for name, path in run_data(folder):
        part = data_part(DEFAULT, path.name, path)
        write_data_card(path, f"{name} of the run {metrics['run']['name']}", [part], metrics)


def run_data(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of every data set of a run that has a card; those of iterations too.

    What an earlier recipe of more iterations has left does not count.
    """
    from cai.pipeline.folder import RunFolder

    data, iterations = folder / "datasets", RunFolder(folder).iterations
    for name in HOLDS:
        if (data / name).is_dir():
            yield name, data / name
        for number in range(1, iterations):
            later = f"iteration-{number}"
            if (data / later / name).is_dir():
                yield f"{name}-{later}", data / later / name


def data_part(name: str, data: str, path: Path, place: str = "") -> DataPart:
    """A data set of a run.

    Args:
        name: of its configuration.
        data: which one, a key of `HOLDS`.
        path: its folder.
        place: where that lies beside the card, such as ``sft/``; empty for the card's own.
    """
    splits: dict[str, SplitFiles] = {}
    with_rows: dict[str, Path] = {}
    for split in sorted(one for one in path.iterdir() if one.is_dir()):
        files = sorted(split.rglob("*.parquet"))
        counts = {file: _rows_of(file) for file in files}
        rows = sum(counts.values())
        size = sum(file.stat().st_size for file in files)
        splits[split.name] = SplitFiles(f"{place}{split.name}/*.parquet", rows, size)
        if filled := [file for file, count in counts.items() if count]:
            with_rows[split.name] = filled[0]
    file = with_rows.get("train") or next(iter(with_rows.values()), None)
    return DataPart(name, HOLDS[data], splits, path, file)


def _rows_of(file: Path) -> int:
    with open_parquet(file) as opened:
        return opened.metadata.num_rows


def write_data_card(
    folder: Path,
    title: str,
    parts: Sequence[DataPart],
    metrics: Mapping[str, Any],
    note: str = "",
) -> Mapping[str, DataFigures]:
    """Write the card of one or several data sets of a run.

    Args:
        folder: that the card lies in.
        title: of the card.
        parts: the data sets, at least one.
        metrics: of the run, as of `write_cards`.
        note: what is to be known of the figures; empty for nothing.

    Returns:
        What was counted in each data set, by its name.
    """
    shown = {part.name: example_row(part.file) for part in parts if part.file is not None}
    figures = {path: count_data(path) for path in {part.counted for part in parts}}
    head = _head(title, parts, metrics["run"], shown.values(), _annotators(figures.values()))
    text = CardText(
        title=title,
        holds={part.name: part.holds for part in parts},
        metrics=metrics,
        shown=shown,
        has_best_of=any(part.holds == HOLDS["best_of"] for part in parts),
        note=note,
    )
    counted = {part.name: figures[part.counted] for part in parts}
    rows = {
        split if part.name == DEFAULT else f"{part.name}: {split}": files.rows
        for part in parts
        for split, files in part.splits.items()
    }
    write_card(folder, head, card_lines(text, rows, counted))
    return counted


def _head(
    title: str,
    parts: Sequence[DataPart],
    run: Mapping[str, Any],
    shown: Iterable[Row],
    annotators: Sequence[str],
) -> Mapping[str, Any]:
    language = run.get("language")
    total = sum(files.rows for part in parts for files in part.splits.values())
    dpo = ["dpo"] if any(map(is_of_pairs, shown)) else []
    return {
        "pretty_name": title,
        "license": run.get("publication", {}).get("license"),
        "language": [language] if language else None,
        "task_categories": ["text-generation"],
        "annotations_creators": annotators,
        "size_categories": [next((name for most, name in SIZES if total < most), "n>1B")],
        "tags": ["constitutional-ai", "rlaif", *dpo, "synthetic"],
        "configs": [
            {
                "config_name": part.name,
                "data_files": [
                    {"split": split, "path": files.pattern}
                    for split, files in part.splits.items()
                    if files.rows
                ],
            }
            for part in parts
        ],
        **_dataset_info(parts),
    }


def _annotators(figures: Collection[DataFigures]) -> Sequence[str]:
    """Whose labels and replies are, in the hub's words; "found" are those of people and files."""
    brought, rows = sum(one.brought for one in figures), sum(one.rows for one in figures)
    found = ["found"] if brought else []
    return found if brought and brought == rows else ["machine-generated", *found]


def _dataset_info(parts: Sequence[DataPart]) -> Mapping[str, Any]:
    """Columns and splits, as the library `datasets` itself writes and reads them."""
    datasets, hub = untyped("datasets"), untyped("huggingface_hub")
    known: dict[str, Any] = {}
    for part in parts:
        splits = {
            name: {"name": name, "num_bytes": files.size, "num_examples": files.rows}
            for name, files in part.splits.items()
            if files.rows
        }
        if part.file is None or part.file.suffix != ".parquet":
            continue
        with open_parquet(part.file) as opened:
            schema = opened.schema_arrow
        size = sum(files.size for files in part.splits.values())
        known[part.name] = datasets.DatasetInfo(
            features=datasets.Features.from_arrow_schema(schema),
            splits=splits,
            download_size=size,
            dataset_size=size,
        )
    card = hub.DatasetCardData()
    untyped("datasets.info").DatasetInfosDict(known).to_dataset_card_data(card)
    return card.to_dict()
