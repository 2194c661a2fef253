"""TRL's trainers as loops of ours: their arguments, their checkpoints, their log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.errors import RunError
from trainers.environment import require_one_gpu
from trainers.fit import Report
from trainers.losses import label_distance, preference_accuracy
from trainers.settings import EpochSettings, TrainingSettings
from trainers.snapshots import write_snapshot
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Trainer, TrainerCallback


def arguments(settings: TrainingSettings, work: WorkFolder, rows: int) -> dict[str, Any]:
    """What every TRL config is given.

    Args:
        settings: the recipe's section.
        work: where checkpoints go.
        rows: rows of one optimizer step, over all processes.

    Raises:
        RunError: the rows cannot be shared out evenly over the processes, one process has
            several GPUs in sight, or the attention asked for is not there.
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
        "activation_checkpointing": settings.gradient_checkpointing,
        "dataloader_pin_memory": cuda,
        "disable_tqdm": True,
        "report_to": "none",
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "save_total_limit": 2,
        **_attention(settings),
    }


def log_pairs(
    logged: MutableMapping[str, list[float]], score_a: Tensor, score_b: Tensor, p_a: Tensor
) -> None:
    """Add accuracy and label distance of a part of a step to what TRL logs of the step.

    TRL logs the mean of all that was added, so a part's figure is added once for each pair that it
    is of: a step has one accuracy, in however many parts it is computed.

    Args:
        logged: the figures since the last log, by name.
        score_a: scores of the replies a, (B,), of all processes.
        score_b: and of the replies b, (B,).
        p_a: probability that a is the better one, in [0, 1], (B,).
    """
    logged["label_distance"] += [label_distance(score_a, score_b, p_a).item()] * len(p_a)
    if decided := int((p_a != 0.5).sum()):
        logged["accuracy"] += [preference_accuracy(score_a, score_b, p_a).item()] * decided


def _attention(settings: TrainingSettings) -> dict[str, Any]:
    from transformers.utils.import_utils import is_flash_attn_2_available

    if settings.attention is None:
        return {}
    if settings.attention == "flash_attention_2" and not is_flash_attn_2_available():
        raise RunError(
            "attention: flash_attention_2 needs a GPU and the package flash-attn, which are not "
            "both here; leave attention out for sdpa"
        )
    return {"model_init_kwargs": {"attn_implementation": settings.attention}}


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


class TrlLoop:
    """Owns a trainer of TRL.

    Args:
        trainer: made with `arguments` of the same folder.
        work: where its checkpoints go.
        kept: optimizer steps after which the model is written to a folder of its own.
    """

    def __init__(
        self, trainer: Trainer, work: WorkFolder, kept: Mapping[int, Path] | None = None
    ) -> None:
        """Take the trainer as it is."""
        self._trainer = trainer
        self._work = work
        self._kept = kept or {}

    def train(self, checkpoint: Path | None, report: Report | None) -> Sequence[Mapping[str, Any]]:
        """As `trainers.fit.Loop`."""
        from transformers import PrinterCallback

        self._trainer.remove_callback(PrinterCallback)
        self._trainer.add_callback(_watcher(self._work, report))
        self._trainer.add_callback(_keeper(self._kept, self.save))
        self._trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else False)
        return self._trainer.state.log_history

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return self._trainer.state.global_step

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        self._trainer.save_model(str(folder))


def _watcher(work: WorkFolder, report: Report | None) -> TrainerCallback:
    from accelerate import PartialState
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class Watcher(TrainerCallback):
        """Marks whole checkpoints and reports the steps."""

        def on_step_end(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            **_: Any,
        ) -> None:
            # The trainer asks for one more checkpoint at the end; the model itself is written now.
            if state.global_step >= state.max_steps:
                control.should_save = False

        def on_save(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            **_: Any,
        ) -> None:
            # Each process writes a file of its own; a checkpoint is whole when all of them are.
            PartialState().wait_for_everyone()
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


def _keeper(kept: Mapping[int, Path], save: Callable[[Path], None]) -> TrainerCallback:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class Keeper(TrainerCallback):
        """Writes the model of some steps; before their checkpoints, so that none is missed."""

        def on_step_end(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            **_: Any,
        ) -> None:
            if state.global_step in kept:
                write_snapshot(kept[state.global_step], save)

    return Keeper()
