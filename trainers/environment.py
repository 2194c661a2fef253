"""The process that a training runs in: quiet libraries, no telemetry, one GPU or a launcher."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from cai.errors import MissingDependency, RunError

Item = TypeVar("Item")

RANKS = ("LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables of the launchers, one of which each of several processes finds."""


def prepare_environment() -> None:
    """Quiet the libraries before they load, and join the processes started with this one.

    Raises:
        MissingDependency: TRL is not installed.
        RunError: a launcher was asked for several processes and has started one.
    """
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that wait by spinning make a step several times slower wherever another one runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # It says at import, whether it is used or not, that a kernel for some CPUs was not downloaded.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        import trl  # noqa: F401 - its absence is told before anything is read
        from huggingface_hub import constants
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise MissingDependency(error.name or "trl", "train") from error
    # The library reads its variable when it loads, which another part may have done before.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    # TRL 1.16 still uses the name that transformers 5.23 has replaced; its users cannot help it.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    transformers_logging.disable_progress_bar()
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        transformers_logging.set_verbosity_error()
    _join_processes()


def is_launched() -> bool:
    """Whether a launcher has started this process, perhaps beside others."""
    return any(name in os.environ for name in RANKS)


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process do something before all others do it, one node's disk being all's."""
    if not is_launched():
        yield
        return
    prepare_environment()
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield


def _join_processes() -> None:
    """Make one training of the processes that a launcher has started, on CPUs too.

    accelerate takes no CPU of its own accord: without being told, each process trains alone.
    """
    if not is_launched():
        _refuse_one_of_several()
        return
    from accelerate import PartialState

    if not _has_accelerator():
        os.environ["ACCELERATE_USE_CPU"] = "true"
    PartialState(cpu=os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes"))


def _refuse_one_of_several() -> None:
    """Refuse what ``accelerate launch --num_processes 2`` comes to where there is no GPU."""
    if {"ACCELERATE_USE_CPU", "MASTER_PORT"} <= os.environ.keys() and not _has_accelerator():
        raise RunError(
            "accelerate was asked for several processes and has started one, as it does on CPUs; "
            'add `--config_file "$(python -m trainers.launch cpu)"`, or leave --num_processes out'
        )


def _has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


def of_all_processes(items: Sequence[Item]) -> list[Item]:
    """Items of all processes, those of the first one first; each process must ask for them.

    Args:
        items: this process's own; plain objects, or tensors in main memory.
    """
    if not is_launched():
        return [*items]
    from accelerate.utils import gather_object

    gathered: Any = gather_object([*items])
    return gathered


def require_one_gpu() -> None:
    """Refuse several GPUs in sight of one process, with which TRL trains no model.

    Raises:
        RunError: there are several, and no launcher has given this process its own.
    """
    import torch

    if torch.cuda.device_count() > 1 and "LOCAL_RANK" not in os.environ:
        raise RunError(
            f"{torch.cuda.device_count()} GPUs are in sight of one process; start the trainer with "
            "`accelerate launch`, or make one visible: CUDA_VISIBLE_DEVICES=0"
        )


def require_whole_models(who: str, instead: str) -> None:
    """Refuse FSDP and DeepSpeed, which share out a model over the processes.

    Args:
        who: what cannot be trained so.
        instead: what can.

    Raises:
        RunError: the launcher has set one of them up.
    """
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise RunError(
                f"{who} keeps whole models on each GPU and cannot be launched with {name}; take "
                f"{instead}, or launch with `python -m trainers.launch multi_gpu`"
            )
