"""Makes the calls of a course, one after the other: blocking or awaited, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs

from cai.langchain.conversation import as_message
from cai.langchain.course import Call, Course, Part
from cai.models.langchain_replies import to_langchain

NOT_STREAMED = "nostream"
"""LangGraph's tag of calls whose tokens it leaves out of ``stream_mode="messages"``."""


class _Target(NamedTuple):
    """Who makes a call, and with what."""

    runnable: Runnable[Any, Any]
    input: Any
    config: RunnableConfig
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Calls:
    """The calls of one answer.

    Args:
        model: makes every call but, where there is one, that of `first`.
        first: makes the first answer.
        input: of the runnable, as it came; `first` gets it.
        config: of the runnable's run, so that the calls are traced under it.
        arguments: further keyword arguments of calls to the model.
        stream: give the reply to a final call piece by piece.
    """

    model: Runnable[Any, Any]
    first: Runnable[Any, Any] | None
    input: Any
    config: RunnableConfig
    arguments: Mapping[str, Any]
    stream: bool = False

    def parts(self, steps: Course) -> Iterator[Part]:
        """Follow a course to its end, and give the outcome in parts."""
        step = _following(steps, None)
        while step is not None:
            reply: BaseMessage | None = None
            if not isinstance(step, Call):
                yield step
            elif step.final and self.stream:
                for piece in self._stream(self._target(step)):
                    reply = piece if reply is None else _added(reply, piece)
                    yield Part(output=piece)
            else:
                target = self._target(step)
                given = target.runnable.invoke(target.input, target.config, **target.arguments)
                reply = as_message(given)
                if step.final:
                    yield Part(output=reply)
            step = _following(steps, reply)

    async def aparts(self, steps: Course) -> AsyncIterator[Part]:
        """Follow a course to its end, and give the outcome in parts; as `parts`, awaited."""
        step = _following(steps, None)
        while step is not None:
            reply: BaseMessage | None = None
            if not isinstance(step, Call):
                yield step
            elif step.final and self.stream:
                async for piece in self._astream(self._target(step)):
                    reply = piece if reply is None else _added(reply, piece)
                    yield Part(output=piece)
            else:
                target = self._target(step)
                given = await target.runnable.ainvoke(
                    target.input, target.config, **target.arguments
                )
                reply = as_message(given)
                if step.final:
                    yield Part(output=reply)
            step = _following(steps, reply)

    def _stream(self, target: _Target) -> Iterator[BaseMessage]:
        for piece in target.runnable.stream(target.input, target.config, **target.arguments):
            yield _as_piece(piece)

    async def _astream(self, target: _Target) -> AsyncIterator[BaseMessage]:
        pieces = target.runnable.astream(target.input, target.config, **target.arguments)
        async for piece in pieces:
            yield _as_piece(piece)

    def _target(self, call: Call) -> _Target:
        tags = [f"constitutional:{call.name}"]
        if not call.final:
            tags.append(NOT_STREAMED)
        about: dict[str, Any] = {}
        if call.round:
            about = {
                "constitutional_round": call.round,
                "constitutional_principle": call.principle,
            }
        own = RunnableConfig(run_name=call.name, tags=tags, metadata=about)
        config = merge_configs(self.config, own)
        if call.name == "respond" and self.first is not None:
            return _Target(self.first, self.input, config, {})
        return _Target(self.model, to_langchain(call.messages), config, self.arguments)


def _following(steps: Course, reply: BaseMessage | None) -> Call | Part | None:
    try:
        return steps.send(reply)
    except StopIteration:
        return None


def _as_piece(piece: Any) -> BaseMessage:
    return AIMessageChunk(content=piece) if isinstance(piece, str) else as_message(piece)


def _added(reply: BaseMessage, piece: BaseMessage) -> BaseMessage:
    """Chunks add up to a chunk; LangChain's type of the sum is wider."""
    return cast("BaseMessage", cast("Any", reply) + piece)
