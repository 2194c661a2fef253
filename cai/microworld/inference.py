"""Sample from a model and weigh its letters, in batches: what measuring needs and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.models.weights import NO_CODE
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
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **NO_CODE)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, **NO_CODE
    )
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


def expected_numbers(tiny: TinyModel, conversations: Sequence[Sequence[Message]]) -> list[float]:
    """Σ n·p(n) over the whole numbers from 1 to 10, of the next tokens of each conversation.

    p("1") is what is left of the first token "1" when p("10"), a "1" and then a "0", is taken.
    """
    torch = untyped("torch")
    digits = [tiny.tokenizer.encode(str(n), add_special_tokens=False)[0] for n in range(1, 10)]
    zero = tiny.tokenizer.encode("10", add_special_tokens=False)[1]
    values = torch.arange(1.0, 11.0)
    found = [0.0] * len(conversations)
    for rows in _batches(conversations):
        encoded = _encode(tiny, [conversations[row] for row in rows])
        one = torch.full((len(rows), 1), digits[0])
        ids_B_T = torch.cat((encoded["input_ids"], one), dim=1)
        mask_B_T = torch.cat((encoded["attention_mask"], torch.ones_like(one)), dim=1)
        with torch.inference_mode():
            output = tiny.model(input_ids=ids_B_T, attention_mask=mask_B_T, logits_to_keep=2)
        p_B_2_V = output.logits.softmax(-1)
        p_B_N = p_B_2_V[:, 0, digits]
        ten_B = p_B_N[:, 0] * p_B_2_V[:, 1, zero]
        p_B_N = torch.cat((p_B_N, ten_B[:, None]), dim=1)
        p_B_N[:, 0] -= ten_B
        means = (p_B_N * values).sum(-1) / p_B_N.sum(-1)
        for row, mean in zip(rows, means.tolist(), strict=True):
            found[row] = mean
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
