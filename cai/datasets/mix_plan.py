"""What a data set's own rows are mixed with, and how: the recipe's ``mix``, opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from cai.datasets.mixing import Example, LeftOut, Mixture, Source
from cai.records import digest

Item = TypeVar("Item")
Examples = Callable[[], Iterator[Example | LeftOut]]


@dataclass(frozen=True)
class Part(Generic[Item]):
    """One source as the recipe names it.

    Args:
        name: what its rows are called.
        weight: its share beside those of others that have one; None: all rows.
        most: most rows; None: all.
        read: gives its rows, the same each time; None: rows of the run that have this name.
    """

    name: str
    weight: float | None = None
    most: int | None = None
    read: Callable[[], Iterator[Item | LeftOut]] | None = None


@dataclass(frozen=True)
class MixPlan(Generic[Item]):
    """What a data set is mixed of.

    Args:
        parts: as the recipe names them; own rows that it does not name come before them, all.
        by_prompt: whether a prompt may be in one source only, and not each row alone.
        near: of a prompt that is near others, by its hash, the smallest hash of them: these count
            as the same prompt.
    """

    parts: Sequence[Part[Item]] = ()
    by_prompt: bool = False
    near: Mapping[str, str] = field(default_factory=dict[str, str])

    def mixture(
        self,
        own: Mapping[str, Examples],
        all_own: Examples,
        example_of: Callable[[Item, str], Example],
    ) -> Mixture:
        """The mixture of the run's rows and the others.

        Args:
            own: gives the run's rows, by name and in their order.
            all_own: gives all of them in their order, which is the data set if nothing is mixed.
            example_of: makes a row of what a source of some name has.
        """
        if not self.parts:
            return Mixture([Source("", all_own)], checked=False)
        named = {part.name for part in self.parts if part.read is None}
        sources = [Source(name, read) for name, read in own.items() if name not in named]
        for part in self.parts:
            read = (
                own[part.name]
                if part.read is None
                else partial(_read, part.read, part.name, example_of)
            )
            sources.append(Source(part.name, read, part.weight, part.most))
        why = "its prompt is in {} too" if self.by_prompt else "is in {} too"
        return Mixture(sources, checked=True, repeated=why)

    def once(self, messages: Sequence[Any], replies: Sequence[str]) -> str:
        """The hash of what only one source may have, of a row; empty if nothing is compared.

        Args:
            messages: of the prompt, as records or as JSON data (both hash alike).
            replies: to it; of a pair in either order.
        """
        if not self.parts:
            return ""
        if not self.by_prompt:
            return content_hash(messages, replies)
        own = digest(messages)
        return self.near.get(own, own)


def content_hash(messages: Sequence[Any], replies: Sequence[str]) -> str:
    """Hash of what a row says: equal rows have equal ones, whatever file they stand in."""
    return digest([messages, *sorted(replies)])


def _read(
    read: Callable[[], Iterator[Item | LeftOut]],
    name: str,
    example_of: Callable[[Item, str], Example],
) -> Iterator[Example | LeftOut]:
    for item in read():
        yield item if isinstance(item, LeftOut) else example_of(item, name)
