"""From messages to token ids and back, so that no text can forge a turn.

The turns of a chat template are marked by control tokens. Text that spells such a token, from a
user or a model, is encoded letter by letter, as the plain text it is. A tokenizer without chat
template is given Human: and Assistant: turns (`cai.models.turn_text`).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from cai.errors import PermanentError, RejectedRequest
from cai.models.control_text import break_first
from cai.models.turn_text import is_prefilled, refuse_text, reply_text, turn_text, with_stop
from cai.models.weighing import unclosed
from cai.records import Message

SANITIZES = "sanitize_control_tokens"
"""The argument with which transformers encodes control tokens in messages as plain text. Older
releases, to which vLLM holds, lack it: there a zero-width space breaks such text."""


class Cut(NamedTuple):
    """A reply's text, the number of its tokens read for it, and whether a stop string cut it."""

    text: str
    tokens: int
    stopped: bool


class ChatFormat:
    """Owns a transformers tokenizer; used by one thread at a time.

    Args:
        tokenizer: a `PreTrainedTokenizerBase`, of which transformers gives no strict type.
        name: the model's name, for messages.
        format: "chat" writes turns by the chat template, "completion" as Human: and Assistant:
            text; None: by the template if there is one.
    """

    def __init__(
        self, tokenizer: Any, name: str, format: Literal["chat", "completion"] | None = None
    ) -> None:
        """Take every added token for a control token, whatever the template says of it.

        Raises:
            PermanentError: the format is to be "chat", and the tokenizer has no chat template.
        """
        self._tokenizer = tokenizer
        self._name = name
        self._chats = format != "completion" and bool(tokenizer.chat_template)
        if format == "chat" and not self._chats:
            raise PermanentError(
                f"{name}: the tokenizer has no chat template; set format: completion, or add "
                "chat_template.jinja to its folder"
            )
        added: list[Any] = list(tokenizer.added_tokens_decoder.values())
        controls: list[str] = [token.content for token in added if not token.content.isspace()]
        tokenizer.chat_control_tokens = controls
        tokenizer.model_max_length = sys.maxsize  # lengths are checked, and refused, by the model
        self._control = re.compile("|".join(map(re.escape, controls)) or "(?!)")
        takes = inspect.signature(tokenizer.apply_chat_template).parameters
        self._sanitizes = SANITIZES in takes
        self._spellings: dict[str, list[int]] | None = None

    @property
    def end(self) -> int | None:
        """The token that ends a text; None if there is none."""
        token: int | None = self._tokenizer.eos_token_id
        return token

    def conversation(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to where the assistant's (next) words begin.

        Raises:
            RejectedRequest: the template refuses this conversation, or it is no valid Unicode.
            PermanentError: it is a whole text, and the model is asked in messages.
        """
        return self._templated(messages) if self._chats else self.plain(turn_text(messages))

    def stop(self, stop: Sequence[str], messages: Sequence[Message]) -> tuple[str, ...]:
        """What ends a reply: the strings asked for, and the next turn where that is plain text."""
        return tuple(stop) if self._chats else with_stop(stop, messages)

    def reply(self, text: str, messages: Sequence[Message]) -> str:
        """What was sampled after a conversation, as the words of the assistant."""
        return text if self._chats else reply_text(text, messages)

    def _templated(self, messages: Sequence[Message]) -> list[int]:
        from jinja2 import TemplateError

        refuse_text(messages, self._name)
        forged = any(self._control.search(message.content) for message in messages)
        contents = [message.content for message in messages]
        told: dict[str, Any] = {}
        if forged and self._sanitizes:
            told = {SANITIZES: True}
        elif forged:
            contents = [self._broken(content) for content in contents]
        prefill = messages[-1].role == "assistant"
        turns = [
            {"role": message.role, "content": content}
            for message, content in zip(messages, contents, strict=True)
        ]
        try:
            ids: list[int] = self._tokenizer.apply_chat_template(
                turns,
                add_generation_prompt=not prefill,
                continue_final_message=prefill,
                return_dict=False,
                **told,
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise RejectedRequest(
                f"{self._name}: the conversation cannot be written in the model's chat format: "
                f"{error}"
            ) from error
        return ids

    def _broken(self, content: str) -> str:
        broken = break_first(self._control, content)
        if self._control.search(broken):  # one character has no inside to break
            raise RejectedRequest(f"{self._name}: a message spells a control token: {content!r}")
        return broken

    def plain(self, text: str) -> list[int]:
        """Token ids of text outside any chat template; it too can spell no control token."""
        try:
            ids: list[int] = self._tokenizer.encode(text, split_special_tokens=True)
        except (ValueError, TypeError) as error:
            raise RejectedRequest(f"{self._name}: the text cannot be encoded: {error}") from error
        return ids

    def paths(self, option: str, messages: Sequence[Message]) -> list[tuple[int, ...]]:
        """How an option may be spelled as the beginning of a reply: tokens in their order.

        All single tokens that read as it; else, as it is written with a space before it and
        without. Always, as it is written where the reply begins: a space goes before it after
        "Assistant:". Of an option in brackets what closes it is left out; it may stand without any.
        """
        (option,) = unclosed((option,))
        letter = option.lstrip(" (")
        bare = self.paths(letter, messages) if letter != option.lstrip(" ") else []
        return [*bare, *self._paths(option, messages)]

    def _paths(self, option: str, messages: Sequence[Message]) -> list[tuple[int, ...]]:
        space = "" if self._chats or is_prefilled(messages) else " "
        written = self._written(option, space)
        singles = [(token,) for token in self.spellings(option)]
        if singles:
            return [*singles, *([written] if len(written) > 1 else [])]
        return [written, self._written(option, "" if space else " ")]

    def _written(self, option: str, space: str) -> tuple[int, ...]:
        """The tokens of an option behind other text.

        At a text's very beginning some tokenizers add a space of their own.
        """
        text, before = space + option.lstrip(" "), ":" if space else "\n"
        whole, ahead = self._encoded(before + text), self._encoded(before)
        if whole[: len(ahead)] == ahead and len(whole) > len(ahead):
            return tuple(whole[len(ahead) :])
        return tuple(self._encoded(text))

    def _encoded(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(
            text, add_special_tokens=False, split_special_tokens=True
        )
        return ids

    def spellings(self, option: str) -> list[int]:
        """The tokens that read as an option, leading spaces aside; empty if none alone does.

        "A" and " A" are different tokens with one meaning (Lee et al. 2023, §2.1); which of them
        a model prefers depends on what stands before.
        """
        if self._spellings is None:
            self._spellings = {}
            controls = set(self._tokenizer.added_tokens_decoder)
            for token in range(len(self._tokenizer)):
                if token not in controls:
                    text = self.read([token]).lstrip(" ")
                    self._spellings.setdefault(text, []).append(token)
        return self._spellings.get(option.lstrip(" "), [])

    def read(self, ids: Sequence[int]) -> str:
        """Text of sampled tokens, control tokens left out."""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def token(self, id: int) -> str:
        """Text of one token, control tokens spelled out."""
        text: str = self._tokenizer.decode([id], clean_up_tokenization_spaces=False)
        return text

    def stopped(self, ids: Sequence[int], stop: Sequence[str]) -> bool:
        """True if the text of sampled tokens holds one of the stop strings."""
        return _first(self.read(ids), stop) is not None

    def cut(self, ids: Sequence[int], stop: Sequence[str]) -> Cut:
        """Text of a reply before its first stop string.

        The tokens counted are the fewest whose text holds a stop string, so that the count does
        not depend on when sampling was halted.
        """
        text = self.read(ids)
        found = _first(text, stop)
        if found is None:
            return Cut(text, len(ids), stopped=False)
        low, high = 1, len(ids)
        while low < high:
            middle = (low + high) // 2
            if _first(self.read(ids[:middle]), stop) is None:
                low = middle + 1
            else:
                high = middle
        return Cut(text[:found], low, stopped=True)


def _first(text: str, stop: Sequence[str]) -> int | None:
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return min(places, default=None)
