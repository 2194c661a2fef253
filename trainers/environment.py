"""The process that a training runs in: quiet libraries, no telemetry, one GPU or a launcher."""

from __future__ import annotations

import os
import warnings

from cai.errors import MissingDependency, RunError


def prepare_environment() -> None:
    """Quiet the libraries before they load: no telemetry, no bars, no thread warnings.

    Raises:
        MissingDependency: TRL is not installed.
    """
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that wait by spinning make a step several times slower wherever another one runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import trl  # noqa: F401 - its absence is told before anything is read
        from huggingface_hub import constants
        from transformers.utils import logging
    except ImportError as error:
        raise MissingDependency(error.name or "trl", "train") from error
    # The library reads its variable when it loads, which another part may have done before.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    # TRL 1.16 still uses the name that transformers 5.23 has replaced; its users cannot help it.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    logging.disable_progress_bar()
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()


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
