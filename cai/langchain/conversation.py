"""What goes into a runnable, as a conversation of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue

from cai.errors import CaiError
from cai.records import Message, Role

ROLES: Mapping[str, Role] = {"system": "system", "human": "user", "ai": "assistant"}

HINT = (
    "give ConstitutionalRunnable a function `conversation` that picks, from the input, the "
    "messages that the critic is to see"
)


class UnusableInput(CaiError):
    """What a runnable was given is no conversation that a critic could be shown."""


def conversation_of(value: Any) -> tuple[Message, ...]:
    """A conversation that ends with the person's turn.

    Args:
        value: a text, a prompt value, messages as LangChain takes them, or a mapping with these
            under "messages", as the state of a LangGraph graph.

    Raises:
        UnusableInput: it is none of these, has parts that are not text, or ends otherwise.
    """
    if isinstance(value, Mapping):
        state = cast("Mapping[str, Any]", value)
        if "messages" not in state:
            raise UnusableInput(
                f"the input has the keys {', '.join(map(repr, state))} and no 'messages'; put "
                f"the prompt before the runnable (prompt | runnable), or {HINT}"
            )
        value = state["messages"]
    if isinstance(value, PromptValue):
        value = value.to_messages()
    given = [value] if isinstance(value, str | BaseMessage) else value
    messages = tuple(
        _message(message, place) for place, message in enumerate(convert_to_messages(given))
    )
    if not messages or messages[-1].role != "user":
        last = messages[-1].role if messages else "nobody"
        raise UnusableInput(f"the conversation ends with a turn of {last}, not with the person's")
    return messages


def as_message(reply: Any) -> BaseMessage:
    """A reply as a message: a message itself, a text, or a state whose last message it is.

    Raises:
        UnusableInput: it is none of these.
    """
    if isinstance(reply, BaseMessage):
        return reply
    if isinstance(reply, str):
        return AIMessage(content=reply)
    state = cast("Mapping[str, Any]", reply if isinstance(reply, Mapping) else {})
    if state.get("messages"):
        return as_message(state["messages"][-1])
    name = type(cast("object", reply)).__name__
    raise UnusableInput(
        f"`first` gave {name}; it must give a message, a text, or a state with 'messages'"
    )


def _message(message: BaseMessage, place: int) -> Message:
    role = ROLES.get(message.type)
    if role is None or getattr(message, "tool_calls", None):
        raise UnusableInput(
            f"message {place} is a {type(message).__name__} of tools, which no critique can "
            f"show; {HINT}"
        )
    if not isinstance(message.content, str) and any(
        isinstance(block, dict) and block.get("type") not in ("text", "reasoning", "thinking")
        for block in message.content
    ):
        raise UnusableInput(f"message {place} has parts that are not text; {HINT}")
    return Message(role, str(message.text))
