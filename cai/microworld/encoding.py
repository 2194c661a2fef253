"""Training conversations as tokens: ids, which of them are learned, and how sure each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cai.microworld.corpus import Turn
from cai.microworld.tokenizer import END, START, FastTokenizer


@dataclass(frozen=True)
class Encoded:
    """One conversation, token by token.

    Args:
        ids: token ids, as the chat template gives them.
        learned: which tokens the loss is about.
        certainties: share of its drawn labels that each token is; 1 but for a judge's letters.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    certainties: tuple[float, ...]


def encode(tokenizer: FastTokenizer, turns: Sequence[Turn]) -> Encoded:
    """Encode a conversation; a learned turn's <|im_end|> is learned with it."""
    tokens = [token for turn in turns for token in _tokens(tokenizer, turn)]
    return Encoded(*(tuple(column) for column in zip(*tokens, strict=True)))


def _tokens(tokenizer: FastTokenizer, turn: Turn) -> list[tuple[int, bool, float]]:
    start: int = tokenizer.convert_tokens_to_ids(START)
    end: int = tokenizer.convert_tokens_to_ids(END)
    parts = (
        ([start, *_plain(tokenizer, turn.role + "\n")], False, 1.0),
        (_plain(tokenizer, turn.content), turn.learned, turn.certainty),
        ([end], turn.learned, 1.0),
        (_plain(tokenizer, "\n"), False, 1.0),
    )
    return [(token, learned, certainty) for ids, learned, certainty in parts for token in ids]


def _plain(tokenizer: FastTokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)
