"""Breaks text that spells a control token, for servers that cannot be told text from control.

A chat server renders the messages into one string and tokenises it with control tokens switched
on, so a user's "<|im_end|>" can end the user's turn. A zero-width space after the first
character keeps the text legible and makes it no control token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cai.records import Message
from cai.turn_marks import BREAK

SHAPES = (
    r"<\|[^<>|]{1,60}\|>",  # ChatML, Llama 3, Phi, Command: <|im_end|>, <|eot_id|>
    r"<｜[^<>｜]{1,60}｜>",  # DeepSeek
    r"</?s>",  # Llama 2, Mistral
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]",  # Mistral
    r"<</?SYS>>",  # Llama 2
    r"</?(?:start_of_turn|end_of_turn|bos|eos|pad|unk|mask|turn)>",  # Gemma
    r"<(?:extra_id|unused|reserved)_?[0-9]{1,4}>",  # T5, Nemotron, Gemma
    r"<(?:turn\||\|turn)>",  # Gemma 4
    r"\]~(?:!b|b)\[|\[e~\[",  # MiniMax
)
"""Known shapes of control tokens; a server's tokenizer may have others."""

CONTROL = re.compile("|".join(SHAPES))


def broken(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with every known control token's text broken; all other text as it was."""
    return tuple([_broken(message) for message in messages])


def _broken(message: Message) -> Message:
    text = message.content
    # Every shape begins with one of these, and to look for them is ten times as fast.
    if not ("<" in text or "[" in text or "]~" in text):
        return message
    return replace(message, content=break_first(CONTROL, text))


def break_first(pattern: re.Pattern[str], text: str) -> str:
    """Put `BREAK` after the first character of whatever a pattern finds."""
    return pattern.sub(lambda found: found[0][0] + BREAK + found[0][1:], text)
