"""How good a preference model's scores are: right, calibrated, and blind to length.

HH-RLHF (Bai et al. 2022b), §3.2, §3.3 and Fig. 25.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.evaluation.intervals import Rate, correlation, share_by_case
from cai.evaluation.labels import (
    ReliabilityBin,
    calibration_error,
    calibration_interval,
    reliability_bins,
)

LENGTHS = (
    (0.5, "less than half as long"),
    (0.9, "shorter"),
    (1.1, "about as long"),
    (2.0, "longer"),
    (math.inf, "over twice as long"),
)
"""Names of the better reply's length over the worse one's, by upper ends."""

PARTS = 5
"""Parts of about one size that pairs are put in by the lower of their scores."""


@dataclass(frozen=True)
class ScoredPair:
    """Two replies to one prompt, their label and their scores.

    Args:
        p_a: P(a is better), the label, in [0, 1].
        score_a: the preference model's score of reply a; so too of b.
        score_b: any number; only differences mean something.
        words_a: length of reply a, in words; so too of b.
        words_b: of reply b.
        turns: turns of the user before the replies, at least 1.
        source: where the label comes from, or the file.
        prompt: names it; pairs of one prompt share its replies.
        tags: further names that the pair goes under.
    """

    p_a: float
    score_a: float
    score_b: float
    words_a: int
    words_b: int
    turns: int
    source: str
    prompt: str
    tags: tuple[str, ...] = ()

    @property
    def margin(self) -> float:
        """r_a − r_b."""
        return self.score_a - self.score_b

    @property
    def agreement(self) -> float:
        """1 if the better reply has the higher score, 0 if not; equal scores count half."""
        return _agreement(self.margin, self.p_a)


@dataclass(frozen=True)
class ScoreFigures:
    """What was found of a preference model; None where there is too little to say it of.

    Pairs of one prompt share its replies, so intervals count prompts: the `n` of a figure is of
    the prompts that it was measured on.

    Args:
        n: pairs with a better reply, p ≠ ½; accuracy is of these.
        undecided: pairs with p = ½, which no score can get right.
        accuracy: share of pairs whose likelier reply has the higher score; ties count half.
        longer_is_better: the same of a baseline whose score is the length.
        brier: mean over all pairs of E(σ(Δ) − y)², y drawn from the label.
        ece: calibration error of σ(|Δ|), mean distance from the share that is right (§3.3).
        ece_interval: the same with its interval, `cai.evaluation.labels.calibration_interval`.
        bins: that reliability diagram, of ten bins of σ(|Δ|) in [½, 1].
        by_source: accuracy by where labels come from.
        by_tag: by tags of the rows.
        by_turns: by turns of the user (§3.2).
        by_length: by the better reply's length beside the worse one's.
        by_lower_score: by the lower of both scores, low ones first (Fig. 25).
        score_and_length: correlation of score and length over all replies.
        margin_and_length: of the differences of both within a pair, which no prompt explains.
    """

    n: int
    undecided: int
    accuracy: Rate | None = None
    longer_is_better: Rate | None = None
    brier: Rate | None = None
    ece: float | None = None
    ece_interval: Rate | None = None
    bins: Sequence[ReliabilityBin] = ()
    by_source: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    by_tag: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    by_turns: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    by_length: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    by_lower_score: Mapping[str, Rate] = field(default_factory=dict[str, Rate])
    score_and_length: Rate | None = None
    margin_and_length: Rate | None = None

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON data."""
        shown: dict[str, Any] = {"n": self.n, "undecided": self.undecided, "ece": self.ece}
        for name in _RATES:
            one: Rate | None = getattr(self, name)
            shown[name] = None if one is None else one.to_json()
        for name in GROUPS:
            parts: Mapping[str, Rate] = getattr(self, name)
            shown[name] = {part: one.to_json() for part, one in parts.items()}
        return {**shown, "bins": [vars(one) for one in self.bins]}


GROUPS = ("by_source", "by_tag", "by_turns", "by_length", "by_lower_score")
"""Fields with accuracies by part."""

_RATES = (
    *("accuracy", "longer_is_better", "brier", "ece_interval"),
    *("score_and_length", "margin_and_length"),
)


def score_figures(pairs: Sequence[ScoredPair]) -> ScoreFigures:
    """The figures of a preference model's scores.

    Args:
        pairs: none of them seen in training.

    Raises:
        ValueError: a score is not finite.
    """
    for pair in pairs:
        if not (math.isfinite(pair.score_a) and math.isfinite(pair.score_b)):
            raise ValueError(f"scores must be finite, got {pair.score_a}, {pair.score_b}")
    decided = [pair for pair in pairs if pair.p_a != 0.5]
    preferred, prompts = [_preferred(pair) for pair in pairs], [pair.prompt for pair in pairs]
    bins = reliability_bins(preferred, low=0.5) if preferred else []
    return ScoreFigures(
        n=len(decided),
        undecided=len(pairs) - len(decided),
        accuracy=_accuracy(decided),
        longer_is_better=_share(
            decided, lambda pair: _agreement(pair.words_a - pair.words_b, pair.p_a)
        ),
        brier=_share(pairs, _square) if len(pairs) > 1 else None,
        ece=calibration_error(bins),
        ece_interval=calibration_interval(preferred, 0.5, cases=prompts) if preferred else None,
        bins=bins,
        by_source=_by(decided, lambda pair: (pair.source,)),
        by_tag=_by(decided, lambda pair: pair.tags),
        by_turns={str(turns): one for turns, one in _by(decided, lambda one: (one.turns,)).items()},
        by_length=_by_length(decided),
        by_lower_score=_by_lower_score(decided),
        score_and_length=_score_and_length(pairs),
        margin_and_length=correlation(
            [pair.margin for pair in pairs],
            [pair.words_a - pair.words_b for pair in pairs],
            cases=len(set(prompts)),
        ),
    )


def _agreement(margin: float, p_a: float) -> float:
    return 0.5 if margin == 0 else float((margin > 0) == (p_a > 0.5))


def _preferred(pair: ScoredPair) -> tuple[float, float]:
    """σ(|Δ|), and the probability that the reply with the higher score is the better one."""
    if pair.margin == 0:
        return 0.5, 0.5
    return _sigmoid(abs(pair.margin)), pair.p_a if pair.margin > 0 else 1 - pair.p_a


def _square(pair: ScoredPair) -> float:
    p, q = _sigmoid(pair.margin), pair.p_a
    return (p - q) ** 2 + q * (1 - q)


def _sigmoid(margin: float) -> float:
    return 1 / (1 + math.exp(-max(margin, -700.0)))


def _accuracy(pairs: Sequence[ScoredPair]) -> Rate | None:
    return _share(pairs, lambda pair: pair.agreement)


def _share(pairs: Sequence[ScoredPair], of: Callable[[ScoredPair], float]) -> Rate | None:
    return share_by_case((pair.prompt, of(pair)) for pair in pairs)


def _by(
    pairs: Sequence[ScoredPair], names: Callable[[ScoredPair], Sequence[Any]]
) -> dict[Any, Rate]:
    groups: defaultdict[Any, list[ScoredPair]] = defaultdict(list)
    for pair in pairs:
        for name in names(pair):
            groups[name].append(pair)
    found = {name: _accuracy(groups[name]) for name in sorted(groups)}
    return {name: accuracy for name, accuracy in found.items() if accuracy is not None}


def _by_length(pairs: Sequence[ScoredPair]) -> dict[str, Rate]:
    found = _by(pairs, lambda pair: (_length_name(pair),))
    return {name: found[name] for _, name in LENGTHS if name in found}


def _length_name(pair: ScoredPair) -> str:
    words = (pair.words_a, pair.words_b)
    better, worse = words if pair.p_a > 0.5 else reversed(words)
    ratio = better / max(worse, 1)
    return next(name for end, name in LENGTHS if ratio <= end)


def _by_lower_score(pairs: Sequence[ScoredPair]) -> dict[str, Rate]:
    ordered = sorted(pairs, key=lambda pair: min(pair.score_a, pair.score_b))
    parts = min(PARTS, len(ordered))
    found: dict[str, Rate] = {}
    for part in range(parts):
        held = ordered[len(ordered) * part // parts : len(ordered) * (part + 1) // parts]
        low, high = (min(one.score_a, one.score_b) for one in (held[0], held[-1]))
        accuracy = _accuracy(held)
        assert accuracy is not None, "no part is empty"
        found[f"{part + 1} of {parts}: {low:.2f} to {high:.2f}"] = accuracy
    return found


def _score_and_length(pairs: Sequence[ScoredPair]) -> Rate | None:
    """All replies to a prompt are one case."""
    scores = [score for pair in pairs for score in (pair.score_a, pair.score_b)]
    words = [words for pair in pairs for words in (pair.words_a, pair.words_b)]
    return correlation(scores, words, cases=len({pair.prompt for pair in pairs}))
