"""Sample from a model and weigh its letters, in batches: what measuring needs and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.records import Message
from cai.untyped import untyped

BATCH = 64


@dataclass(frozen=True)
class TinyModel:
    """A loaded model with its tokenizer."""

    model: Any
    tokenizer: Any


def load(folder: Path) -> TinyModel:
    """Load a model folder the plain way, as any user would."""
    transformers = untyped("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return TinyModel(model.eval(), tokenizer)


def sample(
    tiny: TinyModel, conversations: Sequence[Sequence[Message]], *, seed: int, longest: int = 90
) -> list[str]:
    """One reply to each conversation, drawn at temperature 1.

    Args:
        tiny: the model.
        conversations: each ending with the user's turn.
        seed: of the draws.
        longest: tokens of a reply at most.
    """
    torch = untyped("torch")
    torch.manual_seed(seed)
    replies = [""] * len(conversations)
    for rows in _batches(conversations):
        encoded = _encode(tiny, [conversations[row] for row in rows])
        with torch.inference_mode():
            output = tiny.model.generate(**encoded, max_new_tokens=longest, do_sample=True)
        start = encoded["input_ids"].shape[1]
        texts = tiny.tokenizer.batch_decode(output[:, start:], skip_special_tokens=True)
        for row, text in zip(rows, texts, strict=True):
            replies[row] = text
    return replies


def p_first_letter(tiny: TinyModel, conversations: Sequence[Sequence[Message]]) -> list[float]:
    """P("A") / (P("A") + P("B")) as the next token of each conversation."""
    torch = untyped("torch")
    letters = [tiny.tokenizer.encode(letter, add_special_tokens=False)[0] for letter in "AB"]
    found = [0.0] * len(conversations)
    for rows in _batches(conversations):
        encoded = _encode(tiny, [conversations[row] for row in rows])
        with torch.inference_mode():
            logits_B_V = tiny.model(**encoded, logits_to_keep=1).logits[:, -1]
        shares = torch.softmax(logits_B_V[:, letters], dim=-1)[:, 0].tolist()
        for row, share in zip(rows, shares, strict=True):
            found[row] = share
    return found


def _batches(conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
    order = sorted(range(len(conversations)), key=lambda row: _size(conversations[row]))
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def _size(conversation: Sequence[Message]) -> int:
    return sum(len(message.content) for message in conversation)


def _encode(tiny: TinyModel, conversations: Sequence[Sequence[Message]]) -> Any:
    return tiny.tokenizer.apply_chat_template(
        [
            [{"role": message.role, "content": message.content} for message in conversation]
            for conversation in conversations
        ],
        add_generation_prompt=True,
        padding=True,
        return_dict=True,
        return_tensors="pt",
    )
