"""Rows that are filled with several conversations, none of which sees another.

A model that learns from them must find out by ``position_ids``, which start anew with each
conversation, where one begins. Not every kind does: `keeps_apart` tries it on the model itself.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cai.errors import RunError

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from transformers import TrainerCallback

PROBED = 16
"""Tokens of each conversation that a model is tried on."""

ROUNDING = 1e-5
"""What rounding may change of logits, as a share of the largest one."""


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
    return Dataset.from_list([_row([(ids[row], labels[row]) for row in one]) for one in together])


def _row(conversations: Sequence[tuple[list[int], list[int]]]) -> dict[str, list[int]]:
    """Conversations, ids and labels of each, behind each other."""
    return {
        "input_ids": [token for ids, _ in conversations for token in ids],
        "labels": [label for _, labels in conversations for label in labels],
        "position_ids": [at for ids, _ in conversations for at in range(len(ids))],
    }


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


def keeps_apart(model: Any, ids: Sequence[int], padding: int) -> bool:
    """Whether a causal language model reads a packed conversation as if it stood alone.

    It reads one that stands between two others, and again after the words of a neighbour have
    changed. Those of the one before must matter no more than those of the one behind, which no
    causal model sees: what the latter change is rounding.

    Args:
        model: as it is when it learns; it learns nothing here.
        ids: tokens of a conversation, not the same ones backwards.
        padding: the padding token.
    """
    import torch

    own, other = list(ids[:PROBED]), list(ids[:PROBED])[::-1]
    was_training, device = model.training, next(model.parameters()).device
    collate = packed_collator(padding, padding)

    def between(before: list[int], behind: list[int]) -> Tensor:
        # Beside another row: some ways of attention tell conversations apart in single rows alone.
        together = [[before, own, behind], [own, own, own]]
        rows = [_row([(one, one) for one in row]) for row in together]
        batch = {name: value.to(device) for name, value in collate(rows).items()}
        del batch["labels"]
        logits = model(**batch, use_cache=False).logits
        return logits[0, len(own) : 2 * len(own)].float()

    model.eval()
    for part in model.modules():
        # On a CPU bitsandbytes repacks weights of 4 bits that are read outside of training, and
        # those pass no gradient on.
        if getattr(getattr(part, "weight", None), "quant_state", None) is not None:
            part.training = True
    with torch.no_grad():
        plain, before, behind = between(own, own), between(other, own), between(own, other)
    model.train(was_training)
    seen, unseen = ((one - plain).abs().max().item() for one in (before, behind))
    return seen <= max(10 * unseen, ROUNDING * plain.abs().max().item())


def refuses_seen_neighbours(ids: Sequence[int], padding: int) -> TrainerCallback:
    """Stops a training before its first step where packed conversations would see each other.

    Its ``on_train_begin`` raises RunError.

    Args:
        ids: as of `keeps_apart`.
        padding: the padding token.
    """
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class Refuses(TrainerCallback):
        """Is asked when the model is as it will be in training, on whatever device."""

        def on_train_begin(
            self,
            args: TrainingArguments,
            state: TrainerState,
            control: TrainerControl,
            model: Any = None,
            **_: Any,
        ) -> None:
            if not keeps_apart(model, ids, padding):
                raise RunError(
                    "packing: true: a model of the kind "
                    f"{model.config.model_type!r} lets packed conversations see each other; set "
                    "packing: false, and group_by_length: true for little padding"
                )

    return Refuses()
