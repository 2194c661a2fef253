"""What the replies of a rollout batch look like: signs that a policy games its reward.

CAI, §4.3: over-trained policies repeat the same harsh or soothing sentences; so a policy's words
are counted beside its reward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cai.evaluation.patterns import FOLDER as REFUSALS
from cai.evaluation.patterns import Patterns, read_patterns
from cai.wording import FOLDER as WORDING
from cai.wording import Wording, read_wording

GRAM = 2


def reply_figures(replies: Sequence[str]) -> Mapping[str, float]:
    """Shares in [0, 1] over some replies.

    distinct_2: distinct pairs of neighbouring words among all of them (Li et al. 2016); 0 if no
    reply has two words. refusal and boilerplate: replies that a shipped pattern matches, of
    whatever language.

    Args:
        replies: one at least.
    """
    grams = [gram for reply in replies for gram in _grams(reply)]
    refused = sum(any(one.is_refusal(reply) for one in _patterns()) for reply in replies)
    boilerplate = sum(any(one.is_boilerplate(reply) for one in _wordings()) for reply in replies)
    return {
        "distinct_2": len(set(grams)) / len(grams) if grams else 0.0,
        "refusal": refused / len(replies),
        "boilerplate": boilerplate / len(replies),
    }


def _grams(reply: str) -> list[tuple[str, ...]]:
    words = reply.split()
    return list(zip(*(words[start:] for start in range(GRAM)), strict=False))


@cache
def _patterns() -> tuple[Patterns, ...]:
    return tuple(read_patterns(language) for language in _languages(REFUSALS))


@cache
def _wordings() -> tuple[Wording, ...]:
    return tuple(read_wording(language) for language in _languages(WORDING))


def _languages(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
