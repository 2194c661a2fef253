"""From messages to token ids and back, so that no text can forge a turn.

The turns of a chat template are marked by control tokens. Text that spells such a token, from a
user or a model, is encoded letter by letter, as the plain text it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from cai.errors import PermanentError, RejectedRequest
from cai.records import Message


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
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        """Take every added token for a control token, whatever the template says of it."""
        self._tokenizer = tokenizer
        self._name = name
        added: list[Any] = list(tokenizer.added_tokens_decoder.values())
        controls: list[str] = [token.content for token in added if not token.content.isspace()]
        tokenizer.chat_control_tokens = controls
        tokenizer.model_max_length = sys.maxsize  # lengths are checked, and refused, by the model
        self._control = re.compile("|".join(map(re.escape, controls)) or "(?!)")
        self._spellings: dict[str, list[int]] | None = None

    def conversation(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to where the assistant's (next) words begin.

        Raises:
            PermanentError: the tokenizer has no chat template.
            RejectedRequest: the template refuses this conversation, or it is no valid Unicode.
        """
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise PermanentError(
                f"{self._name}: the tokenizer has no chat template; use a chat model, or add "
                "chat_template.jinja to its folder"
            )
        turns = [{"role": message.role, "content": message.content} for message in messages]
        prefill = messages[-1].role == "assistant"
        forged = any(self._control.search(message.content) for message in messages)
        try:
            ids: list[int] = self._tokenizer.apply_chat_template(
                turns,
                add_generation_prompt=not prefill,
                continue_final_message=prefill,
                sanitize_control_tokens=forged,
                return_dict=False,
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise RejectedRequest(
                f"{self._name}: the conversation cannot be written in the model's chat format: "
                f"{error}"
            ) from error
        return ids

    def plain(self, text: str) -> list[int]:
        """Token ids of text outside any chat template; it too can spell no control token."""
        try:
            ids: list[int] = self._tokenizer.encode(text, split_special_tokens=True)
        except (ValueError, TypeError) as error:
            raise RejectedRequest(f"{self._name}: the text cannot be encoded: {error}") from error
        return ids

    def option(self, text: str) -> list[int]:
        """Token ids of the beginning of a reply, as written."""
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
