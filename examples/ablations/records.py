"""What an ablation is: variants of one recipe, and what is read of their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from cai.evaluation.intervals import Rate
from cai.pipeline import RunFolder, Step


@dataclass(frozen=True)
class Variant:
    """One way to run the recipe.

    Args:
        name: as the figure has it.
        settings: overrides of the recipe, as ``a.b=value``; none for the recipe as it is.
        until: the last step that the question needs.
    """

    name: str
    settings: tuple[str, ...] = ()
    until: Step = "evaluate"


@dataclass(frozen=True)
class Measured:
    """A finished run of a variant.

    Args:
        variant: which.
        folder: where its run is.
        plain: the run of the recipe as it is, of the same seed.
    """

    variant: Variant
    folder: RunFolder
    plain: RunFolder

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """The figures of the run."""
        return self.folder.read_metrics()


class Found(NamedTuple):
    """One figure of one run.

    Args:
        line: what is measured; points of one line are joined.
        at: its place on the x axis.
        rate: the figure with its interval within this seed; without a width where the run keeps
            nothing to tell one by.
    """

    line: str
    at: str
    rate: Rate


Reading = Callable[[Measured], Iterator[Found]]
"""Reads the figures of one panel from a run."""

Mark = Callable[[Measured], Mapping[str, Any] | None]
"""Reads a place on the way of a run that its panel marks, if it has one."""


@dataclass(frozen=True)
class Panel:
    """A part of an ablation's figure.

    Args:
        title: what it shows.
        x: what its places are.
        y: what is measured, with its unit.
        read: takes the figures from each run.
        variants: names of those that it shows; all if there is none.
        shares: whether the figures are shares, in [0, 1].
        joined: whether its places have an order, so that a line may go through them.
        frontier: lines of which the others are drawn over the first: of two, a point for each
            place with its name; of more, a path for each from place to place.
        mark: reads a place of each seed, ``sqrt_kl`` of which a panel of paths marks.
    """

    title: str
    x: str
    y: str
    read: Reading
    variants: tuple[str, ...] = ()
    shares: bool = True
    joined: bool = True
    frontier: tuple[str, ...] | None = None
    mark: Mark | None = None


@dataclass(frozen=True)
class Ablation:
    """A question to the method, and how it is answered.

    Args:
        question: in one sentence.
        source: where the papers answer it.
        variants: what is run; the first is what the others are held against.
        panels: what is read of the runs.
    """

    question: str
    source: str
    variants: tuple[Variant, ...]
    panels: tuple[Panel, ...]
