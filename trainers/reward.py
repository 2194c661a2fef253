"""What RL is paid for: what is thought of a reply, each part on a scale of its own.

    R = w_PM (score − mean) / spread + w_rating (2 (s − 1) / 9 − 1)

The score is a preference model's. HH-RLHF, B.2: its mean on a fixed held-out set is subtracted, so
that scores of several models can be held against each other, and an average reply is worth
nothing. The rating s, from 1 to 10, is a judge's (direct RLAIF, Lee et al. 2023, §2.2.2).
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cai.errors import Fault, InputError, RunError
from trainers.environment import of_all_processes
from trainers.pairs import COLUMNS, LABEL, read_pair
from trainers.rows import BadRow, check_columns, data_files, read_rows
from trainers.scoring import Scorer
from trainers.settings import RlSettings
from trainers.tokens import Conversation
from trainers.tracking import Tracker, standard_of

MOST_HELD_OUT = 256
"""Pairs of the held-out set that are scored: the mean of 512 replies is sure enough."""

SCORE, RATING = "score", "rating"
"""Names of the parts in log and record: the preference model's, the judge's."""


class Scoring(Protocol):
    """Says how good replies are."""

    def score(self, conversations: Sequence[Conversation]) -> Sequence[float | None]:
        """Scores of conversations that end with the reply to be judged; higher is better.

        None where nothing can be said of a reply.
        """
        ...


class Rating(Scoring, Protocol):
    """A judge's ratings of replies, in [-1, 1]; none of a reply that it does not rate."""

    @property
    def identity(self) -> str:
        """Hash of all that a rating depends on, but for the reply."""
        ...


@dataclass(frozen=True)
class RewardSource:
    """Where the reward comes from; what the settings give no weight is not asked.

    Args:
        preference_model: as `train_preference_model` writes it: a folder, or a name on the hub.
        held_out: pairs that it has not learned from, Parquet or JSON lines; None for none.
        rating: the judge's.
        test_preference_model: scores the same replies for the log alone; see `trainers.tracking`.
    """

    preference_model: str | None = None
    held_out: Path | None = None
    rating: Rating | None = None
    test_preference_model: str | None = None

    @property
    def models(self) -> Mapping[str, str]:
        """The models that it loads, by role, for the record of a training."""
        both = {
            "preference_model": self.preference_model,
            "test_preference_model": self.test_preference_model,
        }
        return {role: model for role, model in both.items() if model}


@dataclass(frozen=True)
class Part:
    """A part of the reward.

    Args:
        name: under which its mean is logged.
        of: gives the scores.
        weight: what it counts for; at 0 it is logged alone.
        mean: what is subtracted.
        spread: what is then divided by.
    """

    name: str
    of: Scoring
    weight: float = 1.0
    mean: float = 0.0
    spread: float = 1.0

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Scores on this scale."""
        return [
            None if score is None else (score - self.mean) / self.spread
            for score in self.of.score(conversations)
        ]


class Paid(NamedTuple):
    """What some replies are worth.

    Args:
        rewards: in their order; None for a reply that a part with weight says nothing of.
        figures: for the log, over the replies of all processes: mean of each part over the replies
            that it speaks of, if there are several parts; the share of replies without a reward, if
            there can be any; that of replies before which a preference model could not read the
            whole prompt.
    """

    rewards: list[float | None]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Reward:
    """A weighted sum of parts, one of which has weight at least.

    Args:
        parts: in the order of the log.
        tracker: a second preference model, which pays nothing; None for none.
    """

    parts: Sequence[Part]
    tracker: Tracker | None = None

    def pay(self, conversations: Sequence[Conversation]) -> Paid:
        """What replies are worth.

        A reply that a part says nothing of is worth no number: not 0, and not the sum of the other
        parts, which is on another scale. It takes no part in the step's learning.

        Args:
            conversations: one at least, each with the reply as its last turn.

        Raises:
            RunError: none of the replies has a reward.
        """
        scorers = self._scorers()
        before = [scorer.shortened for scorer in scorers]
        scores = {part.name: part.score(conversations) for part in self.parts}
        weights = {part.name: part.weight for part in self.parts if part.weight}
        weighted = [scores[name] for name in weights]
        rewards = [_sum(one, [*weights.values()]) for one in zip(*weighted, strict=True)]
        unpaid = sum(reward is None for reward in rewards)
        if unpaid == len(rewards):
            raise RunError(
                f"none of the {unpaid} replies of a rollout batch has a reward, for the judge has "
                "rated none of them; `cai rows list RUN --stage reward` says why. Name a fallback "
                "for the judge, or mend what the rows tell; bought ratings are found again"
            )
        figures = {name: _mean(one) for name, one in scores.items()} if len(scores) > 1 else {}
        if RATING in scores:
            figures["unrated"] = _mean([reward is None for reward in rewards])
        if self.tracker is not None:
            known = [score for score in scores[SCORE] if score is not None]
            figures |= self.tracker.figures(conversations, known)
        if scorers:
            after = [scorer.shortened for scorer in scorers]
            shortened = max(new - old for new, old in zip(after, before, strict=True))
            figures["shortened"] = _mean([shortened / len(rewards)])
        return Paid(rewards, figures)

    def has_room(self, prompt: Conversation, tokens: int) -> bool:
        """Whether every preference model can read a reply of so many tokens behind a prompt.

        Raises:
            BadRow: a chat template refuses the prompt.
        """
        return all(scorer.has_room(prompt, tokens) for scorer in self._scorers())

    def _scorers(self) -> list[Scorer]:
        """The preference models."""
        asked = [part.of for part in self.parts]
        asked += [] if self.tracker is None else [self.tracker.of]
        return [one for one in asked if isinstance(one, Scorer)]

    @property
    def record(self) -> Mapping[str, Any]:
        """Weight and scale of each part, for the record of a training."""
        return {
            part.name: {"weight": part.weight, "mean": part.mean, "spread": part.spread}
            for part in self.parts
        }


def open_reward(source: RewardSource, settings: RlSettings) -> Reward:
    """Load what scores, and find the scale of its scores.

    Raises:
        InputError: the preference model or the held-out pairs cannot be used, or scores are to be
            divided by their spread and there are none.
        RunError: what the settings give weight to is not there, or several processes are to share
            a judge.
    """
    weights, parts, tracker = settings.reward, list[Part](), None
    if weights.preference_model:
        if source.preference_model is None:
            raise RunError("rl.reward.preference_model has weight, and there is no such model")
        scorer = Scorer(source.preference_model, shortens=True)
        parts.append(_on_scale(scorer, source.held_out, settings))
        tracker = _tracker(source, scorer, parts[0])
    if weights.rating:
        if source.rating is None:
            raise RunError("rl.reward.rating has weight, and there is no judge to rate")
        require_one_process()
        parts.append(Part(RATING, source.rating, weights.rating))
    return Reward(parts, tracker)


def held_out_replies(scorer: Scorer, held_out: Path | None) -> list[Conversation]:
    """Both replies of the first held-out pairs that the model can read.

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
    return replies


def require_one_process() -> None:
    """Refuse several processes, each of which would hold the ledger that ratings are bought in.

    Raises:
        RunError: there are several.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        raise RunError(
            f"rl.reward.rating is bought by one process, and there are {count}; start the trainer "
            "without `accelerate launch`, or train against a preference model"
        )


def _on_scale(scorer: Scorer, held_out: Path | None, settings: RlSettings) -> Part:
    """The preference model's part, with the mean and spread of its scores of held-out replies."""
    weight = settings.reward.preference_model
    if not (settings.subtract_mean or settings.divide_by_spread):
        return Part(SCORE, scorer, weight)
    scores = scorer.score(held_out_replies(scorer, held_out))
    if settings.divide_by_spread and len(scores) < 2:
        fault = Fault(
            "has no held-out pairs whose scores rl.divide_by_spread could divide by; hold some out "
            "with datasets.test_share, or name them with --held-out"
        )
        raise InputError(held_out or "the reward", [fault])
    mean = statistics.fmean(scores) if settings.subtract_mean and scores else 0.0
    spread = statistics.pstdev(scores) if settings.divide_by_spread else 1.0
    return Part(SCORE, scorer, weight, mean, spread)


def _tracker(source: RewardSource, scorer: Scorer, part: Part) -> Tracker | None:
    """The test-PM, on one scale with the train-PM; None if there is none."""
    if source.test_preference_model is None:
        return None
    test = Scorer(source.test_preference_model, shortens=True)
    replies = held_out_replies(scorer, source.held_out)
    paid = [(score - part.mean) / part.spread for score in scorer.score(replies)]
    return Tracker(
        test,
        standard=standard_of(test.score(replies), source.held_out),
        train=standard_of(paid, source.held_out),
    )


def _sum(scores: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """The weighted sum; None if a part of it is."""
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return None
    return sum(weight * score for weight, score in zip(weights, known, strict=True))


def _mean(scores: Sequence[float | None]) -> float:
    """Over all processes."""
    return statistics.fmean(one for one in of_all_processes(scores) if one is not None)
