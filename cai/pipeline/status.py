"""How a run stands, read from its files alone: runs under way, finished, stopped and dead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cai.engine import Ledger
from cai.engine.batch_records import BatchRecord
from cai.engine.holder import holder_of
from cai.errors import InputError, RunError
from cai.evaluation.intervals import Rate
from cai.pipeline.folder import MODELS, RunFolder, existing_run
from cai.pipeline.run_log import PartLog, RunLog, read_run_log
from cai.report.metrics import Metrics, MixedMetrics, read_metrics
from cai.report.policy_metrics import CriterionMetrics, StageMetrics
from cai.report.wording import METHODS
from cai.stage_titles import own_stages
from cai.trust_words import DISTRUST
from trainers.work_folder import RECORD

State = Literal["running", "finished", "stopped", "died", "unknown"]
"""Running: a process has the run's lock. Finished: its last process did what it was to do.
Stopped: an error or Ctrl-C ended it. Died: it ended without a word, as by kill -9 or a power cut.
Unknown: the log does not tell of any process."""

PartState = Literal["running", "done", "unfinished"]


@dataclass(frozen=True)
class RunStatus:
    """All that the files of a run say of it.

    Args:
        path: the run folder.
        state: whether a process works on it, or how the last one ended.
        process: id of the process that works on it.
        log: what its log tells.
        rows: number of rows in the ledger by stage and status.
        by_fallback: number of "ok" rows of a stage that only the fallback has answered.
        calls: number of calls in the ledger; None if it cannot be read.
        batches: those of the ledger, as they were last seen.
        models: whether each model is trained.
        headline: harmful compliance of each policy that was measured.
        mix: rows of the data sets by source and split, and those left out by reason; as ``mix`` in
            `metrics.json`.
        figures: other figures by name: of the last policy, its share of harmless requests that it
            helped with and its Elo points by criterion; accuracy of labels and preference model.
        distrust: why one of these figures is not to be taken as it is, by its name; the harmful
            compliance of a policy by `harm_of`.
        report: the page for people, if it is written.
        notes: what could not be read, for people.
    """

    path: Path
    state: State
    process: str | None
    log: RunLog
    rows: Mapping[str, Mapping[str, int]]
    by_fallback: Mapping[str, int]
    calls: int | None
    batches: tuple[BatchRecord, ...]
    models: Mapping[str, bool]
    headline: Mapping[str, Rate]
    mix: Mapping[str, Mapping[str, MixedMetrics]]
    figures: Mapping[str, Rate]
    distrust: Mapping[str, str]
    report: Path | None
    notes: tuple[str, ...]

    def part_state(self, part: PartLog) -> PartState:
        """Whether a part is done, under way now, or was left."""
        standing = part.standing
        last = part.attempt == self.log.attempts
        if standing.ended and standing.done == standing.total:
            return "done"
        if last and not standing.ended and self.state == "running":
            return "running"
        whole = standing.ended and standing.total is None and self.state != "stopped"
        return "done" if whole else "unfinished"

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON data; the fields are described in docs/runs.md."""
        log = self.log
        return {
            "run": str(self.path),
            "state": self.state,
            "process": self.process,
            "attempts": log.attempts,
            "command": log.command,
            "steps": log.steps,
            "began": log.began,
            "latest": log.latest,
            "error": log.error,
            "parts": [
                {"state": self.part_state(one), "attempt": one.attempt, **asdict(one.standing)}
                for one in log.parts
            ],
            "all_attempts": {"seconds": round(log.seconds, 3), **asdict(log.calls)},
            "rows": self.rows,
            "by_fallback": self.by_fallback,
            "calls_in_ledger": self.calls,
            "batches": [
                {name: value for name, value in asdict(one).items() if name != "settings"}
                for one in self.batches
            ],
            "models": self.models,
            "harmful_compliance": {name: one.to_json() for name, one in self.headline.items()},
            "mix": {
                data: {name: one.model_dump() for name, one in sources.items()}
                for data, sources in self.mix.items()
            },
            "figures": {name: one.to_json() for name, one in self.figures.items()},
            "distrust": self.distrust,
            "report": None if self.report is None else str(self.report),
            "notes": self.notes,
        }


def harm_of(policy: str) -> str:
    """The name, in `RunStatus.distrust`, of a policy's harmful compliance."""
    return f"harmful compliance of {policy}"


def read_status(path: Path) -> RunStatus:
    """Read how a run stands; its lock is not taken, and nothing is written.

    Raises:
        RunError: the folder holds no run.
    """
    folder = existing_run(path)
    notes: list[str] = []
    process, log = _read_process(folder, notes)
    notes += log.notes
    rows, by_fallback, calls, batches = _read_ledger(folder, notes)
    metrics = _read_metrics(folder, notes)
    headline, figures = _headline(metrics), _figures(metrics)
    told = {*map(harm_of, headline), *figures}
    return RunStatus(
        path=path,
        state=_state(log, process),
        process=process or None,
        log=log,
        rows=rows,
        by_fallback=by_fallback,
        calls=calls,
        batches=batches,
        models=_models(folder, notes),
        headline=headline,
        mix=metrics.mix,
        figures=figures,
        distrust={name: why for name, why in _distrust(metrics).items() if name in told},
        report=folder.report if folder.report.is_file() else None,
        notes=tuple(notes),
    )


def read_runs(folder: Path) -> Iterator[RunStatus]:
    """How each run of a folder stands, by name.

    Raises:
        RunError: it is no folder, or is itself a run.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder; name the one that your runs are in")
    if RunFolder(folder).ledger.is_file():
        advice = f"say `cai runs status {folder}`, or name the folder that it is in"
        raise RunError(f"{folder} is itself a run; {advice}")
    for path in sorted(path.parent for path in folder.glob("*/ledger.sqlite")):
        yield read_status(path)


def _models(folder: RunFolder, notes: list[str]) -> dict[str, bool]:
    """Whether each model is trained; those of later iterations are named once one of them is."""
    try:
        last = max(folder.last_with(name).iteration for name in MODELS)
    except RunError as error:
        notes.append(str(error))
        last = 0
    return {
        folder.at(iteration).place(name): (folder.at(iteration).model(name) / RECORD).is_file()
        for iteration in range(last + 1)
        for name in MODELS
    }


def _read_process(folder: RunFolder, notes: list[str]) -> tuple[str | None, RunLog]:
    """The process on a run, "" if it cannot be told; and the run's log."""
    try:
        process, log = holder_of(folder.ledger), read_run_log(folder.log)
        if process is None and log.end is None:
            # A process that began after the lock was looked at has not died.
            process = holder_of(folder.ledger)
    except RunError as error:
        notes.append(str(error))
        return "", RunLog()
    return process, log


def _state(log: RunLog, process: str | None) -> State:
    if process:
        return "running"
    if log.end is None:
        return "died" if log.attempts else "unknown"
    return "finished" if log.end == "run_ended" else "stopped"


class _LedgerCounts(NamedTuple):
    rows: dict[str, dict[str, int]]
    by_fallback: dict[str, int]
    calls: int | None
    batches: tuple[BatchRecord, ...]


def _read_ledger(folder: RunFolder, notes: list[str]) -> _LedgerCounts:
    """What is in the ledger; a damaged one is noted."""
    rows: dict[str, dict[str, int]] = {}
    try:
        with Ledger.open(folder.ledger, read_only=True) as ledger:
            for (stage, status), number in sorted(ledger.counts().items()):
                rows.setdefault(stage, {})[status] = number
            batches = tuple(ledger.batches.all())
            return _LedgerCounts(rows, ledger.counts_by_fallback(), ledger.call_count(), batches)
    except RunError as error:
        notes.append(str(error))
        return _LedgerCounts({}, {}, None, ())


def _read_metrics(folder: RunFolder, notes: list[str]) -> Metrics:
    """The figures of the run; a file that holds something else is noted."""
    if not folder.metrics.is_file():
        return Metrics()
    try:
        return read_metrics(folder.metrics)
    except InputError as error:
        notes.append(str(error))
        return Metrics()


def _headline(metrics: Metrics) -> dict[str, Rate]:
    rates = {name: stage.harmful_compliance for name, stage in metrics.stages.items()}
    return {name: rate for name, rate in rates.items() if rate is not None}


def _figures(metrics: Metrics) -> dict[str, Rate]:
    """Figures beside harmful compliance; what a run has not measured is not there."""
    policy = _last_policy(metrics)
    found = {
        "helpful": metrics.stages.get(policy, StageMetrics()).helpfulness,
        **{_elo_of(name): one.elo.get(policy) for name, one in _criteria(metrics).items()},
        "label accuracy": metrics.labels and metrics.labels.accuracy,
        "pm accuracy": metrics.pm and metrics.pm.accuracy,
    }
    return {name: rate for name, rate in found.items() if rate is not None}


def _last_policy(metrics: Metrics) -> str:
    """The policy whose figures are told; "" if none was measured."""
    stages = metrics.stages
    # A contest's further models stand behind the run's own, and are no result of the run.
    own = [name for name in own_stages(stages) if name != "best_of"]
    return (["", *(own or [name for name in stages if name != "best_of"])])[-1]


def _distrust(metrics: Metrics) -> dict[str, str]:
    """What is to be said beside figures by patterns, and Elo points whose judge kept no gate."""
    last = metrics.stages.get(_last_policy(metrics), StageMetrics())
    said = {
        **{harm_of(name): METHODS[stage.method] for name, stage in metrics.stages.items()},
        "helpful": METHODS[last.method],
        **{_elo_of(name): DISTRUST[one.trusted] for name, one in _criteria(metrics).items()},
    }
    return {name: words for name, words in said.items() if words}


def _criteria(metrics: Metrics) -> Mapping[str, CriterionMetrics]:
    return metrics.contest.criteria if metrics.contest else {}


def _elo_of(criterion: str) -> str:
    return f"{criterion} elo"
