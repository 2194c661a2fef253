"""Held-out replies, which give the scores of a preference model their scale (HH-RLHF, B.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cai.errors import Fault, InputError
from trainers.pairs import COLUMNS, LABEL, read_pair
from trainers.rows import BadRow, check_columns, data_files, read_rows
from trainers.scoring import Scorer
from trainers.tokens import Conversation

MOST_HELD_OUT = 256
"""Pairs of the held-out set that are scored: the mean of 512 replies is sure enough."""


@dataclass(frozen=True)
class HeldOut:
    """Pairs that a preference model has not learned from.

    Args:
        replies: both of each pair that is used.
        left_out: pairs met on the way that are longer than the model reads.
    """

    replies: list[Conversation]
    left_out: int = 0

    @property
    def record(self) -> dict[str, int]:
        """How many pairs are used and left out, for the record of a training."""
        return {"pairs": len(self.replies) // 2, "left_out": self.left_out}


def read_held_out(scorer: Scorer, held_out: Path | None) -> HeldOut:
    """The first held-out pairs that a model can read, `MOST_HELD_OUT` at most.

    Args:
        scorer: the model.
        held_out: Parquet or JSON lines; None, or a folder without a row, for none.

    Raises:
        InputError: a file has not the columns of a pair, a row is bad, or there are pairs and the
            model can read none of them.
    """
    if held_out is None or not data_files(held_out):
        return HeldOut([])
    replies, left_out = list[Conversation](), 0
    for row in read_rows(check_columns(held_out, COLUMNS), (*COLUMNS, LABEL)):
        try:
            pair = read_pair(row)
            both = [[*pair.prompt, *pair.chosen], [*pair.prompt, *pair.rejected]]
            readable = all(scorer.length(one) <= scorer.positions for one in both)
        except BadRow as error:
            raise InputError(held_out, [Fault(str(error))]) from error
        if readable:
            replies += both
        else:
            left_out += 1
        if len(replies) >= 2 * MOST_HELD_OUT:
            break
    if left_out and not replies:
        fault = Fault(
            f"has no pair of at most the {scorer.positions} tokens a side that the preference "
            f"model reads, of {left_out} held-out pairs, so that its scores have no scale; name "
            "shorter ones with --held-out, or set rl.subtract_mean to false"
        )
        raise InputError(held_out, [fault])
    return HeldOut(replies, left_out)
