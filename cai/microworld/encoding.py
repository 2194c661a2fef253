"""Training examples as tokens: ids, the weight of each in the loss, and how sure each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cai.microworld.corpus import Turn
from cai.microworld.tokenizer import END, START, FastTokenizer

RULE = " The rule"
"""In a critique the next word says whether the rule names the harm."""


@dataclass(frozen=True)
class Encoded:
    """One example, token by token.

    Args:
        ids: token ids, as the chat template gives them.
        weights: weight of each token in the loss; 0 means that it is not learned.
        certainties: share of its drawn labels that each token is; 1 but for a judge's letters.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    certainties: tuple[float, ...]


def encode(tokenizer: FastTokenizer, turns: Sequence[Turn]) -> Encoded:
    """Encode a conversation; a learned turn's <|im_end|> is learned with a weight of at most 1."""
    tokens = [token for turn in turns for token in _tokens(tokenizer, turn)]
    return Encoded(*(tuple(column) for column in zip(*tokens, strict=True)))


def _tokens(tokenizer: FastTokenizer, turn: Turn) -> list[tuple[int, float, float]]:
    start: int = tokenizer.convert_tokens_to_ids(START)
    end: int = tokenizer.convert_tokens_to_ids(END)
    said, rule, rest = turn.content.partition(RULE)
    verdict = _plain(tokenizer, rest)
    parts = (
        ([start, *_plain(tokenizer, turn.role + "\n")], 0.0, 1.0),
        (_plain(tokenizer, said + rule), turn.weight, turn.certainty),
        (verdict[:1], turn.weight * turn.stress, 1.0),
        (verdict[1:], turn.weight, 1.0),
        ([end], min(turn.weight, 1.0), 1.0),
        (_plain(tokenizer, "\n"), 0.0, 1.0),
    )
    return [(token, weight, certainty) for ids, weight, certainty in parts for token in ids]


def _plain(tokenizer: FastTokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)
