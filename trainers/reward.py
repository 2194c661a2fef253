"""What RL is paid for: the score of a reply, less what such replies score on average.

HH-RLHF, B.2: each preference model's mean on a fixed held-out set is subtracted, so that scores
of several models can be held against each other, and an average reply is worth nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cai.errors import Fault, InputError
from trainers.pairs import COLUMNS, LABEL, read_pair
from trainers.rows import BadRow, check_columns, data_files, read_rows
from trainers.scoring import Scorer
from trainers.settings import RlSettings
from trainers.tokens import Conversation

MOST_HELD_OUT = 256
"""Pairs of the held-out set that are scored: the mean of 512 replies is sure enough."""


class Reward(Protocol):
    """Says how good replies are."""

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """Scores of conversations that end with the reply to be judged; higher is better."""
        ...


@dataclass(frozen=True)
class RewardSource:
    """Where the reward comes from.

    Args:
        preference_model: as `train_preference_model` writes it: a folder, or a name on the hub.
        held_out: pairs that it has not learned from, Parquet or JSON lines; None for none.
    """

    preference_model: str
    held_out: Path | None = None

    @property
    def models(self) -> Mapping[str, str]:
        """The models that it loads, by role, for the record of a training."""
        return {"preference_model": self.preference_model}


@dataclass(frozen=True)
class ScaledReward:
    """Scores on a scale of their own.

    Args:
        of: gives the scores.
        mean: what is subtracted.
        spread: what is then divided by.
    """

    of: Reward
    mean: float = 0.0
    spread: float = 1.0

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """As `Reward`."""
        return [(score - self.mean) / self.spread for score in self.of.score(conversations)]


def open_reward(source: RewardSource, settings: RlSettings) -> ScaledReward:
    """Load what scores, and find the scale of its scores.

    Raises:
        InputError: the preference model or the held-out pairs cannot be used, or scores are to be
            divided by their spread and there are none.
    """
    scorer = Scorer(source.preference_model)
    if not (settings.subtract_mean or settings.divide_by_spread):
        return ScaledReward(scorer)
    scores = held_out_scores(scorer, source.held_out)
    if settings.divide_by_spread and len(scores) < 2:
        fault = Fault(
            "has no held-out pairs whose scores rl.divide_by_spread could divide by; hold some out "
            "with datasets.test_share, or name them with --held-out"
        )
        raise InputError(source.held_out or "the reward", [fault])
    return ScaledReward(
        scorer,
        statistics.fmean(scores) if settings.subtract_mean and scores else 0.0,
        statistics.pstdev(scores) if settings.divide_by_spread else 1.0,
    )


def held_out_scores(scorer: Scorer, held_out: Path | None) -> list[float]:
    """Scores of both replies of the first held-out pairs that the model can read.

    Raises:
        InputError: a file has not the columns of a pair, or a row is bad.
    """
    if held_out is None or not data_files(held_out):
        return []
    replies: list[Conversation] = []
    for row in read_rows(check_columns(held_out, COLUMNS), (*COLUMNS, LABEL)):
        try:
            pair = read_pair(row)
            both = [[*pair.prompt, *pair.chosen], [*pair.prompt, *pair.rejected]]
            readable = all(scorer.length(one) <= scorer.positions for one in both)
        except BadRow as error:
            raise InputError(held_out, [Fault(str(error))]) from error
        if readable:
            replies += both
        if len(replies) >= 2 * MOST_HELD_OUT:
            break
    return scorer.score(replies)
