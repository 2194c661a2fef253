"""Export the data sets of a run in the format of another program."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson

from cai.errors import CaiError
from cai.export.argilla import write_argilla
from cai.export.files import FileType
from cai.export.formats import FORMATS
from cai.export.llm_swarm import write_llm_swarm
from cai.export.reward_bench import write_reward_bench
from cai.export.source import DataSet, Exporter, Source, Written
from cai.export.trainer_rows import write_for_trainer
from cai.pipeline.folder import RunFolder
from cai.pipeline.given_away import refuse_other_constitution
from cai.pipeline.made_with import made_with
from cai.report.card import DEFAULT, DataPart, SplitFiles, write_data_card
from cai.whole import replace_folder

RECORD, MADE_WITH = "export.json", "made_with"
"""What an exported folder says of itself, and what its rows were made with."""

OWN_FIELDS = frozenset({"run", "format", "rows"})
"""By which a record is known as one of an export."""

OF_THE_RUN = "All further figures are of the run's data sets that these rows were made of."

EXPORTERS: Mapping[str, Exporter] = {
    **{name: partial(write_for_trainer, format) for name, format in FORMATS.items()},
    "llm-swarm": write_llm_swarm,
    "argilla": write_argilla,
    "rewardbench": write_reward_bench,
}
"""By the name that ``--format`` takes."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        run: the run's folder.
        format: whose rows.
        minimum_margin: least margin of the pairs, in [0, 1].
        rows: how many, by data set and split.
        left_out: rows and pairs that have no place in the format, by reason.
        sources: how many, by data set, the column ``source`` and split; formats for people have
            none.
        lacks: why what the rows were made with does not lie beside them; empty if it does.
        files: names of all files and folders in the exported folder but this record.
    """

    run: str
    format: str
    minimum_margin: float
    rows: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    sources: Mapping[str, Mapping[str, Mapping[str, int]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, int]]]
    )
    lacks: str = ""
    files: Sequence[str] = ()


def export_run(
    run: Path, out: Path, format: str, *, minimum_margin: float, file_type: FileType
) -> Exported:
    """Write ``sft`` and ``preferences`` of a run as another program reads them.

    Of online training, the pairs of all iterations.

    The folder appears when all is written, in the place of an earlier export.

    Args:
        run: the run's folder.
        out: the folder to write.
        format: one of `EXPORTERS`.
        minimum_margin: least P(chosen is better) − P(rejected is better), in [0, 1].
        file_type: JSON lines or Parquet.

    Raises:
        CaiError: the run has no data set, or rows of another constitution than its own; the format
            has no use for a setting, or `out` holds something else.
    """
    source = Source(RunFolder(run), minimum_margin, file_type)
    if not (source.has("sft") or source.has("preferences")):
        raise CaiError(
            f"{run / 'datasets'} has neither sft nor preferences; make them first, "
            "as with `cai run RECIPE --until preferences`"
        )
    out = out.resolve()
    _check_place(out)
    _check_constitution(source)
    with _beside(out) as new:
        made = EXPORTERS[format](source, new)
        lacks = _write_beside(source, made, format, new)
        rows = {one.name: one.splits for one in made}
        sources = {one.name: one.sources for one in made if one.sources}
        left_out = dict(source.left_out)
        files = sorted(one.name for one in new.iterdir())
        exported = Exported(str(run), format, minimum_margin, rows, left_out, sources, lacks, files)
        (new / RECORD).write_bytes(orjson.dumps(asdict(exported), option=orjson.OPT_INDENT_2))
        replace_folder(new, out)
    return exported


@contextmanager
def _beside(out: Path) -> Generator[Path]:
    """An empty folder to write in, on the disk of `out`; nobody else's, and gone at the end."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent)
    except OSError as error:
        raise CaiError(
            f"{out} cannot be written: {error.strerror}; name another with --out"
        ) from error
    try:
        # The outer folder is for its owner alone; this one has the rights that new folders have.
        new = Path(place) / out.name
        new.mkdir()
        yield new
    finally:
        shutil.rmtree(place)


def _write_beside(source: Source, made: Sequence[Written], format: str, new: Path) -> str:
    """Write a card, and what the rows were made with; gives why that is not there, if it is not.

    A run of an earlier version kept no copy, and its constitution may have changed since: its rows
    can still be exported.
    """
    metrics = source.run.read_metrics()
    if "run" not in metrics:
        return "the run has no figures yet, and so no card"
    own = {f"{format}: {reason}": number for reason, number in source.left_out.items()}
    left_out = {**metrics.get("left_out", {}), **own}
    parts = [_part(source, one, new) for one in made if one.suffix]
    if parts:
        title = f"{metrics['run']['name']}, as {format} reads it"
        write_data_card(new, title, parts, {**metrics, "left_out": left_out}, OF_THE_RUN)
    try:
        shutil.copytree(made_with(source.run), new / MADE_WITH)
    except CaiError as error:
        return str(error)
    return ""


def _part(source: Source, made: Written, new: Path) -> DataPart:
    paths = {
        split: new / made.folder / f"{split}.{made.suffix}"
        for split, rows in made.splits.items()
        if rows
    }
    splits = {
        split: SplitFiles(path.relative_to(new).as_posix(), made.splits[split], path.stat().st_size)
        for split, path in paths.items()
    }
    name = DEFAULT if made.folder == "." else made.name
    file = next(iter(paths.values()), None)
    return DataPart(name, made.holds, splits, source.folder(made.made_of), file)


def _check_constitution(source: Source) -> None:
    run = source.run.read_metrics().get("run")
    if run is not None:
        names: Sequence[DataSet] = ("sft", "preferences")
        data = [source.folder(name) for name in names if source.has(name)]
        refuse_other_constitution(source.run, run, data)


def _check_place(out: Path) -> None:
    """Refuse to replace what is no export, or what somebody stands in."""
    if Path.cwd().is_relative_to(out):
        raise CaiError(f"{out} is where you are; name a folder within it with --out")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if (written := _files_of_export(out)) is None:
        raise CaiError(f"{out} is there already and no export; name another folder with --out")
    if others := sorted({one.name for one in out.iterdir()} - {RECORD, *written}):
        raise CaiError(
            f"{out} holds {others[0]!r}, which no export has written there and a new one would "
            "delete; move it away, or name another folder with --out"
        )


def _files_of_export(folder: Path) -> set[str] | None:
    """What an export says that it has written into a folder; None if there is no record of one."""
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        record: Any = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError:
        return None  # anybody's file
    if not isinstance(record, dict) or not record.keys() >= OWN_FIELDS:
        return None
    files: Any = cast("dict[str, Any]", record).get("files")
    # Exports of an earlier version say nothing of their files: all of them are then another's.
    return {str(name) for name in cast("list[Any]", files)} if isinstance(files, list) else set()
