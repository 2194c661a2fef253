"""A model that says what a script tells it to; it refuses every call that the script lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cai.records import Completion, Message, Sampling, StopReason, Usage, Weighed

Answer = Callable[[Sequence[Message], Sampling], str | Completion | Exception]
Weights = Callable[[Sequence[Message], Sequence[str]], Sequence[float] | Weighed]


class UnscriptedCall(AssertionError):
    """The script has no answer to a call: a test asked for more than it meant to."""


@dataclass(frozen=True)
class Asked:
    """One call as the model got it.

    Args:
        messages: the conversation.
        sampling: of a completion; None for a weighing.
        options: of a weighing; empty for a completion.
    """

    messages: tuple[Message, ...]
    sampling: Sampling | None = None
    options: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """Text of the last message."""
        return self.messages[-1].content


class ScriptedModel:
    """A `LanguageModel` for tests, and for trying a recipe's wiring.

    Args:
        replies: what `complete` answers: a list used up in order, or a function of messages and
            sampling. An answer is a text, a whole `Completion`, or an exception to raise.
        weights: what `weigh` answers: a list of probabilities per call, used up in order, or a
            function of messages and options giving the options' probabilities in (0, 1]. A whole
            `Weighed` may stand for them.
        name: stands in the records as the model's name.

    Example:
        ``ScriptedModel(["unkind", "a kinder answer"], weights=[[0.9, 0.1]])``
    """

    def __init__(
        self,
        replies: Sequence[str | Completion | Exception] | Answer = (),
        weights: Sequence[Sequence[float] | Weighed] | Weights = (),
        name: str = "scripted",
    ) -> None:
        """Keep the script; `asked` records every call, refused ones too."""
        self.name = name
        self.asked: list[Asked] = []
        self._replies = replies if callable(replies) else list(replies)
        self._weights = weights if callable(weights) else list(weights)

    @property
    def identity(self) -> str:
        """The name: a script is told apart by what it is called."""
        return f"scripted:{self.name}"

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Answer by the script.

        Raises:
            UnscriptedCall: the list of replies is used up.
        """
        self.asked.append(Asked(tuple(messages), sampling))
        if callable(self._replies):
            answer = self._replies(messages, sampling)
        elif self._replies:
            answer = self._replies.pop(0)
        else:
            raise UnscriptedCall(f"no reply is left for {messages[-1].content!r}")
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Completion) else reply(answer, model=self.name)

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Weigh by the script.

        Raises:
            UnscriptedCall: the list of probabilities is used up.
        """
        self.asked.append(Asked(tuple(messages), options=tuple(options)))
        if callable(self._weights):
            probabilities = self._weights(messages, options)
        elif self._weights:
            probabilities = self._weights.pop(0)
        else:
            raise UnscriptedCall(f"no probabilities are left for {messages[-1].content!r}")
        if isinstance(probabilities, Weighed):
            return probabilities
        logprobs = tuple(math.log(p) for _, p in zip(options, probabilities, strict=True))
        return Weighed(logprobs, math.fsum(probabilities), "exact", Usage(), self.name)

    async def close(self) -> None:
        """Do nothing: a script holds nothing."""


def reply(text: str, stop_reason: StopReason = "stop", model: str = "scripted") -> Completion:
    """A completion with this text and the number of its words as its tokens."""
    return Completion(text, stop_reason, Usage(0, len(text.split())), model)
