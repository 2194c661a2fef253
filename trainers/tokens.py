"""Conversations as token ids, the same ones in every trainer and in scoring.

Text that spells a control token of the chat template is encoded as the plain text it is, so that
no prompt or reply can forge a turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cai.errors import Fault, InputError
from cai.models.weights import NO_CODE
from trainers.rows import BadRow

Conversation = Sequence[Mapping[str, str]]
"""Turns, each with the keys ``role`` and ``content``."""


class SplitIds(NamedTuple):
    """Token ids of a conversation, and how many of them come before the last reply's words."""

    ids: list[int]
    prompt_length: int


def load_tokenizer(model: str) -> Any:
    """The tokenizer of a model, which transformers gives no strict type.

    Args:
        model: a folder, or a name on the hub.

    Raises:
        InputError: there is none, it has no chat template, or no padding token of its own. (A
            preference model reads its score at the last token that is not padding; were the end
            of a turn padding too, it would read it one token too early.)
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model, **NO_CODE)
    except (OSError, ValueError) as error:
        fault = Fault(f"has no tokenizer that can be loaded: {error}")
        raise InputError(model, [fault]) from error
    if not tokenizer.chat_template:
        fault = Fault("its tokenizer has no chat template; add chat_template.jinja, or use another")
        raise InputError(model, [fault])
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        fault = Fault(
            f"its tokenizer pads with {tokenizer.pad_token!r}, which must be a token of its own, "
            f"unlike the end token {tokenizer.eos_token!r}; set pad_token in tokenizer_config.json "
            "to a reserved token"
        )
        raise InputError(model, [fault])
    tokenizer.chat_control_tokens = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if not token.content.isspace()
    ]
    return tokenizer


def conversation_ids(tokenizer: Any, conversation: Conversation) -> list[int]:
    """Token ids of a finished conversation, its last turn's end marker included.

    Raises:
        BadRow: the chat template refuses the conversation.
    """
    return _apply_template(tokenizer, conversation, add_generation_prompt=False)


def prompt_ids(tokenizer: Any, prompt: Conversation) -> list[int]:
    """Token ids of a prompt, up to where the assistant's words begin.

    Raises:
        BadRow: the chat template refuses the prompt.
    """
    return _apply_template(tokenizer, prompt, add_generation_prompt=True)


def without_first(tokenizer: Any, ids: Sequence[int], surplus: int) -> list[int]:
    """Token ids of a conversation without so many of the first, which stand behind its opening.

    Args:
        tokenizer: as of `load_tokenizer`.
        ids: at least one.
        surplus: how many to leave out.
    """
    kept = opening(tokenizer, ids)
    return [*ids[:kept], *ids[kept + surplus :]]


def opening(tokenizer: Any, ids: Sequence[int]) -> int:
    """Tokens that stay where the beginning of a conversation is cut off: 1 or 0.

    All conversations begin with such a one, and an encoder is scored at it: [CLS] or BOS.
    """
    return int(ids[0] in (tokenizer.cls_token_id, tokenizer.bos_token_id))


def split_ids(tokenizer: Any, conversation: Conversation) -> SplitIds:
    """Token ids of a conversation that ends in a reply, and where that reply begins.

    Raises:
        BadRow: the chat template refuses the conversation, or writes the prompt differently once
            the reply follows, so that the model would learn another prompt than it will see.
    """
    ids, prompt = (
        conversation_ids(tokenizer, conversation),
        prompt_ids(tokenizer, conversation[:-1]),
    )
    if ids[: len(prompt)] != prompt:
        raise BadRow("the chat template writes the prompt differently once the reply follows")
    return SplitIds(ids, len(prompt))


class ReplySpans(NamedTuple):
    """Token ids of a conversation, and where its replies' words stand in them, in their order."""

    ids: list[int]
    spans: list[slice]


def reply_spans(tokenizer: Any, conversation: Conversation, *, every: bool) -> ReplySpans:
    """Token ids of a conversation that ends in a reply, and where the replies are.

    Args:
        tokenizer: as of `load_tokenizer`.
        conversation: its turns.
        every: all turns of the assistant; else the last one alone.

    Raises:
        BadRow: the chat template refuses the conversation, or writes its beginning differently
            once more turns follow, so that the model would learn another one than it will see.
    """
    ids, start = split_ids(tokenizer, conversation)
    spans = [slice(start, len(ids))]
    for end in range(1, len(conversation) if every else 1):
        turns = conversation[:end]
        if turns[-1]["role"] != "assistant":
            continue
        earlier, start = split_ids(tokenizer, turns)
        if ids[: len(earlier)] != earlier:
            raise BadRow("the chat template writes a reply differently once more turns follow")
        spans.append(slice(start, len(earlier)))
    return ReplySpans(ids, sorted(spans, key=lambda span: span.start))


def _apply_template(
    tokenizer: Any, turns: Conversation, *, add_generation_prompt: bool
) -> list[int]:
    from jinja2 import TemplateError

    controls = tokenizer.chat_control_tokens
    # Sanitising costs many encodings a turn; nearly no text needs it.
    forged = any(control in turn["content"] for turn in turns for control in controls)
    try:
        return tokenizer.apply_chat_template(
            [{"role": turn["role"], "content": turn["content"]} for turn in turns],
            add_generation_prompt=add_generation_prompt,
            sanitize_control_tokens=forged,
            return_dict=False,
        )
    except TemplateError as error:
        raise BadRow(f"the chat template refuses it: {error}") from error
