"""A second preference model looks at what the first one pays for (HH-RLHF, §4.2).

Both have learned from halves of the same pairs. The policy is optimised against the train-PM; the
test-PM scores the same replies, and nothing is learned from it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from cai.errors import Fault, InputError, RunError
from trainers.environment import of_all_processes
from trainers.scoring import UNREADABLE
from trainers.tokens import Conversation

TRAIN, TEST, GAP_STD = "train_pm", "test_pm", "pm_gap_std"
"""Names of the figures in the log."""


class Standard(NamedTuple):
    """Mean and standard deviation of a model's scores of the held-out replies."""

    mean: float
    deviation: float


class Scores(Protocol):
    """A preference model."""

    def score(self, conversations: Sequence[Conversation]) -> Sequence[float | None]:
        """Scores of conversations that end with the reply to be judged; None of one unread."""
        ...


@dataclass(frozen=True)
class Tracker:
    """The test-PM, and what makes its scores comparable with the train-PM's.

    Args:
        of: the test-PM.
        standard: its own.
        train: the train-PM's, of scores as `figures` is given them.
    """

    of: Scores
    standard: Standard
    train: Standard

    def figures(
        self, conversations: Sequence[Conversation], scores: Sequence[float | None]
    ) -> Mapping[str, float]:
        """Means of both models' standardized scores, and the deviation of their differences.

        z = (r − mean) / deviation; the deviation of train z less test z is over the replies, those
        of all processes. A reply that either model has no score of counts in none of them.

        Args:
            conversations: this process's, one at least, each with the reply as its last turn.
            scores: the train-PM's, in their order.

        Raises:
            RunError: no reply has a score of both.
        """
        mine = [
            (
                (train - self.train.mean) / self.train.deviation,
                (test - self.standard.mean) / self.standard.deviation,
            )
            for train, test in zip(scores, self.of.score(conversations), strict=True)
            if train is not None and test is not None
        ]
        both = of_all_processes(mine)
        if not both:
            raise RunError(
                "the preference model and the test one can both read none of the replies of a "
                f"rollout batch: the chat template refuses them; {UNREADABLE}"
            )
        return {
            TRAIN: statistics.fmean(train for train, _ in both),
            TEST: statistics.fmean(test for _, test in both),
            GAP_STD: statistics.pstdev(train - test for train, test in both),
        }


def standard_of(scores: Sequence[float], held_out: Path | None) -> Standard:
    """Mean and deviation of scores of held-out replies.

    Args:
        scores: any number.
        held_out: where they come from, for the error.

    Raises:
        InputError: there are too few, or they are all the same.
    """
    if len(scores) < 2 or not (deviation := statistics.pstdev(scores)):
        fault = Fault(
            f"has {len(scores)} held-out replies that scores differ on; two preference models are "
            "held against each other on these: hold some out with datasets.test_share, or name "
            "them with --held-out"
        )
        raise InputError(held_out or "the reward", [fault])
    return Standard(statistics.fmean(scores), deviation)
