"""Prompts that are unlike what a model knows: the gate of HH-RLHF (§5.4), and two sets compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cai.errors import CaiError, Fault, InputError
from cai.evaluation.intervals import Rate
from cai.evaluation.outliers import (
    FEWEST,
    fit_ordinary,
    fit_probe,
    flagged,
    separation,
    threshold_at,
)
from cai.models.activations import Reader, read_activations
from cai.pipeline.folder import RunFolder
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


@dataclass(frozen=True)
class GateFigures:
    """How well outliers are told from ordinary prompts.

    Args:
        fitted: ordinary prompts that both detectors were fitted on.
        examples: outliers that the probe was shown, and that no figure of it counts.
        distance: AUROC of the relative Mahalanobis distance.
        probe: AUROC of the few-shot probe; None without examples.
        caught: share of outliers that the distance flags at `share` false alarms.
        caught_by_probe: the same of the probe.
        share: of ordinary prompts that are flagged.
        furthest: ordinary prompts that look least ordinary, the first the furthest.
    """

    fitted: int
    examples: int
    distance: Rate
    probe: Rate | None
    caught: Rate | None
    caught_by_probe: Rate | None
    share: float
    furthest: tuple[str, ...]


@dataclass(frozen=True)
class Reach:
    """How far one set of prompts reaches beyond another.

    Args:
        known: the set that the detector was fitted on, by half.
        other: the set that was held against it.
        beyond: share of `other` that lies further out than all but `expected` of `known`.
        expected: that share of the half of `known` that the detector has not seen.
        furthest: prompts of `other` that lie furthest out.
    """

    known: str
    other: str
    beyond: Rate | None
    expected: float
    furthest: tuple[str, ...]


class _Set(NamedTuple):
    name: str
    prompts: Sequence[Conversation]
    vectors: Vectors


def measure_gate(
    reader: Reader,
    ordinary: Sequence[str],
    outliers: Sequence[str],
    *,
    column: str | None = None,
    fitted: int = 300,
    examples: int = 10,
    share: float = 0.05,
    seed: int = 0,
) -> GateFigures:
    """Fit both detectors on some ordinary prompts, and try them on all others and on outliers.

    Args:
        reader: where vectors come from.
        ordinary: prompt files, or names in `MICROWORLD`.
        outliers: likewise.
        column: that holds the prompts; None: the usual one.
        fitted: ordinary prompts to fit on, at least `FEWEST`.
        examples: outliers that the probe is shown; 0: no probe.
        share: of the other ordinary prompts that may be flagged, in [0, 1].
        seed: which prompts are fitted on, and which outliers are shown.

    Raises:
        InputError: a file cannot be read.
        CaiError: there are too few prompts, or the model cannot be loaded.
    """
    if not 0 <= share <= 1:
        raise CaiError(f"{share} is no share of prompts; name one from 0 to 1")
    known = _shuffled(_read_all(ordinary, column), seed)
    out = _shuffled(_read_all(outliers, column), seed)
    if not FEWEST <= fitted < len(known):
        raise CaiError(
            f"{len(known)} ordinary prompts cannot give {fitted} to fit on and some to try: "
            f"name from {FEWEST} to {len(known) - 1}, or give more prompts"
        )
    if not 0 <= examples < len(out) or examples > fitted:
        raise CaiError(f"{examples} of {len(out)} outliers cannot be shown; name fewer examples")
    vectors = read_activations(reader, [*known, *out])
    inside, rest, outside = _split(vectors, fitted, len(known))
    spread = fit_ordinary(inside)
    near = spread.score(rest).tolist()
    far = spread.score(outside).tolist()
    furthest = sorted(range(len(near)), key=near.__getitem__, reverse=True)[:FURTHEST]
    probe = caught_by_probe = None
    if examples:
        score = fit_probe(inside, outside[:examples])
        below, above = score(rest).tolist(), score(outside[examples:]).tolist()
        probe = separation(below, above)
        caught_by_probe = flagged(threshold_at(share, below), above)
    return GateFigures(
        fitted,
        examples,
        separation(near, far),
        probe,
        flagged(threshold_at(share, near), far),
        caught_by_probe,
        share,
        tuple(known[fitted + at][-1].content for at in furthest),
    )


def measure_coverage(
    reader: Reader, folder: RunFolder, *, expected: float = 0.05, seed: int = 0
) -> tuple[Reach, Reach]:
    """How far a run's RL prompts reach beyond the preference model's, and the other way round.

    A preference model is to know what the policy will be asked, and RL to use all that it knows
    (Lambert 2023): so both shares should be about `expected`.

    Args:
        reader: where vectors come from.
        folder: of a run that has made preference and RL data.
        expected: share of the known set that counts as lying beyond, in (0, 1).
        seed: which half of the known set is fitted on.

    Raises:
        CaiError: the run lacks a data set, or it is too small.
    """
    pairs, prompts = _run_prompts(folder, "preferences"), _run_prompts(folder, "rl")
    vectors = read_activations(reader, [*pairs, *prompts])
    known = _Set("PM data", pairs, vectors[: len(pairs)])
    asked = _Set("RL prompts", prompts, vectors[len(pairs) :])
    return _reach(known, asked, expected, seed), _reach(asked, known, expected, seed)


def _reach(known: _Set, other: _Set, expected: float, seed: int) -> Reach:
    n = len(known.prompts)
    order = random.Random(f"{seed}:halves").sample(range(n), n)
    half = n // 2
    if half < FEWEST:
        raise CaiError(
            f"{known.name}: {n} prompts are too few to compare with; make {2 * FEWEST} or more"
        )
    spread = fit_ordinary(known.vectors[order[:half]])
    threshold = threshold_at(expected, spread.score(known.vectors[order[half:]]).tolist())
    scores = spread.score(other.vectors).tolist()
    furthest = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:FURTHEST]
    shown = tuple(other.prompts[at][-1].content for at in furthest)
    return Reach(known.name, other.name, flagged(threshold, scores), expected, shown)


def _run_prompts(folder: RunFolder, name: Literal["preferences", "rl"]) -> list[Conversation]:
    folder = folder.last_with("preferences") if name == "preferences" else folder
    path = folder.dataset(name) / "train"
    if not path.is_dir():
        step = "preferences" if name == "preferences" else "rl"
        raise CaiError(f"{path} is not there; make it with: cai run RECIPE --until {step}")
    files = sorted(str(file) for file in path.rglob("*.parquet"))
    return _read_all(files, "prompt")


def _read_all(sources: Sequence[str], column: str | None) -> list[Conversation]:
    """The distinct prompts of some sources; a row that is none is an error."""
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


def _shuffled(prompts: list[Conversation], seed: int) -> list[Conversation]:
    return random.Random(f"{seed}:outliers").sample(prompts, len(prompts))


def _split(vectors: Vectors, fitted: int, known: int) -> tuple[Vectors, Vectors, Vectors]:
    return vectors[:fitted], vectors[fitted:known], vectors[known:]
