"""What all trainings share: when they run, how they go on after a kill, and their record.

A training with the same settings, data, models and machine ends with the same weights, killed
and resumed or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict

import orjson

from cai.models.weights_errors import reading_weights, writing_weights
from trainers.adapters import adapter_base, settle
from trainers.card import write_model_card
from trainers.environment import main_process_first
from trainers.rows import EncodedRows
from trainers.settings import LoraSettings, TrainingSettings
from trainers.work_folder import LOG, WorkFolder

Report = Callable[[int, int, float | None], None]
"""Is told of a training: steps done, steps in all, and the loss if known."""

PACKAGES = ("torch", "transformers", "trl", "accelerate", "peft", "datasets")

LAST_LOGS = 10
"""Log entries at the end of a training that its final figures are the means of."""


class Job(TypedDict):
    """How a training is asked for, beside what it is made of.

    inputs: hash of data, models and settings; a model made of the same is not trained again.
    report: is told of each step; None for no one.
    """

    inputs: str
    report: NotRequired[Report | None]


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Args:
        folder: the model, with ``training.json`` and ``training_log.jsonl``.
        rows: rows learned from.
        dropped: rows left out, by reason.
        truncated: rows cut to the length limit.
        steps: optimizer steps.
        seconds: wall time, since the last resumption if there was one.
        metrics: means of the last logged figures.
        was_done: True if the model was there already and nothing was trained.
    """

    folder: Path
    rows: int
    dropped: Mapping[str, int]
    truncated: int
    steps: int
    seconds: float
    metrics: Mapping[str, float]
    was_done: bool = False


@dataclass(frozen=True)
class Account:
    """What a training is made of, for its record.

    Args:
        kind: "sft", "preference_model", "dpo" or "rl".
        models: what it starts from, by role: a folder or a name on the hub.
        settings: the recipe's section.
        rows: the encoded data.
        figures: the figures of one log entry that the log keeps; None skips the entry.
        about: what else the record says.
    """

    kind: str
    models: Mapping[str, str]
    settings: TrainingSettings
    rows: EncodedRows
    figures: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = field(
        default=lambda entry: entry if "loss" in entry else None
    )
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])


def finished(work: WorkFolder) -> TrainingResult | None:
    """The result of an earlier training with the same inputs."""
    with main_process_first():
        record = work.finished()
    if record is None:
        return None
    names = ("rows", "dropped", "truncated", "steps", "seconds", "metrics")
    return TrainingResult(work.out, **{name: record[name] for name in names}, was_done=True)


class Loop(Protocol):
    """Owns the models of a training while it runs."""

    def train(self, checkpoint: Path | None, report: Report | None) -> Sequence[Mapping[str, Any]]:
        """Train to the end; gives all that was logged, since the very beginning.

        It writes its checkpoints as ``checkpoint-<step>`` and marks them complete.

        Args:
            checkpoint: where to go on from; None to begin.
            report: is told of each step; None in all processes but the main one.
        """
        ...

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        ...

    def save(self, folder: Path) -> None:
        """Write the trained model; called in every process."""
        ...


def fit(
    make: Callable[[], Loop], work: WorkFolder, account: Account, report: Report | None
) -> TrainingResult:
    """Train to the end, from the last checkpoint if there is one, and put the model in its place.

    Args:
        make: loads the models.
        work: the folder that its arguments name.
        account: what it is made of.
        report: is told of each step.

    Raises:
        PermanentError: a model that it starts from is not there as safetensors, or is damaged.
        RunError: another process trains the same model, or a model cannot be written.
    """
    from accelerate import PartialState

    # A model that has no digest is refused now, not when the training is done.
    models = {
        role: {"name": name, "digest": model_digest(name)} for role, name in account.models.items()
    }
    with work.held() if PartialState().is_main_process else nullcontext():
        return _fit(make, work, account, models=models, report=report)


def _fit(
    make: Callable[[], Loop],
    work: WorkFolder,
    account: Account,
    *,
    models: Mapping[str, Any],
    report: Report | None,
) -> TrainingResult:
    from accelerate import PartialState

    state, began = PartialState(), time.monotonic()
    if state.is_main_process:
        work.open()
    state.wait_for_everyone()
    checkpoint = work.last_checkpoint()
    with reading_weights(", ".join(one["name"] for one in models.values())):
        loop = make()
    with writing_weights(work.path):
        history = loop.train(checkpoint, report if state.is_main_process else None)
        loop.save(work.model)
    state.wait_for_everyone()
    figures = _logged(history, account)
    result = TrainingResult(
        work.out,
        rows=len(account.rows.dataset),
        dropped=account.rows.dropped,
        truncated=account.rows.truncated,
        steps=loop.steps,
        seconds=round(time.monotonic() - began, 3),
        metrics=_means(figures[-LAST_LOGS:]),
    )
    if state.is_main_process:
        _write(work, result, account, figures=figures, models=models)
    state.wait_for_everyone()
    return result


def _logged(history: Sequence[Mapping[str, Any]], account: Account) -> list[Mapping[str, Any]]:
    kept = (account.figures(entry) for entry in history)
    return [figures for figures in kept if figures is not None]


def _means(figures: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means of the figures that every entry has, but for counters."""
    if not figures:
        return {}
    counters = {"step", "epoch", "num_tokens", "learning_rate"}
    names = [name for name in figures[-1] if name not in counters]
    return {
        name: sum(entry[name] for entry in figures) / len(figures)
        for name in names
        if all(isinstance(entry.get(name), int | float) for entry in figures)
    }


def _write(
    work: WorkFolder,
    result: TrainingResult,
    account: Account,
    *,
    figures: Sequence[Mapping[str, Any]],
    models: Mapping[str, Any],
) -> None:
    lora: LoraSettings | None = getattr(account.settings, "lora", None)
    for folder in work.models():
        # A pickle; whoever loads the model has no need of it.
        (folder / "training_args.bin").unlink(missing_ok=True)
        if lora is not None:
            settle(folder, lora)
    work.keep_snapshots()
    (work.model / LOG).write_bytes(
        b"".join(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE) for entry in figures)
    )
    outcome = {name: value for name, value in asdict(result).items() if name != "folder"}
    record = {
        "kind": account.kind,
        "settings": account.settings.model_dump(mode="json"),
        "models": models,
        "data": {"name": account.rows.name, "hash": account.rows.hash},
        "versions": {name: version(name) for name in PACKAGES},
        **account.about,
        **outcome,
    }
    write_model_card(work.model, work.out.name, record)
    work.write_record(record)
    work.install()


def model_digest(name: str) -> str:
    """Digest of a model's weights and tokenizer, whatever folder holds them.

    Args:
        name: a folder, or a name on the hub.
    """
    from cai.models.weights import folder_digest, resolved_folder

    if (base := adapter_base(Path(name))) is not None:
        return f"{model_digest(base)}:{folder_digest(Path(name))}"
    return folder_digest(resolved_folder(name if Path(name).is_dir() else f"hf:{name}"))
