"""What all trainings share: TRL's arguments, resumption and the record.

A training with the same settings, data, models and machine ends with the same weights, killed
and resumed or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import orjson

from cai.errors import RunError
from trainers.adapters import CONFIG, is_adapter, settle
from trainers.environment import require_one_gpu
from trainers.rows import EncodedRows
from trainers.settings import EpochSettings, LoraSettings, TrainingSettings
from trainers.work_folder import LOG, WorkFolder

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

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
        kind: "sft", "preference_model" or "rl".
        models: what it starts from, by role: a folder or a name on the hub.
        settings: the recipe's section.
        rows: the encoded data.
        figures: the figures of one log entry that the log keeps; None skips the entry.
    """

    kind: str
    models: Mapping[str, str]
    settings: TrainingSettings
    rows: EncodedRows
    figures: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] = field(
        default=lambda entry: entry if "loss" in entry else None
    )


def finished(work: WorkFolder) -> TrainingResult | None:
    """The result of an earlier training with the same inputs."""
    record = work.finished()
    if record is None:
        return None
    names = ("rows", "dropped", "truncated", "steps", "seconds", "metrics")
    return TrainingResult(work.out, **{name: record[name] for name in names}, was_done=True)


def arguments(settings: TrainingSettings, work: WorkFolder, rows: int) -> dict[str, Any]:
    """What every TRL config is given.

    Args:
        settings: the recipe's section.
        work: where checkpoints go.
        rows: rows of one optimizer step, over all processes.

    Raises:
        RunError: the rows cannot be shared out evenly over the processes, or one process has
            several GPUs in sight.
    """
    import torch
    from accelerate import PartialState

    require_one_gpu()
    try:
        part = settings.part(rows, PartialState().num_processes)
    except ValueError as error:
        raise RunError(str(error)) from error
    cuda = torch.cuda.is_available()
    schedulers = {"constant": "constant_with_warmup"}
    return {
        "output_dir": str(work.checkpoints),
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": schedulers.get(settings.scheduler, settings.scheduler),
        "warmup_steps": settings.warmup,
        "per_device_train_batch_size": part,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "seed": settings.seed,
        "bf16": cuda and torch.cuda.is_bf16_supported(),
        "activation_checkpointing": False,
        "dataloader_pin_memory": cuda,
        "disable_tqdm": True,
        "report_to": "none",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "save_total_limit": 2,
    }


def epoch_arguments(settings: EpochSettings, work: WorkFolder) -> dict[str, Any]:
    """As `arguments`, with what a training has that goes through its rows in epochs.

    Args:
        settings: the recipe's section.
        work: where checkpoints go.

    Raises:
        RunError: as `arguments`.
    """
    adafactor = {"optim": "adafactor"} if settings.optimizer == "adafactor" else {}
    return {
        **arguments(settings, work, settings.batch_size),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        **adafactor,
    }


def fit(
    make: Callable[[], Trainer], work: WorkFolder, account: Account, report: Report | None
) -> TrainingResult:
    """Train to the end, from the last checkpoint if there is one, and put the model in its place.

    Args:
        make: builds the trainer.
        work: the folder that its arguments name.
        account: what it is made of.
        report: is told of each step.

    Raises:
        PermanentError: a model that it starts from is not there as safetensors.
    """
    from accelerate import PartialState
    from transformers import PrinterCallback

    began = time.monotonic()
    # A model that has no digest is refused now, not when the training is done.
    models = {
        role: {"name": name, "digest": model_digest(name)} for role, name in account.models.items()
    }
    state = PartialState()
    with state.main_process_first():
        checkpoint = work.open()
    trainer = make()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_watcher(work, report if state.is_main_process else None))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else False)
    trainer.save_model(str(work.model))
    figures = _logged(trainer.state.log_history, account)
    result = TrainingResult(
        work.out,
        rows=len(account.rows.dataset),
        dropped=account.rows.dropped,
        truncated=account.rows.truncated,
        steps=trainer.state.global_step,
        seconds=round(time.monotonic() - began, 3),
        metrics=_means(figures[-LAST_LOGS:]),
    )
    if state.is_main_process:
        _write(work, result, account, figures=figures, models=models)
    state.wait_for_everyone()
    return result


def _watcher(work: WorkFolder, report: Report | None) -> TrainerCallback:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class Watcher(TrainerCallback):
        """Marks whole checkpoints and reports the steps."""

        def on_save(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            **_: Any,
        ) -> None:
            if state.is_world_process_zero:
                work.mark_complete(state.global_step)

        def on_log(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            **_: Any,
        ) -> None:
            loss = state.log_history[-1].get("loss")
            if report is not None and loss is not None:
                report(state.global_step, state.max_steps, loss)

    return Watcher()


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
    # A pickle; whoever loads the model has no need of it.
    (work.model / "training_args.bin").unlink(missing_ok=True)
    lora: LoraSettings | None = getattr(account.settings, "lora", None)
    if lora is not None:
        settle(work.model, lora)
    (work.model / LOG).write_bytes(
        b"".join(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE) for entry in figures)
    )
    outcome = {name: value for name, value in asdict(result).items() if name != "folder"}
    work.write_record(
        {
            "kind": account.kind,
            "settings": account.settings.model_dump(mode="json"),
            "models": models,
            "versions": {name: version(name) for name in PACKAGES},
            **outcome,
        }
    )
    work.install()


def model_digest(name: str) -> str:
    """Digest of a model's weights and tokenizer, whatever folder holds them.

    Args:
        name: a folder, or a name on the hub.
    """
    from cai.models.weights import folder_digest, resolved_folder

    if is_adapter(name):
        base = orjson.loads((Path(name) / CONFIG).read_bytes())["base_model_name_or_path"]
        return f"{model_digest(base)}:{folder_digest(Path(name))}"
    return folder_digest(resolved_folder(name if Path(name).is_dir() else f"hf:{name}"))
