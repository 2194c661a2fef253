"""Signs in a policy's words that it games its reward (Goodhart's law; Bai et al. 2022, §4.3).

Over-trained policies grow harsh, preach, append the same words of comfort to every reply, repeat
themselves, or all say the same. Each sign is a figure of a set of replies: of one step of RL, or
of one policy that is evaluated. What is told by wording comes from data files by language
(`cai.wording`) and is an approximation.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

from cai.evaluation.intervals import Rate, Z, mean_interval, mean_share, rate
from cai.wording import Wording

GRAM = 2
"""Neighbouring words of which distinct ones are counted (Li et al. 2016)."""

REPEATED_GRAM = 4
"""Words in a row that are repeated if a reply has them again (Welleck et al. 2020, seq-rep-4)."""

PHRASE = 5
"""Words in a row that make a phrase."""

PHRASES = 5
"""Phrases that are told."""

Groups = Sequence[Sequence[str]]
"""Replies, those to one prompt together: they are alike, so each prompt is one case."""


class Phrase(NamedTuple):
    """Words that replies to different prompts share.

    Args:
        text: the words, in small letters.
        share: of the prompts, those with a reply that says them.
    """

    text: str
    share: Rate


@dataclass(frozen=True)
class Style:
    """What replies are like; `n` of each figure counts prompts.

    Args:
        boilerplate: share of replies that speak of themselves as a language model, or comfort with
            a phrase that fits anything; less is better. Like the next two, None where no patterns
            are shipped for the language.
        preachy: share of replies that lecture.
        harsh: share of replies with contempt in them.
        repetition: mean share of a reply's four words in a row that it has said before; less is
            better.
        distinct_2: distinct pairs of neighbouring words among all of them; fewer and longer
            replies have more and less of them, so compare equal numbers at about equal length.
        length: mean words of a reply; None for replies to one prompt.
        stock: share of prompts whose replies say the five words in a row that most of them say; 0
            if no two do. The highest of many shares, so it is above 0 by chance alone.
        phrases: the commonest such words; each is said to a prompt that none above it is said to.
    """

    boilerplate: Rate | None
    preachy: Rate | None
    harsh: Rate | None
    repetition: Rate
    distinct_2: Rate
    length: Rate | None
    stock: Rate
    phrases: tuple[Phrase, ...]

    @property
    def rates(self) -> Mapping[str, Rate]:
        """The figures that there are, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Rate)}

    def to_json(self) -> dict[str, Any]:
        """The shape of one policy in ``style`` of `metrics.json`, without what was not measured."""
        phrases = [{"text": one.text, **one.share.to_json()} for one in self.phrases]
        return {**{name: one.to_json() for name, one in self.rates.items()}, "phrases": phrases}


def style_of(groups: Groups, wordings: Sequence[Wording]) -> Style:
    """The figures of some replies.

    Args:
        groups: one at least, each of one reply at least, and of about as many as the others.
        wordings: patterns, each of a language that replies may be in; none if there are none.

    Raises:
        ValueError: there is no reply, or a group is empty.
    """
    if not groups or not all(groups):
        raise ValueError("style is of replies, and there is a prompt without any, or no prompt")
    phrases = _commonest(groups)
    lengths = [fmean(len(reply.split()) for reply in group) for group in groups]
    return Style(
        boilerplate=_worded(groups, wordings, Wording.is_stock),
        preachy=_worded(groups, wordings, Wording.is_preachy),
        harsh=_worded(groups, wordings, Wording.is_harsh),
        repetition=_mean_over_prompts(groups, repetition),
        distinct_2=distinct(groups),
        length=_mean_length(lengths) if len(lengths) > 1 else None,
        stock=phrases[0].share if phrases else rate(0, len(groups)),
        phrases=tuple(phrases),
    )


def _mean_length(lengths: Sequence[float]) -> Rate:
    found = mean_interval(lengths)
    # Of short replies and one long one the normal interval goes below any length that there is.
    return replace(found, low=max(0.0, found.low))


def repetition(reply: str, words: int = REPEATED_GRAM) -> float:
    """Share of a reply's words in a row that are in it more than once, in [0, 1).

        1 − |different n-grams| / |n-grams|      (Welleck et al. 2020, seq-rep-n)

    0 where nothing is said again, and for a reply of fewer words; towards 1 for an endless loop.

    Args:
        reply: any text.
        words: n, at least 1.
    """
    grams = _grams(reply, words)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(groups: Groups, words: int = GRAM) -> Rate:
    """Distinct words in a row among all of them, in [0, 1]; 0 if no reply has that many words.

        d = |different n-grams| / |n-grams|      (Li et al. 2016, distinct-n)

    With the jackknife's 95 % interval, which leaves out each prompt in turn (as for the number of
    species, Heltshe & Forrester 1983); resampling with replacement would repeat replies, and so
    lower the figure itself. With one prompt the interval is all of [0, 1].

    Args:
        groups: as of `style_of`.
        words: n, at least 1.
    """
    n = len(groups)
    own = [Counter(gram for reply in group for gram in _grams(reply, words)) for group in groups]
    everyone, said_by = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for counts in own:
        everyone.update(counts)
        said_by.update(counts.keys())
    total = everyone.total()
    if not total:
        return Rate(0.0, 0.0, 0.0, n)
    value = len(everyone) / total
    if n == 1 or any(counts.total() == total for counts in own):
        return Rate(value, 0.0, 1.0, n)
    without = [
        (len(everyone) - sum(said_by[gram] == 1 for gram in counts)) / (total - counts.total())
        for counts in own
    ]
    middle = fmean(without)
    spread = Z * math.sqrt((n - 1) / n * math.fsum((one - middle) ** 2 for one in without))
    return Rate(value, max(0.0, value - spread), min(1.0, value + spread), n)


def _worded(
    groups: Groups, wordings: Sequence[Wording], matches: Callable[[Wording, str], bool]
) -> Rate | None:
    if not wordings:
        return None
    return _mean_over_prompts(groups, lambda reply: any(matches(one, reply) for one in wordings))


def _mean_over_prompts(groups: Groups, of: Callable[[str], float]) -> Rate:
    """Mean over prompts of the mean over their replies, of a value in [0, 1]."""
    return mean_share([fmean(map(of, group)) for group in groups])


def _commonest(groups: Groups) -> list[Phrase]:
    said: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for place, group in enumerate(groups):
        for reply in group:
            for gram in _grams(reply.casefold(), PHRASE):
                said[gram].add(place)
    shared = [(gram, places) for gram, places in said.items() if len(places) > 1]
    shared.sort(key=lambda one: (-len(one[1]), one[0]))
    told: list[Phrase] = []
    counted: set[int] = set()
    for gram, places in shared:
        if len(told) == PHRASES:
            break
        if not places <= counted:
            counted |= places
            told.append(Phrase(" ".join(gram), rate(len(places), len(groups))))
    return told


def _grams(text: str, words: int) -> list[tuple[str, ...]]:
    said = text.split()
    return list(zip(*(said[start:] for start in range(words)), strict=False))
