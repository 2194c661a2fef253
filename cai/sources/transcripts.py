r"""Turn what prompt files hold into message lists.

Three shapes are known: a plain text (one user turn), a transcript with "\n\nHuman:" and
"\n\nAssistant:" markers as in HH-RLHF, and a list of {role, content} messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from cai.records import Message, Role

MARKER = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ ]?")
ROLE_OF: Mapping[str, Role] = {"Human": "user", "Assistant": "assistant"}


def to_messages(value: Any) -> tuple[Message, ...]:
    """Messages of one value of a prompt file, whatever its shape.

    Raises:
        ValueError: the value is none of the known shapes; says what was met.
    """
    if isinstance(value, str):
        return parse_transcript(value) if _is_transcript(value) else (Message("user", value),)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(_message(item) for item in cast("Sequence[Any]", value))
    raise ValueError(f"is {type(value).__name__}, not a text or a list of messages")


def with_reply(context: tuple[Message, ...], reply: Any) -> tuple[Message, ...]:
    """A conversation with what follows it: a plain text, turns, or all turns from the beginning.

    Raises:
        ValueError: the reply is empty, or none of the known shapes.
    """
    if context and isinstance(reply, str):
        return (*context, Message("assistant", reply))
    turns = to_messages(reply)
    if not turns:
        raise ValueError("has an empty reply")
    starts_over = turns[: len(context)] == context
    return turns if starts_over else (*context, *turns)


def as_prompt(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The part of a conversation that a reply is asked for: up to its last user turn.

    Raises:
        ValueError: turns do not alternate, one of them is blank, or nobody asks anything.
    """
    end = len(messages)
    while end and messages[end - 1].role == "assistant":
        end -= 1
    kept = tuple(messages[:end])
    turns = kept[1:] if kept and kept[0].role == "system" else kept
    if not turns:
        raise ValueError("has no user turn")
    for index, turn in enumerate(turns):
        expected = "user" if index % 2 == 0 else "assistant"
        if turn.role != expected:
            raise ValueError(f"turn {index + 1} is of {turn.role}, where {expected} should speak")
        if not turn.content.strip():
            raise ValueError(f"turn {index + 1} is blank")
    return kept


def parse_transcript(text: str) -> tuple[Message, ...]:
    r"""Split a transcript at its "\n\nHuman:" / "\n\nAssistant:" markers; texts keep their bytes.

    Raises:
        ValueError: text stands before the first marker.
    """
    marks = list(MARKER.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        raise ValueError(f"does not begin with a Human or Assistant turn: {text[:40]!r}")
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return tuple(
        Message(ROLE_OF[mark.group(1)], text[mark.end() : end])
        for mark, end in zip(marks, ends, strict=True)
    )


def _is_transcript(text: str) -> bool:
    first = MARKER.match(text)
    return first is not None and first.group(1) == "Human"


def _message(item: Any) -> Message:
    if not isinstance(item, Mapping):
        raise ValueError(f"has a turn that is {type(item).__name__}, not {{role, content}}")
    turn = cast("Mapping[str, Any]", item)
    role, content = turn.get("role"), turn.get("content")
    if role not in get_args(Role) or not isinstance(content, str):
        raise ValueError(f"has a turn with role {role!r} and content of {type(content).__name__}")
    return Message(cast("Role", role), content)
