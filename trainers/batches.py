"""Which rows stand together in a step: those of about one length, so that little is padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.data import Sampler

STEPS_PER_GROUP = 50
"""Steps whose rows are sorted together. More of them pad less, and mix less."""


def length_grouped(lengths: Sequence[int], rows: int, seed: str) -> list[int]:
    """An order of rows in which those of one step are of about one length.

    Rows are shuffled, sorted within groups of `STEPS_PER_GROUP` steps, and the steps of all groups
    are shuffled again, so that neither long nor short ones come first.

    Args:
        lengths: of each row, in tokens.
        rows: rows of one step, over all processes, at least one.
        seed: same seed, same order.
    """
    draw = random.Random(seed)
    order = draw.sample(range(len(lengths)), len(lengths))
    size = rows * STEPS_PER_GROUP
    steps: list[list[int]] = []
    for start in range(0, len(order), size):
        group = sorted(order[start : start + size], key=lambda row: lengths[row])
        steps += [group[at : at + rows] for at in range(0, len(group), rows)]
    # A step that is not full stands last; elsewhere it would shift all steps behind it.
    full = [one for one in steps if len(one) == rows]
    rest = [one for one in steps if len(one) < rows]
    draw.shuffle(full)
    return [row for step in (*full, *rest) for row in step]


def grouped_sampler(lengths: Sequence[int], rows: int, seed: int) -> Sampler[int]:
    """A sampler of rows in the order of `length_grouped`, another one in each epoch.

    Args:
        lengths: of each row, in tokens.
        rows: rows of one step, over all processes.
        seed: of the training.
    """
    from torch.utils.data import Sampler

    class Grouped(Sampler[int]):
        """Is told of the epoch by the trainer, and so gives the same order when it is resumed."""

        epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __len__(self) -> int:
            return len(lengths)

        def __iter__(self) -> Iterator[int]:
            return iter(length_grouped(lengths, rows, f"{seed}:{self.epoch}:order"))

    return Grouped()


def step_rows(trainer: Any) -> int:
    """Rows of one optimizer step of a trainer, over all its processes."""
    arguments = trainer.args
    part = arguments.train_batch_size * arguments.gradient_accumulation_steps
    return part * arguments.world_size
