"""Join the runs of several shards into one run, which then goes on as if it had made all rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cai.engine.merge import merge_ledgers
from cai.errors import RunError
from cai.movable import movable
from cai.pipeline.folder import RunFolder, existing_run
from cai.pipeline.reruns import RerunFile, read_reruns, write_reruns
from cai.recipe import load_recipe, save_recipe
from cai.splits import Shard, read_shard


@dataclass(frozen=True)
class Merged:
    """What came of a merge.

    Args:
        calls: in the new ledger.
        rows: in the new ledger.
        absent: shards that the runs' own shards leave out, such as 3/4; the new run makes their
            rows when it goes on.
    """

    calls: int
    rows: int
    absent: tuple[Shard, ...]


def merge_runs(out: Path, runs: Sequence[Path]) -> Merged:
    """Write a run folder with the recipe, calls and rows of several runs.

    Args:
        out: the new folder; nothing else may be in it yet.
        runs: at least one; they stay as they are.

    Raises:
        RunError: the runs are of different recipes (but for `engine`, which changes no answer),
            constitutions or templates; two made the same row differently; one is in use; or `out`
            holds a run.
    """
    folders = [existing_run(run) for run in runs]
    _check_alike(folders)
    new = RunFolder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made: {error.strerror}; name another folder") from error
    joined = merge_ledgers(
        new.ledger,
        [folder.ledger for folder in folders],
        beside=lambda: _write_beside(new, folders),
    )
    return Merged(joined.calls, joined.rows, tuple(_absent(folders)))


def _write_beside(new: RunFolder, folders: Sequence[RunFolder]) -> None:
    save_recipe(load_recipe(folders[0].recipe), new.recipe)
    reruns = [read_reruns(folder.reruns) for folder in folders]
    united = RerunFile(
        kept=tuple(one for each in reruns for one in each.kept),
        unfinished=tuple(dict.fromkeys(row for each in reruns for row in each.unfinished)),
    )
    write_reruns(united, new.reruns)


def _check_alike(folders: Sequence[RunFolder]) -> None:
    first, *others = folders
    expected = _origin(first)
    for other in others:
        found = _origin(other)
        names = sorted(expected.keys() | found.keys())
        different = [name for name in names if expected.get(name) != found.get(name)]
        if different:
            name = different[0]
            more = f" (and {len(different) - 1} more fields)" if len(different) > 1 else ""
            raise RunError(
                f"{first.path} and {other.path} are no shards of one run: {name} is "
                f"{expected.get(name)} and {found.get(name)}{more}; merge runs of the same recipe, "
                "constitution and templates only"
            )


def _origin(folder: RunFolder) -> Mapping[str, Any]:
    """All that decides what a run makes, by dotted names."""
    run = folder.read_metrics().get("run")
    if run is None:
        raise RunError(
            f"{folder.path} does not say which constitution it was made with (its metrics.json is "
            "not there); give its `cai run` command again"
        )
    recipe = load_recipe(folder.recipe).model_dump(mode="json", exclude={"engine"})
    made_with = {"constitution's hash": run["constitution"]["hash"], "template": run["templates"]}
    return dict(_leaves({**cast("dict[str, Any]", movable(recipe)), **made_with}))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in cast("dict[str, Any]", value).items():
            yield from _leaves(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for number, part in enumerate(cast("list[Any]", value)):
            yield from _leaves(part, f"{name}.{number}")
    else:
        yield name, value


def _absent(folders: Sequence[RunFolder]) -> Iterator[Shard]:
    """The shards not named, if all runs are shards of the same number of slices."""
    texts = [folder.read_metrics()["run"].get("shard") for folder in folders]
    shards = {read_shard(text) for text in texts if text}
    counts = {shard.count for shard in shards}
    if None in texts or len(counts) != 1:
        return
    count = counts.pop()
    for number in range(1, count + 1):
        if (shard := Shard(number, count)) not in shards:
            yield shard
