"""Which rows stand together in a batch, so that little of it is padding.

`length_grouped` puts rows of about one length in a step; `packed` fills rows with several
conversations.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
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


def bins(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Rows to pack together: the longest first, each where it leaves the least room.

    Args:
        lengths: of each row, at most `room`.
        room: tokens of a bin.
    """
    found: list[list[int]] = []
    spaces: list[tuple[int, int]] = []  # (room left, bin), ascending
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        at = bisect_left(spaces, (lengths[row], -1))
        if at == len(spaces):
            found.append([row])
            left, place = room - lengths[row], len(found) - 1
        else:
            space, place = spaces.pop(at)
            found[place].append(row)
            left = space - lengths[row]
        insort(spaces, (left, place))
    return found


def packed(dataset: Dataset, room: int) -> Dataset:
    """Rows of several conversations each, whose ``position_ids`` start anew with each of them.

    Args:
        dataset: with ``input_ids`` and ``labels``, none longer than `room`.
        room: tokens of a packed row.
    """
    from datasets import Dataset

    ids, labels = dataset["input_ids"][:], dataset["labels"][:]
    together = bins([len(one) for one in ids], room)
    columns: dict[str, list[list[int]]] = {
        "input_ids": [[token for row in one for token in ids[row]] for one in together],
        "labels": [[label for row in one for label in labels[row]] for one in together],
        "position_ids": [[at for row in one for at in range(len(ids[row]))] for one in together],
    }
    return Dataset.from_dict(columns)


def packed_collator(padding: int, ignored: int) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Puts packed rows in a batch, without an attention mask.

    The model finds where a conversation begins by its positions, and lets none see another; each
    token of padding is one more, of one token.

    Args:
        padding: the padding token.
        ignored: the label of a token that is not learned.
    """
    import torch

    fill = {"input_ids": padding, "labels": ignored, "position_ids": 0}

    def collate(rows: Sequence[Any]) -> dict[str, Any]:
        longest = max(len(row["input_ids"]) for row in rows)
        return {
            name: torch.tensor([[*row[name], *[no] * (longest - len(row[name]))] for row in rows])
            for name, no in fill.items()
        }

    return collate
