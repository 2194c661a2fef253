"""Messages as one text, for models that know no chat template (Bai et al. 2022, §3.1).

    {system}

    Human: {user}

    Assistant: {assistant}

Each turn begins after a blank line; the text ends with "Assistant:", or with what the assistant's
last turn says so far. A base model goes on past its own reply with a "Human:" of its making, so
the reply ends before the next turn (`STOP`). A text that a template wrote whole (role "text") is
sent as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cai.errors import PermanentError
from cai.records import Message
from cai.turn_marks import ASSISTANT, BREAK, HUMAN, LINE_BEGINS

STOP = (HUMAN, ASSISTANT)
"""What begins a turn, and so ends a reply."""

FORGED = re.compile(
    rf"({LINE_BEGINS}[ \t]*[HA])(?=(?:uman|ssistant)[ \t]*:)",
    re.IGNORECASE,
)
"""A line's first letter, where the line reads as the beginning of a turn."""


def turn_text(messages: Sequence[Message]) -> str:
    """The conversation as text, up to where the assistant's (next) words begin.

    Text that would begin a turn gets a zero-width space into the word, so that no message can
    forge one: it stays legible, and is no turn of ours.

    Args:
        messages: system first, if any; a last assistant turn is left open. Or a whole text.
    """
    if is_text(messages):
        return messages[-1].content
    is_open = messages[-1].role == "assistant"
    text = "".join(map(_turn, messages)) + ("" if is_open else ASSISTANT)
    return text.removeprefix("\n\n") if messages[0].role == "system" else text


def is_text(messages: Sequence[Message]) -> bool:
    """True for a text that a template wrote whole, whose template says what ends a reply."""
    return messages[-1].role == "text"


def refuse_text(messages: Sequence[Message], model: str) -> None:
    """Keep a whole text from a model that is asked in messages.

    Raises:
        PermanentError: it is one.
    """
    if is_text(messages):
        raise PermanentError(
            f"{model} is asked in messages, and was to go on with a plain text: set family: chat "
            "for it, or take a model of plain completions"
        )


def with_stop(stop: Sequence[str], messages: Sequence[Message]) -> tuple[str, ...]:
    """The stop strings of a sampling and, after turns, those that begin the next one."""
    if is_text(messages):
        return tuple(stop)
    return (*stop, *(string for string in STOP if string not in stop))


def reply_text(text: str, messages: Sequence[Message]) -> str:
    """What the model wrote, without the space that stands between "Assistant:" and a reply.

    A prefilled turn is gone on with as it stands.
    """
    return text if is_prefilled(messages) else text.removeprefix(" ")


def is_prefilled(messages: Sequence[Message]) -> bool:
    """True if the assistant's words have begun."""
    return messages[-1].role == "assistant" and messages[-1].content != ""


def begun(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The conversation with a text that the assistant's (next) words go on with.

    A blank goes before it after a colon in plain text, as it stands there in the paper's.
    """
    *before, last = messages
    if last.role == "text":
        gap = " " if last.content.endswith(":") else ""
        return (Message("text", last.content + gap + text),)
    if last.role == "assistant":
        return (*before, Message("assistant", last.content + text))
    return (*messages, Message("assistant", text))


def _turn(message: Message) -> str:
    words = FORGED.sub(rf"\1{BREAK}", message.content)
    if message.role == "system":
        return f"\n\n{words}"
    opening = HUMAN if message.role == "user" else ASSISTANT
    return f"{opening} {words}" if words else opening
