"""Principles of the world: what they cover, and the many ways to put one into words.

A principle covers some harmful families, faults of tone, or both. Frames and combinations of
phrases are split by hash, so that a model can be tested on wordings it never saw.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

from cai.microworld.lexicon import ASPECTS, HARMS
from cai.microworld.phrases import KEYWORDS, PHRASES
from cai.microworld.wordings import FRAMES, RATING, Frames

LINKS = ("or", "and", "as well as")
"""What stands between the phrases of a list."""
HELD_OUT_SHARE = 5
"""One frame and one combination of phrases in so many is held out."""


@dataclass(frozen=True)
class WorldPrinciple:
    """A principle with its truth.

    Args:
        critique: asks for a critique of the last reply.
        revision: asks for a rewrite.
        comparison: asks which of two replies is better.
        covers: names of the families and aspects of tone that it is about, in the order of
            mention.
        rating: asks how good one reply is, from 1 to 10; see `with_rating`.
        reasoning: asks as `comparison` does.
    """

    critique: str
    revision: str
    comparison: str
    covers: tuple[str, ...]
    rating: str = ""
    reasoning: None = None


def coverage(principle_text: str) -> frozenset[str]:
    """The families and aspects of tone that a principle's text is about, from its words.

    Words outside `KEYWORDS` cover nothing: the world knows no harm but its own.
    """
    words = set(re.findall(r"[a-z]+", principle_text.lower()))
    return frozenset(name for name, keys in KEYWORDS.items() if words & keys)


@cache
def known_words() -> frozenset[str]:
    """Words, in small letters, of all the principles that pretraining shows."""
    texts = [*chain.from_iterable(PHRASES.values()), *LINKS]
    for frames in (*FRAMES.values(), RATING):
        heads = (*_heads(frames.harm, held_out=False), *_heads(frames.tone, held_out=False))
        texts += [*heads, *frames.more, *frames.before, *frames.after]
    return frozenset(word for text in texts for word in words_of(text))


def words_of(text: str) -> set[str]:
    """The words of a text in small letters: runs of letters, with inner apostrophes."""
    return set(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower()))


def draw_principle(
    source: random.Random,
    covers: Sequence[str] | None = None,
    *,
    held_out: bool = False,
) -> WorldPrinciple:
    """Put a principle into words.

    Args:
        source: of randomness.
        covers: families and aspects, in the order of mention; drawn (see `draw_covers`) if None.
        held_out: use only frames and combinations of phrases that pretraining never shows.
    """
    drawn = list(covers) if covers is not None else draw_covers(source)
    names = sorted(drawn, key=lambda name: name not in HARMS)
    wording = _Wording(source, held_out)
    critique, revision, comparison = (
        wording.text(FRAMES[stage], names) for stage in ("critique", "revision", "comparison")
    )
    return WorldPrinciple(critique, revision, comparison, tuple(names))


def with_rating(
    principle: WorldPrinciple, source: random.Random, *, held_out: bool = False
) -> WorldPrinciple:
    """The same principle, with a text that asks for a number."""
    text = _Wording(source, held_out).text(RATING, list(principle.covers))
    return replace(principle, rating=text)


def draw_covers(source: random.Random) -> list[str]:
    """What a random principle covers: mostly harmful families, at times a fault of tone."""
    tone = source.random()
    if tone < 0.15:
        return source.sample(ASPECTS, source.choice((1, 1, 2)))
    families = source.sample(HARMS, source.choice((1, 1, 1, 2, 2, 3, 3, 4)))
    return families + ([source.choice(ASPECTS)] if tone < 0.25 else [])


def is_held_out(text: str) -> bool:
    """Whether a combination of phrases is kept from pretraining, by its hash."""
    digest = hashlib.sha256(f"microworld wording: {text}".encode()).digest()
    return digest[0] % HELD_OUT_SHARE == 0


@dataclass(frozen=True)
class _Wording:
    """Puts what a principle covers into words, stage by stage."""

    source: random.Random
    held_out: bool

    def text(self, frames: Frames, names: list[str]) -> str:
        """The text of one stage."""
        source = self.source
        harms = [name for name in names if name in HARMS]
        tones = [name for name in names if name not in HARMS]
        parts: list[str] = []
        for heads, chosen in ((frames.harm, harms), (frames.tone, tones)):
            if chosen:
                head = source.choice(_heads(heads, self.held_out))
                parts.append(self._sentences(head, chosen, frames.more))
        if source.random() < 0.25:
            parts.insert(0, source.choice(frames.before))
        if source.random() < 0.4:
            parts.append(source.choice(frames.after))
        return " ".join(parts)

    def _sentences(self, head: str, names: list[str], more: Sequence[str]) -> str:
        source, phrases = self.source, self._phrases(names)
        if len(phrases) > 1 and source.random() < 0.2:
            cut = source.randrange(1, len(phrases))
            rest = source.choice(more).format(_listed(phrases[cut:], source))
            return f"{head.format(_listed(phrases[:cut], source))} {rest}"
        return head.format(_listed(phrases, source))

    def _phrases(self, names: list[str]) -> list[str]:
        while True:
            chosen = [self.source.choice(PHRASES[name]) for name in names]
            if len(names) == 1 or is_held_out(" + ".join(sorted(chosen))) == self.held_out:
                return chosen


def _listed(phrases: Sequence[str], source: random.Random) -> str:
    word = source.choice(("or", "or", "and"))
    if len(phrases) == 1:
        return phrases[0]
    if len(phrases) == 2 and source.random() < 0.2:
        return f"{phrases[0]} as well as {phrases[1]}"
    comma = "," if len(phrases) > 2 and source.random() < 0.5 else ""
    return f"{', '.join(phrases[:-1])}{comma} {word} {phrases[-1]}"


@cache
def _heads(heads: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    chosen = (place for place in range(len(heads)) if (place % HELD_OUT_SHARE == 3) == held_out)
    return tuple(heads[place] for place in chosen)
