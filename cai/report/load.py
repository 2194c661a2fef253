"""Read what a run folder holds into `ReportData`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cai.engine.ledger import Ledger
from cai.errors import RunError
from cai.report.data import EndedRows, ReportData, SampledRow, SpentPart, TrainingStep
from cai.report.ledger_rows import count_rows, sample_rows
from cai.report.metrics import Metrics, read_metrics
from cai.report.training_log import read_training_log

SAMPLED_ROWS = 20

LOG = "training_log.jsonl"


def load_run(run: Path) -> ReportData:
    """Read a run folder; what is not there yet is left empty.

    Args:
        run: the folder of a run, finished or stopped early.

    Raises:
        RunError: it is no run folder.
        InputError: a file in it cannot be read; every fault of it is listed.
    """
    metrics_path, ledger_path = run / "metrics.json", run / "ledger.sqlite"
    if not (metrics_path.is_file() or ledger_path.is_file()):
        raise RunError(
            f"{run} is not a run folder: it has neither metrics.json nor ledger.sqlite; "
            "name a folder that `cai run` has written"
        )
    metrics = read_metrics(metrics_path) if metrics_path.is_file() else Metrics()
    rows: list[SampledRow] = []
    ended: list[EndedRows] = []
    if ledger_path.is_file():
        with Ledger.open(ledger_path, read_only=True) as ledger:
            rows, ended = sample_rows(ledger, SAMPLED_ROWS), count_rows(ledger)
    recipe = run / "recipe.yaml"
    return ReportData(
        name=metrics.run.name or run.resolve().name,
        folder=run.resolve().name,
        metrics=metrics,
        training=read_training_log(_last_policy(run) / LOG),
        losses=_losses(run),
        rows=rows,
        ended=ended,
        spent=_spent(run),
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        trained=_trained(run),
    )


def _last_policy(run: Path) -> Path:
    """RL's policy of the last iteration that has one."""
    from cai.pipeline.folder import RunFolder

    return RunFolder(run).last_with("rl_cai").model("rl_cai")


def _trained(run: Path) -> dict[str, Mapping[str, Any]]:
    from cai.pipeline.folder import RunFolder
    from trainers.work_folder import RECORD

    models, last = run / "models", RunFolder(run).iterations - 1
    later = [f"iteration-{iteration}/*/" for iteration in range(1, last + 1)]
    return {
        path.parent.relative_to(models).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for place in ("*/", *later)
        for path in sorted(models.glob(f"{place}{RECORD}"))
    }


def _losses(run: Path) -> dict[str, list[TrainingStep]]:
    """Steps of the trainings that have a loss to show: all but RL, whose log has a figure."""
    models = run / "models"
    logs = sorted(models.glob(f"**/{LOG}"))
    names = [path.parent.relative_to(models).as_posix() for path in logs]
    found = zip(names, logs, strict=True)
    return {name: read_training_log(path) for name, path in found if "rl_cai" not in name}


def _spent(run: Path) -> list[SpentPart]:
    from cai.pipeline.folder import RunFolder
    from cai.pipeline.run_log import read_run_log

    return [
        SpentPart(
            title,
            one.seconds,
            None if one.calls is None else one.calls.made,
            *(
                (0, 0, 0, 0.0)
                if one.calls is None
                else (
                    one.calls.cached,
                    one.calls.input_tokens,
                    one.calls.output_tokens,
                    one.calls.cost,
                )
            ),
        )
        for title, one in read_run_log(RunFolder(run).log).spent.items()
    ]
