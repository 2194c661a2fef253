"""Options weighed exactly: which tokens spell them, and what the model says of these tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cai.models.decoding import ScoreRow
from cai.models.weighing import weighed_by_paths

if TYPE_CHECKING:
    from torch import Tensor

Path = tuple[int, ...]
"""Tokens in their order."""


@dataclass(frozen=True)
class OptionPlan:
    """What to ask a model to weigh options after one prompt.

    Args:
        prompt: token ids.
        options: texts that the reply may begin with.
        paths: of each option, its spellings as tokens, none of which begins with another one.
    """

    prompt: Path
    options: tuple[str, ...]
    paths: tuple[tuple[Path, ...], ...]

    @cached_property
    def steps(self) -> Mapping[Path, tuple[int, ...]]:
        """The tokens whose probability is wanted, by what stands between the prompt and them."""
        wanted: dict[Path, set[int]] = {}
        for path in (path for paths in self.paths for path in paths):
            for at, token in enumerate(path):
                wanted.setdefault(path[:at], set()).add(token)
        return {before: tuple(sorted(tokens)) for before, tokens in wanted.items()}

    @cached_property
    def rows(self) -> tuple[ScoreRow, ...]:
        """The fewest texts that have all steps in them."""
        return tuple(ScoreRow((*self.prompt, *last), tail=len(last) + 1) for last in self._last)

    def logprobs(self, scores: Sequence[Tensor]) -> tuple[float, ...]:
        """Natural log of p(option | prompt), in the order of the options.

        Args:
            scores: of each row, log-probabilities (tail, vocabulary).
        """
        table: dict[Path, dict[int, float]] = {}
        for last, score_T_V in zip(self._last, scores, strict=True):
            for at in range(len(last) + 1):
                if (before := last[:at]) in self.steps and before not in table:
                    tokens = self.steps[before]
                    score_V = score_T_V[at]
                    table[before] = {token: score_V[token].item() for token in tokens}
        return self.logprobs_of_steps(table)

    def logprobs_of_steps(self, table: Mapping[Path, Mapping[int, float]]) -> tuple[float, ...]:
        """As `logprobs`, from the log-probabilities of `steps` alone."""
        chains = {
            path: math.fsum(table[path[:at]][token] for at, token in enumerate(path))
            for paths in self.paths
            for path in paths
        }
        return weighed_by_paths(self.paths, chains)

    @cached_property
    def _last(self) -> tuple[Path, ...]:
        """What stands before a token, where no other token's is longer and begins so."""
        befores = sorted(self.steps, key=len, reverse=True)
        last: list[Path] = []
        for before in befores:
            if not any(one[: len(before)] == before for one in last):
                last.append(before)
        return tuple(last)


def option_plan(
    prompt: Sequence[int], options: Sequence[str], paths: Callable[[str], Sequence[Path]]
) -> OptionPlan:
    """Plan to weigh options after a prompt.

    Args:
        prompt: token ids.
        options: texts that the reply may begin with.
        paths: the spellings of an option as tokens.
    """
    spelled = tuple(_apart(paths(option)) for option in options)
    return OptionPlan(tuple(prompt), tuple(options), spelled)


def first_token(scores: Sequence[Tensor]) -> int:
    """The likeliest token after the prompt.

    Args:
        scores: as in `OptionPlan.logprobs`: each row begins there.
    """
    return int(scores[0][0].argmax().item())


def _apart(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Each path once, without those that go on from another one of the same option."""
    every = set(paths)
    return tuple(
        path
        for path in dict.fromkeys(paths)
        if not any(path[:length] in every for length in range(1, len(path)))
    )
