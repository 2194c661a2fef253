"""How a model is asked, and what it answers: a reply, or how it weighs given options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StopReason = Literal["stop", "length", "refusal"]
WeighMethod = Literal["exact", "top_k", "samples"]
RefusalSign = Literal["stop_reason", "wording"]


@dataclass(frozen=True)
class Usage:
    """Tokens read and written by one call.

    Args:
        input_tokens: all that were read, whatever they cost.
        output_tokens: written.
        cached_tokens: those of the input that came from the provider's cache.
        cache_write_tokens: those of the input that were written to it.
        reasoning_tokens: those of the output that were thinking.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """The tokens of both."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. A temperature of 0 is greedy.

    Args:
        temperature: ≥ 0; the papers sample at 1.
        top_p: share of the probability mass kept, in (0, 1].
        max_tokens: longest reply, in tokens of the model.
        stop: the reply ends before the first of these strings.
        seed: every sampled call carries its own, so that its answer depends on the request alone.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Refusal:
    """A call that one model declined and another one answered.

    Args:
        model: identity of the one that declined.
        call: the ledger's key of what it said.
        sign: how that was recognised: the provider's own word, or the wording of the reply.
        answered_by: identity of the one that was asked next.
    """

    model: str
    call: str
    sign: RefusalSign
    answered_by: str


@dataclass(frozen=True)
class Completion:
    """A reply as the model gave it.

    Args:
        text: the reply; an empty one is a reply too.
        stop_reason: "stop" (the model ended it), "length" (cut off) or "refusal" (the provider
            or model declined); a transport error is none of these but a `ModelError`.
        usage: tokens of the call.
        model: the model's name as the provider reported it.
        reasoning: hidden or shown thinking, apart from the text; never enters a training message.
        logprobs: natural log-probability of each sampled token, where the provider gives them.
        call: the ledger's key of the call; empty outside a run.
        cached: True if the ledger already had the answer.
        refusals: of models that were asked this before and declined; in no stored answer.
    """

    text: str
    stop_reason: StopReason
    usage: Usage
    model: str
    reasoning: str | None = None
    logprobs: tuple[float, ...] | None = None
    call: str = ""
    cached: bool = False
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Weighed:
    """How a model weighed given options as the beginning of its reply.

    Args:
        logprobs: natural log of p(option | messages), in the order of the options; finite. There
            may be none if the model declined.
        mass: total probability of the options, in [0, 1]; the rest went to other replies.
        method: "exact"; "top_k" (an option outside the provider's top-k has an upper bound);
            "samples" (estimated from k sampled replies).
        usage: tokens of the call.
        model: the model's name as the provider reported it.
        standard_error: of the first option's normalised probability; None if exact.
        samples: number of sampled replies, for method "samples".
        others: texts of the sampled replies that name no option and are no refusal; of the other
            methods, the likeliest first token, if no option begins with it.
        refused: True if the model declined: once, or in most of its sampled replies.
        call: the ledger's key of the call; empty outside a run.
        cached: True if the ledger already had the answer.
        refusals: of models that were asked this before and declined; in no stored answer.
    """

    logprobs: tuple[float, ...]
    mass: float
    method: WeighMethod
    usage: Usage
    model: str
    standard_error: float | None = None
    samples: int | None = None
    others: tuple[str, ...] = ()
    refused: bool = False
    call: str = ""
    cached: bool = False
    refusals: tuple[Refusal, ...] = ()
