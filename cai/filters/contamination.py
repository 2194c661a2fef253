"""Training prompts that share words in a row with an evaluation prompt."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cai.filters.pieces import text_of, words_in_a_row
from cai.records import Message


class Contamination:
    """The words in a row of evaluation prompts, as sorted hashes: 8 bytes each.

    Args:
        prompts: the evaluation prompts.
        words: how many words in a row are too many to share.
    """

    def __init__(self, prompts: Iterable[Sequence[Message]], words: int) -> None:
        """Read all prompts."""
        self._words = words
        hashes = array("Q")
        for messages in prompts:
            hashes.extend(words_in_a_row(text_of(messages), words))
        self._hashes = array("Q", sorted(hashes))

    def holds(self, messages: Sequence[Message]) -> bool:
        """Whether a prompt shares so many words in a row with an evaluation prompt."""
        return any(True for _ in self.shared(messages))

    def shared(self, messages: Sequence[Message]) -> Iterator[int]:
        """Hashes of the words in a row that a prompt shares with an evaluation prompt."""
        return (one for one in words_in_a_row(text_of(messages), self._words) if self._has(one))

    def _has(self, hashed: int) -> bool:
        place = bisect_left(self._hashes, hashed)
        return place < len(self._hashes) and self._hashes[place] == hashed


class SetOverlap(NamedTuple):
    """How much of a set of evaluation prompts was trained on.

    Args:
        evaluation_prompts: all of them.
        shared: those that share so many words in a row with a training prompt.
        identical: of these, those that are one, word for word.
    """

    evaluation_prompts: int
    shared: int
    identical: int


@dataclass(frozen=True)
class Overlap:
    """How much of what is measured on was trained on.

    Args:
        words: so many words in a row are shared.
        training_prompts: that were looked at; with none, nothing can be said.
        training_shared: of these, those that share them with an evaluation prompt.
        by_set: what was found of each set of evaluation prompts.
        unknown: models that learned from something else, or may have; of them nothing is said.
    """

    words: int
    training_prompts: int
    training_shared: int
    by_set: Mapping[str, SetOverlap]
    unknown: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The shape of ``contamination`` in `metrics.json`."""
        counted = list(self.by_set.values())
        return {
            "words": self.words,
            "training_prompts": self.training_prompts,
            "training_shared": self.training_shared,
            "evaluation_prompts": sum(one.evaluation_prompts for one in counted),
            "shared": sum(one.shared for one in counted),
            "identical": sum(one.identical for one in counted),
            "by_set": {name: one._asdict() for name, one in self.by_set.items()},
            "unknown": list(self.unknown),
        }


def overlap(
    training: Iterable[Sequence[Message]],
    evaluated: Mapping[str, Sequence[Sequence[Message]]],
    words: int,
) -> Overlap:
    """Hold training prompts against evaluation prompts, as the filter of `filters.contamination`.

    Args:
        training: streamed once.
        evaluated: by set.
        words: how many words in a row are too many to share; of a shorter prompt, all.
    """
    filtering = Contamination((one for prompts in evaluated.values() for one in prompts), words)
    met, same = set[int](), set[int]()
    looked_at = hit = 0
    for messages in training:
        looked_at += 1
        if found := set(filtering.shared(messages)):
            hit += 1
            met |= found
            same |= _whole(messages)
    by_set = {
        name: SetOverlap(
            len(prompts),
            shared=sum(not met.isdisjoint(filtering.shared(one)) for one in prompts),
            identical=sum(not same.isdisjoint(_whole(one)) for one in prompts),
        )
        for name, prompts in evaluated.items()
    }
    return Overlap(words, looked_at, hit, by_set)


def _whole(messages: Sequence[Message]) -> set[int]:
    """The hash of all words of a prompt, in its set; a prompt without words has none."""
    return set(words_in_a_row(text_of(messages), sys.maxsize))
