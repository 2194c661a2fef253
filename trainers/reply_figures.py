"""What the replies of a rollout batch look like: signs that a policy games its reward.

CAI, §4.3: over-trained policies repeat the same harsh or soothing sentences; so a policy's words
are counted beside its reward, step by step, as they are when it is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from cai.evaluation.goodhart import Groups, style_of
from cai.evaluation.intervals import Rate, rate
from cai.evaluation.patterns import FOLDER as REFUSALS
from cai.evaluation.patterns import Patterns, read_patterns
from cai.records import digest
from cai.wording import FOLDER as WORDING
from cai.wording import Wording, read_wording
from trainers.environment import of_all_processes
from trainers.tokens import Conversation


def reply_figures(conversations: Sequence[Conversation]) -> Mapping[str, float]:
    """Figures of replies of all processes, and the ends of their 95 % intervals: `x_low`, `x_high`.

    They are those of `cai.evaluation.goodhart.Style`, by any shipped pattern of whatever language,
    with ``words`` for its length, and ``refusal``, the share of replies that a pattern of refusal
    matches. Replies to one prompt are alike, so the intervals count prompts.

    Args:
        conversations: this process's, one at least, each with the reply as its last turn.
    """
    groups: dict[str, list[str]] = {}
    for one in of_all_processes(conversations):
        groups.setdefault(digest(list(one[:-1])), []).append(one[-1]["content"])
    replies = list(groups.values())
    rates = dict(style_of(replies, _wordings()).rates)
    rates["refusal"] = _refusal(replies)
    if "length" in rates:
        rates["words"] = rates.pop("length")  # The log's length is in tokens.
    return {name: value for key, one in rates.items() for name, value in _ends(key, one)}


def _refusal(groups: Groups) -> Rate:
    shares = [sum(map(_refuses, replies)) / len(replies) for replies in groups]
    return rate(math.fsum(shares), len(groups))


def _refuses(reply: str) -> bool:
    return any(one.is_refusal(reply) for one in _patterns())


def _ends(name: str, of: Rate) -> tuple[tuple[str, float], ...]:
    return (name, of.value), (f"{name}_low", of.low), (f"{name}_high", of.high)


@cache
def _patterns() -> tuple[Patterns, ...]:
    return tuple(read_patterns(language) for language in _languages(REFUSALS))


@cache
def _wordings() -> tuple[Wording, ...]:
    return tuple(read_wording(language) for language in _languages(WORDING))


def _languages(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
