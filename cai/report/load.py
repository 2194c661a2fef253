"""Read what a run folder holds into `ReportData`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cai.engine.ledger import Ledger
from cai.errors import Fault, InputError, RunError
from cai.report.data import EndedRows, ReportData, SampledRow, SpentPart
from cai.report.ledger_rows import count_rows, sample_rows
from cai.report.metrics import Metrics, read_metrics
from cai.report.training_log import read_training_log
from trainers.work_folder import RECORD

SAMPLED_ROWS = 20

LOG = "training_log.jsonl"


def load_run(run: Path) -> ReportData:
    """Read a run folder; what is not there yet is left empty.

    Args:
        run: the folder of a run, finished or stopped early.

    Raises:
        RunError: it is no run folder, or its recipe is no YAML.
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
    models = _models(run)
    logs = {name: read_training_log(folder / LOG) for name, folder in models.items()}
    return ReportData(
        name=metrics.run.name or run.resolve().name,
        folder=run.resolve().name,
        metrics=metrics,
        training={name: steps for name, steps in logs.items() if steps and _is_rl(name)},
        losses={name: steps for name, steps in logs.items() if steps and not _is_rl(name)},
        rows=rows,
        ended=ended,
        spent=_spent(run),
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        trained={
            name: _read_record(folder / RECORD)
            for name, folder in models.items()
            if (folder / RECORD).is_file()
        },
    )


def _models(run: Path) -> dict[str, Path]:
    """The folders of the run's models by place, such as ``iteration-1/pm``, in their order.

    What an earlier recipe of more iterations has left is not of this run.
    """
    from cai.pipeline.folder import RunFolder

    models = run / "models"
    later = (f"iteration-{iteration}/*/" for iteration in range(1, RunFolder(run).iterations))
    return {
        folder.relative_to(models).as_posix(): folder
        for place in ("*/", *later)
        for folder in sorted(models.glob(place))
    }


def _is_rl(place: str) -> bool:
    return place.rpartition("/")[2] == "rl_cai"


def _read_record(path: Path) -> Mapping[str, Any]:
    fix = "delete the file, and give the run's command again"
    try:
        record: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(path, [Fault(f"is not JSON ({error}); {fix}")]) from error
    if not isinstance(record, dict):
        raise InputError(path, [Fault(f"is no record of a training, but {record!r:.60}; {fix}")])
    return cast("dict[str, Any]", record)


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
