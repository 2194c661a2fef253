"""Best-of-N: draw N replies, keep the one that the preference model scores highest.

The cheapest way to use a preference model, and the baseline that RL has to beat: in WebGPT (Nakano
et al. 2021) RL did not. HH-RLHF (Bai et al. 2022, §2.3, B.6) collected data with it. Nothing is
trained: best-of-N is a policy itself, some nats away from the one that it draws from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cai.evaluation.classifiers import Classifier, Verdict
from cai.evaluation.intervals import Rate, mean_interval, mean_share
from cai.records import Prompt


class ScoredReply(NamedTuple):
    """A reply, and what the preference model gives for it."""

    text: str
    score: float


class Draws(NamedTuple):
    """All replies that were drawn to one prompt."""

    prompt: Prompt
    replies: tuple[ScoredReply, ...]

    @property
    def scores(self) -> list[float]:
        """Of the replies, in the order of drawing."""
        return [reply.score for reply in self.replies]


@dataclass(frozen=True)
class BestOfPoint:
    """Best-of-n for one n; a figure is None where fewer than two prompts bear on it.

    Args:
        n: replies to choose from.
        score: mean score of the best of them.
        kl_bound: `kl_bound` of n, in nats.
        kl: mean of `kl_estimate` over the prompts, in nats.
        harmful_compliance: share of harmful prompts whose best reply is harmful.
        helpfulness: share of harmless prompts whose best reply answers.
    """

    n: int
    score: Rate | None
    kl_bound: float
    kl: Rate | None
    harmful_compliance: Rate | None
    helpfulness: Rate | None

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` has it."""
        rates = ("score", "kl", "harmful_compliance", "helpfulness")
        found = {name: getattr(self, name) for name in rates}
        shown = {name: one.to_json() if one else None for name, one in found.items()}
        return {"n": self.n, "kl_bound": self.kl_bound, **shown}


def best_place(scores: Sequence[float]) -> int:
    """Where the highest score stands; of equal ones, the first drawn.

    Args:
        scores: one at least.
    """
    return max(range(len(scores)), key=lambda place: (scores[place], -place))


def kl_bound(n: int) -> float:
    """Upper bound of KL(best-of-n ‖ the policy drawn from), in nats.

        log n − (n − 1)/n

    It is the KL itself where no reply has a probability worth the name and no two score the same,
    and too high elsewhere: a policy that always says one thing has a KL of 0 (Beirami et al. 2024,
    arXiv 2401.01879, theorem 3.1). HH-RLHF quotes log n.

    Args:
        n: replies to choose from, 1 at least.
    """
    return math.log(n) - (n - 1) / n


def kl_estimate(scores: Sequence[float], n: int) -> float:
    """KL(best-of-n ‖ the policy drawn from) at one prompt, estimated from draws, in nats.

    A reply of score s has the probability p(s) under the policy and F(s)ⁿ − F⁻(s)ⁿ under
    best-of-n, F being the share of draws that score s or less and F⁻ that of those that score less
    (Beirami et al. 2024, §2, with equal scores as one outcome). So

        KL = Σ_s w log(w / p(s)),   w = F(s)ⁿ − F⁻(s)ⁿ

    F and p are taken from the draws. A score that was drawn once stands for many replies of small
    probability; its part is the integral that the sum goes to,

        ∫ n uⁿ⁻¹ log(n uⁿ⁻¹) du = uⁿ (log n + (n − 1)(log u − 1/n)),   from F⁻ to F

    Draws that never repeat give `kl_bound`; draws that are all the same give 0. From few draws it
    is too low on average (from n of them, by up to a tenth of a nat at n = 4), never above the
    bound; log-probabilities, which many servers do not give, are not needed.

    Args:
        scores: of all draws at the prompt, one at least; equal texts must have equal scores.
        n: replies to choose from, 1 at least; more draws than n make the estimate better.
    """
    total, below, divergence = len(scores), 0, 0.0
    for _, count in sorted(Counter(scores).items()):
        low, high = below / total, (below + count) / total
        below += count
        if count == 1:
            divergence += _continuous(high, n) - _continuous(low, n)
        else:
            weight = high**n - low**n
            # Of hundreds of replies no low one is the best: its weight is below the least float.
            divergence += weight * math.log(weight / (high - low)) if weight else 0.0
    return max(divergence, 0.0)


def _continuous(u: float, n: int) -> float:
    if u == 0:
        return 0.0
    return u**n * (math.log(n) + (n - 1) * (math.log(u) - 1 / n))


def chances(scores: Sequence[float], n: int) -> list[float]:
    """How likely each draw is to be the best of n that are picked from all draws.

    Of m draws, the one with i before it in the order of the scores is the best of n in
    C(i, n − 1) of C(m, n) picks. So m draws say what best-of-n does for every n up to m, each draw
    counted (Hilton and Gao 2022, "Measuring Goodhart's law").

    Args:
        scores: of all draws, n at least; of equal ones the first drawn counts as the higher.
        n: how many are picked.
    """
    picks = math.comb(len(scores), n)
    ordered = sorted(range(len(scores)), key=lambda place: (scores[place], -place))
    found = [0.0] * len(scores)
    for rank, place in enumerate(ordered):
        found[place] = math.comb(rank, n - 1) / picks
    return found


def best_of_points(draws: Sequence[Draws], classifier: Classifier) -> tuple[BestOfPoint, ...]:
    """What best-of-n does for n = 1, 2, 4, … up to the number of draws.

    Args:
        draws: with as many replies at each prompt; one prompt at least.
        classifier: gives each reply its verdict.
    """
    most = len(draws[0].replies)
    verdicts: list[list[Verdict]] = [
        [classifier(one.prompt, reply.text) for reply in one.replies] for one in draws
    ]
    sizes = [2**power for power in range(most.bit_length()) if 2**power < most]
    return tuple(_point(draws, verdicts, n) for n in (*sizes, most))


def _point(draws: Sequence[Draws], verdicts: Sequence[Sequence[Verdict]], n: int) -> BestOfPoint:
    weights = [chances(one.scores, n) for one in draws]

    def share(kind: str, counted: Verdict) -> Rate | None:
        chances_of_it = [
            _expected(weight, [float(verdict == counted) for verdict in said])
            for one, weight, said in zip(draws, weights, verdicts, strict=True)
            if one.prompt.kind == kind
        ]
        return mean_share(chances_of_it) if chances_of_it else None

    scores = [_expected(of, one.scores) for of, one in zip(weights, draws, strict=True)]
    return BestOfPoint(
        n=n,
        score=_mean(scores),
        kl_bound=kl_bound(n),
        kl=_mean([kl_estimate(one.scores, n) for one in draws]),
        harmful_compliance=share("harmful", "harmful"),
        helpfulness=share("harmless", "harmless"),
    )


def _expected(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))


def _mean(values: Sequence[float]) -> Rate | None:
    return mean_interval(values) if len(values) > 1 else None
