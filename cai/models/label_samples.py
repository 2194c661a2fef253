"""Labels from sampled replies, for models that give no log-probabilities."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

from cai.at_once import all_of
from cai.models.weighing import estimated_from_replies, named_option
from cai.records import Completion, Message, Sampling, Usage, Weighed

LABEL_SAMPLES = 8
"""Replies of a label where nobody says how many: at p = ½ its standard error is 0.18."""

Complete = Callable[[Sequence[Message], Sampling], Awaitable[Completion]]


class LabelSampling(NamedTuple):
    """How a label is sampled.

    Args:
        replies: their number, at least 1.
        max_tokens: the longest length of each.
        in_identity: the model's identity says the number, or leaves it out for good; if not, it
            goes into the keys of labels (`key_options`).
    """

    replies: int
    max_tokens: int
    in_identity: bool = True

    @property
    def key_options(self) -> Mapping[str, Any]:
        """What of it the key of a label has to say."""
        return {} if self.in_identity else {"label_samples": self.replies}


@runtime_checkable
class WeighsBySamples(Protocol):
    """A model that may weigh options by sampling; None if it reads log-probabilities."""

    @property
    def label_sampling(self) -> LabelSampling | None:
        """How each label is sampled."""
        ...


async def weigh_by_samples(
    complete: Complete,
    messages: Sequence[Message],
    options: Sequence[str],
    plan: LabelSampling,
) -> Weighed:
    """Estimate the options' log-probabilities from replies; the seeds count from 0.

    When one reply fails, the others are still waited for, so that none is asked for in vain.

    Args:
        complete: samples one reply.
        messages: the question.
        options: texts that a reply may begin with.
        plan: how many replies, and how long.

    Raises:
        Whatever the first reply that failed has raised.
    """
    sampling = Sampling(max_tokens=plan.max_tokens)
    replies = await all_of(
        complete(messages, replace(sampling, seed=seed)) for seed in range(plan.replies)
    )
    said = [reply.text for reply in replies if reply.stop_reason != "refusal"]
    # What a model says beside its refusal is no label.
    declined = len(replies) - len(said)
    estimate = estimated_from_replies([*said, *[""] * declined], options)
    return Weighed(
        estimate.logprobs,
        estimate.mass,
        "samples",
        sum((reply.usage for reply in replies), Usage()),
        replies[0].model,
        standard_error=estimate.standard_error,
        samples=plan.replies,
        others=tuple(text for text in said if named_option(text, options) is None),
        refused=2 * declined > len(replies),
    )
