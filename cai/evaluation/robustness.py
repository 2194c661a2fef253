"""Where a policy's reward parts from what it is meant to measure (HH-RLHF, §4.2).

Two preference models learn from two halves of the same pairs. The policy is optimised against the
one, the train-PM, and what its replies are worth is read off the other, the test-PM. As long as
both say the same, the policy becomes better; where only the train-PM's score still rises, what is
learned are the faults of that model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cai.evaluation.intervals import Rate, Z

WINDOW = 5
"""Rollout batches that a smoothed difference is the mean of."""


@dataclass(frozen=True)
class TrackedStep:
    """What both preference models say of the replies of one rollout batch.

    Scores are standardized: less the mean of that model's scores of the held-out replies, in units
    of their standard deviation.

    Args:
        step: of RL, from 1.
        sqrt_kl: root of the KL from the SFT model, in nats a reply.
        train: mean score by the train-PM.
        test: mean score by the test-PM.
        deviation: standard deviation, over the replies, of train less test.
        cases: independent cases among the replies, at least 1: the prompts, for replies to one
            prompt are alike.
    """

    step: int
    sqrt_kl: float
    train: float
    test: float
    deviation: float
    cases: int


@dataclass(frozen=True)
class Parting:
    """From where on the train-PM thinks more of the policy than the test-PM does.

    Args:
        step: the last one of the window.
        sqrt_kl: mean of the window.
        gap: train less test there, less what it was at the beginning, with its 95 % interval.
    """

    step: int
    sqrt_kl: float
    gap: Rate


def parting(steps: Sequence[TrackedStep], window: int = WINDOW) -> Parting | None:
    """Where both scores part, or None if they do not, or there is too little to say it of.

        g_i = mean over the window that ends with step i of (train − test)
        g_i − g_0 > z √(e_i² + e_0²),  e = √(Σ s²/n) / window

    g_0 is of the first window: two models need not agree on a policy that was not optimised yet.
    s and n are a step's deviation and cases. They part at the first window after the first one
    from which on this holds for every window to the end: what goes away again was chance, or the
    policy's turning back.

    Args:
        steps: in their order.
        window: steps of a window, at least 1. With fewer than two windows there is no parting.
    """
    if len(steps) < 2 * window:
        return None
    begins = gap_of(steps[:window])
    found: Parting | None = None
    # From the end backwards: the first window that shows no difference ends the search.
    for end in range(len(steps), 2 * window - 1, -1):
        part = steps[end - window : end]
        here = gap_of(part)
        change = here.value - begins.value
        spread = math.hypot(here.high - here.value, begins.high - begins.value)
        if change <= spread:
            break
        rate = Rate(change, change - spread, change + spread, here.n)
        sqrt_kl = math.fsum(one.sqrt_kl for one in part) / window
        found = Parting(part[-1].step, sqrt_kl, rate)
    return found


def robustness_figures(steps: Sequence[TrackedStep], window: int = WINDOW) -> Mapping[str, Any]:
    """The curve and where it parts, as `metrics.json` holds them; empty without steps."""
    if not steps:
        return {}
    found = parting(steps, window)
    where = None if found is None else {**asdict(found), "gap": found.gap.to_json()}
    return {"window": window, "curve": [asdict(one) for one in steps], "parting": where}


def gap_of(steps: Sequence[TrackedStep]) -> Rate:
    """Mean of train less test over some steps, with its 95 % interval.

        g ± z e,  e = √(Σ s²/n) / steps

    s and n are a step's deviation and cases.

    Args:
        steps: one at least.
    """
    value = math.fsum(one.train - one.test for one in steps) / len(steps)
    variance = math.fsum(one.deviation**2 / one.cases for one in steps)
    half = Z * math.sqrt(variance) / len(steps)
    return Rate(value, value - half, value + half, sum(one.cases for one in steps))
