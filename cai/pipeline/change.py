"""What another version of the constitution would make of a run: told before anything is bought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cai.constitution import find_constitution, load_constitution
from cai.pipeline.folder import existing_run
from cai.pipeline.forecast import forecast
from cai.pipeline.forecast_parts import Forecast
from cai.pipeline.preview import Plan
from cai.pipeline.run_log import read_run_log
from cai.pipeline.steps import GENERATION, STEPS, Step, steps_of
from cai.recipe import load_recipe
from cai.records import RowKey
from cai.splits import read_shard


@dataclass(frozen=True)
class ChangeForecast:
    """What the run's command would recompute with another constitution.

    Args:
        forecast: calls, tokens and dollars.
        rows: made by calls that are still to be bought, by stage; each in the order of its key.
        made_with: hash of the constitution that the run was made with; empty if it does not say.
    """

    forecast: Forecast
    rows: Mapping[str, tuple[RowKey, ...]]
    made_with: str


def forecast_change(
    run: Path, constitution: str | Path, until: Step | None = None
) -> ChangeForecast:
    """Say what a run would recompute if its recipe named another constitution; buys nothing.

    Args:
        run: its folder.
        constitution: the other version: a file, or a shipped name.
        until: the last step that the command would do; None for what the last one that made
            data was to do.

    Raises:
        RunError: the folder holds no run.
        CaiError: what would stop the run as well.
    """
    folder = existing_run(run)
    load_constitution(constitution)
    recipe = load_recipe(folder.recipe).model_copy(
        update={"constitution": str(find_constitution(constitution).resolve())}
    )
    about = folder.read_metrics().get("run", {})
    shard = read_shard(about["shard"]) if about.get("shard") else None
    rows: set[RowKey] = set()
    steps = steps_of(recipe, until) if until else _steps(folder.log)
    told = forecast(Plan(recipe, folder, shard=shard, rows=rows), steps)
    return ChangeForecast(told, _by_stage(rows), about.get("constitution", {}).get("hash", ""))


def _steps(log: Path) -> Sequence[Step] | None:
    """What the last command that makes data from its beginning was to do; None for all.

    What came after it, such as a rerun of single rows or the measuring of policies, is no such one.
    """
    if not log.is_file():
        return None
    told = read_run_log(log)
    for done in (told.steps, *reversed(told.earlier_steps)):
        if not GENERATION.isdisjoint(done):
            return tuple(step for step in STEPS if step in done)
    return None


def _by_stage(rows: Iterable[RowKey]) -> dict[str, tuple[RowKey, ...]]:
    stages: dict[str, list[RowKey]] = {}
    for row in sorted(rows, key=lambda key: (key.prompt_id, key.round, key.sample)):
        stages.setdefault(row.stage, []).append(row)
    return {stage: tuple(keys) for stage, keys in sorted(stages.items())}
