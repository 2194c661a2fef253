"""Two replies, what a judge said of them, and the label that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cai.records.answers import Refusal, WeighMethod
from cai.records.prompts import Prompt


@dataclass(frozen=True)
class OrderWeights:
    """The judge's log-probabilities in one presentation order.

    Args:
        first: "a" if response a stood at (A), "b" if response b did.
        logprob_a: natural log-probability of the option that stood for response a.
        logprob_b: and of the one that stood for response b.
        mass: total probability of both options.
        method: how the log-probabilities were had.
        call: the ledger's key.
        principle: id of the principle that was asked under.
        chain: which chain of thought this was, from 0.
        reasoning: what the judge thought before it answered; None if it was not asked to.
        reasoning_call: the ledger's key of these thoughts.
        standard_error: of the option (A)'s normalised probability; None if it is no estimate.
    """

    first: Literal["a", "b"]
    logprob_a: float
    logprob_b: float
    mass: float
    method: WeighMethod
    call: str
    principle: str = ""
    chain: int = 0
    reasoning: str | None = None
    reasoning_call: str = ""
    standard_error: float | None = None


@dataclass(frozen=True)
class Rating:
    """How a judge rated one reply, from 1 to 10 (Lee et al. 2023, §2.2.2) or on another scale.

    Args:
        of: "a" or "b", the reply.
        shares: probabilities of the scale's numbers, normalised.
        expected: their mean, within the scale.
        mass: total probability of the numbers before they were normalised.
        method: how the log-probabilities were had.
        call: the ledger's key.
        principle: id of the principle that was asked under.
    """

    of: Literal["a", "b"]
    shares: tuple[float, ...]
    expected: float
    mass: float
    method: WeighMethod
    call: str
    principle: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two replies to one prompt, and the probability that a is the better one.

    Args:
        prompt: what both replies answer.
        response_a: the first reply.
        response_b: the second.
        p_a: P(a is better), in [0, 1].
        principle: id of the principle drawn, or ids with " + " between them if there were several;
            empty for labels that used none.
        orders: what the judge said in each presentation order, of each principle and chain of
            thought; empty for other label sources.
        ratings: what the judge said of each reply by itself; empty unless it was asked so.
        source: who labelled: "ai", "human", …
        model: the judge; empty if none.
        provenance: hashes and settings that made the label.
        refusals: of judges that were asked before `model` and declined.
    """

    prompt: Prompt
    response_a: str
    response_b: str
    p_a: float
    principle: str = ""
    orders: tuple[OrderWeights, ...] = ()
    source: str = "ai"
    model: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refusals: tuple[Refusal, ...] = ()
    ratings: tuple[Rating, ...] = ()

    def swap(self) -> Comparison:
        """Exchange a and b: texts, label and every order flip together."""
        return replace(
            self,
            response_a=self.response_b,
            response_b=self.response_a,
            p_a=1 - self.p_a,
            orders=tuple(
                replace(
                    order,
                    first="b" if order.first == "a" else "a",
                    logprob_a=order.logprob_b,
                    logprob_b=order.logprob_a,
                )
                for order in self.orders
            ),
            ratings=tuple(
                replace(rating, of="b" if rating.of == "a" else "a") for rating in self.ratings
            ),
        )
