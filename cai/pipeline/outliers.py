"""Prompts that are unlike those that a model knows, and how well they are told: HH-RLHF, §5.4."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cai.errors import CaiError, Fault, InputError
from cai.evaluation.intervals import Rate
from cai.evaluation.outliers import (
    FEWEST,
    alarms,
    fit_ordinary,
    fit_probe,
    flagged,
    separation,
)
from cai.filters.contamination import Overlap
from cai.models.activations import Reader, read_activations
from cai.pipeline.contamination import model_held_against
from cai.records import Message, Prompt
from cai.sources.prompt_sets import PromptSet, read_prompts

if TYPE_CHECKING:
    from cai.evaluation.outliers import Vectors

Conversation = tuple[Message, ...]

MICROWORLD = {"microworld:harmless": "harmless", "microworld:harmful": "harmful"}
"""Held-out requests of the microworld, by what a source is called."""

MICROWORLD_LIMIT = 500
FURTHEST = 5
"""Prompts that are shown of those that lie furthest out."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """How a gate is fitted and tried.

    Args:
        fitted: ordinary prompts to fit on, at least `FEWEST`.
        examples: outliers that the probe is shown; 0: no probe.
        share: of the other ordinary prompts that may be flagged, in [0, 1].
        seed: which prompts are fitted on, and which outliers are shown.
        draws: how often these are drawn, from this seed and those that follow it, at least 1.

    Raises:
        CaiError: a share or a number of draws that is none.
    """

    fitted: int = 300
    examples: int = 10
    share: float = 0.05
    seed: int = 0
    draws: int = 10

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if not 0 <= self.share <= 1:
            raise CaiError(f"{self.share} is no share of prompts; name one from 0 to 1")
        if self.draws < 1:
            raise CaiError(f"{self.draws} draws measure nothing; name 1 or more")


@dataclass(frozen=True)
class GateFigures:
    """How well outliers are told from ordinary prompts, of one draw of what is fitted on.

    Args:
        fitted: ordinary prompts that both detectors were fitted on.
        tried: all other ordinary prompts: the threshold is estimated from them.
        examples: outliers that the probe was shown, and that no figure of it counts.
        distance: AUROC of the relative Mahalanobis distance.
        probe: AUROC of the few-shot probe; None without examples.
        caught: share of outliers that the distance flags at `share` false alarms.
        caught_by_probe: the same of the probe.
        share: of ordinary prompts that are flagged.
        furthest: ordinary prompts that look least ordinary, the first the furthest.
    """

    fitted: int
    tried: int
    examples: int
    distance: Rate
    probe: Rate | None
    caught: Rate | None
    caught_by_probe: Rate | None
    share: float
    furthest: tuple[str, ...]


@dataclass(frozen=True)
class OverDraws:
    """One figure over several draws of what is fitted on.

    All draws are from the same prompts: how far they lie apart says what the choice of those to fit
    on does, and not how far other prompts would.

    Args:
        draws: how many.
        mean: of the figure.
        lowest: of them all.
        highest: likewise.
    """

    draws: int
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Gate:
    """A gate as it was measured.

    Args:
        figures: of the first draw.
        over_draws: the figures of the same names over all draws, as far as they were measured.
        contamination: training prompts of the run that the model comes from, against the prompts
            of both kinds; None where its run is not known.
    """

    figures: GateFigures
    over_draws: Mapping[str, OverDraws]
    contamination: Overlap | None

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON data."""
        return {
            **asdict(self.figures),
            "over_draws": {name: asdict(one) for name, one in self.over_draws.items()},
            "contamination": self.contamination.to_json() if self.contamination else None,
        }


class PromptVectors(NamedTuple):
    """Prompts and what a model makes of them.

    Args:
        name: of the set.
        prompts: distinct ones.
        vectors: one for each, (n, d).
    """

    name: str
    prompts: Sequence[Conversation]
    vectors: Vectors


def measure_gate(
    reader: Reader,
    ordinary: Sequence[str],
    outliers: Sequence[str],
    settings: GateSettings | None = None,
    *,
    column: str | None = None,
) -> Gate:
    """Fit both detectors on some ordinary prompts, and try them on all others and on outliers.

    Args:
        reader: where vectors come from; each prompt is read once, however many draws there are.
        ordinary: prompt files, or names in `MICROWORLD`.
        outliers: likewise.
        settings: None: as `GateSettings` has them.
        column: that holds the prompts; None: the usual one.

    Raises:
        InputError: a file cannot be read.
        CaiError: there are too few prompts, or the model cannot be loaded.
    """
    wanted = settings or GateSettings()
    known, out = read_distinct(ordinary, column), read_distinct(outliers, column)
    _check_enough(wanted, len(known), len(out))
    vectors = read_activations(reader, [*known, *out])
    inside = PromptVectors("ordinary", known, vectors[: len(known)])
    seeds = range(wanted.seed, wanted.seed + wanted.draws)
    drawn = [_one_draw(inside, vectors[len(known) :], wanted, seed) for seed in seeds]
    shared = model_held_against(reader.model, {"ordinary": known, "outliers": out})
    return Gate(drawn[0], _over_draws(drawn), shared)


def _check_enough(wanted: GateSettings, known: int, out: int) -> None:
    if not FEWEST <= wanted.fitted < known:
        raise CaiError(
            f"{known} ordinary prompts cannot give {wanted.fitted} to fit on and some to try: "
            f"name from {FEWEST} to {known - 1}, or give more prompts"
        )
    if not 0 <= wanted.examples < out or wanted.examples > wanted.fitted:
        raise CaiError(f"{wanted.examples} of {out} outliers cannot be shown; name fewer examples")


def _one_draw(known: PromptVectors, out: Vectors, wanted: GateSettings, seed: int) -> GateFigures:
    order = _shuffled(len(known.prompts), seed)
    inside, tried = known.vectors[order[: wanted.fitted]], order[wanted.fitted :]
    rest, outside = known.vectors[tried], out[_shuffled(len(out), seed)]
    spread = fit_ordinary(inside)
    near, far = spread.score(rest).tolist(), spread.score(outside).tolist()
    furthest = sorted(range(len(near)), key=near.__getitem__, reverse=True)[:FURTHEST]
    probe = caught_by_probe = None
    if wanted.examples:
        score = fit_probe(inside, outside[: wanted.examples])
        below, above = score(rest).tolist(), score(outside[wanted.examples :]).tolist()
        probe = separation(below, above)
        caught_by_probe = flagged(alarms(wanted.share, below, above))
    return GateFigures(
        wanted.fitted,
        len(tried),
        wanted.examples,
        separation(near, far),
        probe,
        flagged(alarms(wanted.share, near, far)),
        caught_by_probe,
        wanted.share,
        tuple(known.prompts[tried[at]][-1].content for at in furthest),
    )


def _over_draws(drawn: Sequence[GateFigures]) -> dict[str, OverDraws]:
    found: dict[str, OverDraws] = {}
    for name in ("distance", "probe", "caught", "caught_by_probe"):
        rates: list[Rate | None] = [getattr(one, name) for one in drawn]
        values = [one.value for one in rates if one is not None]
        if values:
            mean = math.fsum(values) / len(values)
            found[name] = OverDraws(len(values), mean, min(values), max(values))
    return found


def read_distinct(sources: Sequence[str], column: str | None) -> list[Conversation]:
    """The distinct prompts of some sources.

    Args:
        sources: prompt files, or names in `MICROWORLD`.
        column: that holds the prompts; None: the usual one.

    Raises:
        InputError: a file cannot be read, or a row of it is no prompt.
    """
    found: dict[Conversation, None] = {}
    for source in sources:
        if source in MICROWORLD:
            kind: Any = MICROWORLD[source]
            wanted = PromptSet(kind=kind, microworld="heldout", limit=MICROWORLD_LIMIT)
        else:
            wanted = PromptSet(kind="harmless", file=Path(source), column=column)
        for prompt in read_prompts(wanted, seed=0):
            if not isinstance(prompt, Prompt):
                raise InputError(source, [Fault(prompt.reason, f"row {prompt.row}")])
            found[prompt.messages] = None
    return list(found)


def _shuffled(n: int, seed: int) -> list[int]:
    return random.Random(f"{seed}:outliers").sample(range(n), n)
