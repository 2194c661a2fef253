"""How options are weighed: which texts to score, and what their log-probabilities add up to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cai.models.decoding import ScoreRow

if TYPE_CHECKING:
    from torch import Tensor

LOWEST = -708.0
"""Stands for the log-probability of an impossible option: exp of it is the least normal float."""


@dataclass(frozen=True)
class OptionPlan:
    """The rows to score for one question, and where each option is read in them.

    Args:
        rows: the prompt itself, if an option is one token; then the prompt with each longer one.
        places: of each option, the index of its row.
        tokens: of each option, its spellings as one token (in row 0), or its tokens in order.
    """

    rows: tuple[ScoreRow, ...]
    places: tuple[int, ...]
    tokens: tuple[tuple[int, ...], ...]
    single: tuple[bool, ...]

    def logprobs(self, scores: Sequence[Tensor]) -> tuple[float, ...]:
        """Natural log of p(option | prompt), in the order of the options.

        Args:
            scores: of each row, log-probabilities (tail, vocabulary).
        """
        return tuple(
            _sum_of_spellings(scores[place], tokens) if single else _chain(scores[place], tokens)
            for place, tokens, single in zip(self.places, self.tokens, self.single, strict=True)
        )


def option_plan(
    prompt: Sequence[int],
    options: Sequence[str],
    *,
    spellings: Callable[[str], Sequence[int]],
    encoded: Callable[[str], Sequence[int]],
) -> OptionPlan:
    """Plan to score options after a prompt, as few rows as can be.

    Args:
        prompt: token ids.
        options: texts that the reply may begin with.
        spellings: the single tokens that read as an option; empty if none does.
        encoded: the tokens of an option as written.
    """
    one_token = [tuple(spellings(option)) for option in options]
    rows = [ScoreRow(tuple(prompt))] if any(one_token) else []
    places: list[int] = []
    tokens: list[tuple[int, ...]] = []
    for option, spelled in zip(options, one_token, strict=True):
        places.append(0 if spelled else len(rows))
        tokens.append(spelled or tuple(encoded(option)))
        if not spelled:
            rows.append(ScoreRow((*prompt, *tokens[-1][:-1]), tail=len(tokens[-1])))
    return OptionPlan(tuple(rows), tuple(places), tuple(tokens), tuple(map(bool, one_token)))


def mass(logprobs: Sequence[float]) -> float:
    """Total probability of the options, at most 1 where rounding would give more."""
    return min(1.0, math.fsum(map(math.exp, logprobs)))


def _sum_of_spellings(score_1_V: Tensor, tokens: Sequence[int]) -> float:
    return max(LOWEST, score_1_V[-1, list(tokens)].logsumexp(dim=0).item())


def _chain(score_T_V: Tensor, tokens: Sequence[int]) -> float:
    steps = range(len(tokens))
    return max(LOWEST, score_T_V[list(steps), list(tokens)].sum().item())
