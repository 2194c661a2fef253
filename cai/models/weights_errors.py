"""Weights that cannot be read or written, in words; their libraries raise errors of their own.

safetensors' error is no `OSError`, nor is what torch raises when the disk is full.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cai.errors import PermanentError, RunError

TORCH_FILES = "inline_container"
"""Torch's source that reads and writes its files; it stands in the text of their errors."""


@contextmanager
def reading_weights(names: str) -> Generator[None]:
    """Turn what safetensors raises of damaged files inside the block into a `PermanentError`.

    Args:
        names: of the model, or of all that one of them is.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise PermanentError(
            f"{names}: the weights cannot be read ({error}); put a whole copy in their place"
        ) from error


@contextmanager
def writing_weights(folder: Path) -> Generator[None]:
    """Turn what safetensors and torch raise inside the block of their files into a `RunError`.

    Args:
        folder: where models and checkpoints are written, and read again by a training that goes on.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and TORCH_FILES not in str(error):
            raise
        raise RunError(
            f"{folder}: a model or a checkpoint cannot be written, or read again ({error}); make "
            "room on the disk, and give the same command"
        ) from error
