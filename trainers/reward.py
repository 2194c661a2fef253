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
from trainers.held_out import HeldOut, read_held_out
from trainers.scoring import UNREADABLE, DrawnScorer, Scorer
from trainers.settings import RlSettings
from trainers.tokens import Conversation
from trainers.tracking import Tracker, standard_of

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
        held_out: what both were found on; None where neither was looked for.
    """

    name: str
    of: Scoring
    weight: float = 1.0
    mean: float = 0.0
    spread: float = 1.0
    held_out: HeldOut | None = None

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Scores on this scale."""
        return [
            None if score is None else (score - self.mean) / self.spread
            for score in self.of.score(conversations)
        ]

    @property
    def record(self) -> Mapping[str, Any]:
        """Weight and scale, and how many pairs say so, for the record of a training."""
        told = {} if self.held_out is None else {"held_out": self.held_out.record}
        return {"weight": self.weight, "mean": self.mean, "spread": self.spread, **told}


class Paid(NamedTuple):
    """What some replies are worth.

    Args:
        rewards: in their order; None for a reply that a part with weight says nothing of.
        figures: for the log, over the replies of all processes: mean of each part over the replies
            that it speaks of, if there are several parts; the shares of replies without a rating
            and without a score, if such a part is there; that of replies before which a preference
            model could not read the whole prompt.
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
            RunError: none of the replies of all processes has a reward, or none can be read by
                both preference models.
        """
        scorers = self._scorers()
        before = [scorer.shortened for scorer in scorers]
        scores = {part.name: part.score(conversations) for part in self.parts}
        weights = {part.name: part.weight for part in self.parts if part.weight}
        weighted = [scores[name] for name in weights]
        rewards = [_sum(one, [*weights.values()]) for one in zip(*weighted, strict=True)]
        everyone = of_all_processes(rewards)
        if all(reward is None for reward in everyone):
            why = _why_unpaid(scores, scorers)
            raise RunError(
                f"none of the {len(everyone)} replies of a rollout batch has a reward: {why}"
            )
        figures = {name: _mean(one) for name, one in scores.items()} if len(scores) > 1 else {}
        if RATING in scores:
            figures["unrated"] = _mean([rating is None for rating in scores[RATING]])
        if self.tracker is not None:
            figures |= self.tracker.figures(conversations, scores[SCORE])
        if scorers:
            after = [scorer.shortened for scorer in scorers]
            shortened = max(new - old for new, old in zip(after, before, strict=True))
            figures["shortened"] = _mean([shortened / len(rewards)])
            figures["unread"] = _mean([score is None for score in scores[SCORE]])
        return Paid(rewards, figures)

    def has_room(self, prompt: Conversation, tokens: int) -> bool:
        """Whether every preference model can read a reply of so many tokens behind a prompt.

        Raises:
            BadRow: a chat template refuses the prompt.
        """
        return all(one.scorer.has_room(prompt, tokens) for one in self._scorers())

    def _scorers(self) -> list[DrawnScorer]:
        """The preference models."""
        asked = [part.of for part in self.parts]
        asked += [] if self.tracker is None else [self.tracker.of]
        return [one for one in asked if isinstance(one, DrawnScorer)]

    @property
    def record(self) -> Mapping[str, Any]:
        """Weight and scale of each part, for the record of a training."""
        return {part.name: part.record for part in self.parts}


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
        scorer = Scorer(source.preference_model)
        parts.append(_on_scale(scorer, source.held_out, settings))
        tracker = _tracker(source, scorer, parts[0])
    if weights.rating:
        if source.rating is None:
            raise RunError("rl.reward.rating has weight, and there is no judge to rate")
        require_one_process()
        parts.append(Part(RATING, source.rating, weights.rating))
    return Reward(parts, tracker)


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
    pairs = read_held_out(scorer, held_out)
    scores = scorer.score(pairs.replies)
    deviation = statistics.pstdev(scores) if scores else 0.0
    if settings.divide_by_spread and not deviation:
        fault = Fault(
            f"has {len(scores)} held-out replies that scores differ on, and rl.divide_by_spread "
            "divides by how far they do; hold pairs out with datasets.test_share, or name others "
            "with --held-out"
        )
        raise InputError(held_out or "the reward", [fault])
    mean = statistics.fmean(scores) if settings.subtract_mean and scores else 0.0
    spread = deviation if settings.divide_by_spread else 1.0
    return Part(SCORE, DrawnScorer(scorer), weight, mean, spread, pairs)


def _tracker(source: RewardSource, scorer: Scorer, part: Part) -> Tracker | None:
    """The test-PM, on one scale with the train-PM; None if there is none."""
    if source.test_preference_model is None:
        return None
    test = DrawnScorer(Scorer(source.test_preference_model))
    replies = (part.held_out or read_held_out(scorer, source.held_out)).replies
    paid = [(score - part.mean) / part.spread for score in scorer.score(replies)]
    found = [score for score in test.score(replies) if score is not None]
    return Tracker(
        test,
        standard=standard_of(found, source.held_out),
        train=standard_of(paid, source.held_out),
    )


def _why_unpaid(
    scores: Mapping[str, Sequence[float | None]], scorers: Sequence[DrawnScorer]
) -> str:
    """What keeps replies from a reward, and what to do about it."""
    missing = {name: sum(score is None for score in one) for name, one in scores.items()}
    why = list[str]()
    if missing.get(SCORE):
        told = "; ".join(reason for one in scorers[:1] for reason in one.refused)  # What pays.
        why.append(f"{missing[SCORE]} have no score by the preference model: {told}; {UNREADABLE}")
    if missing.get(RATING):
        why.append(
            f"{missing[RATING]} have no rating by the judge; `cai rows list RUN --stage reward` "
            "says why. Name a fallback for the judge, or mend what the rows tell; bought ratings "
            "are found again"
        )
    return ". ".join(why)


def _sum(scores: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """The weighted sum; None if a part of it is."""
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return None
    return sum(weight * score for weight, score in zip(weights, known, strict=True))


def _mean(scores: Sequence[float | None]) -> float:
    """Over all processes."""
    return statistics.fmean(one for one in of_all_processes(scores) if one is not None)
