"""How far a run's RL prompts and its preference data reach beyond each other (Lambert 2023)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from cai.errors import CaiError
from cai.evaluation.intervals import Rate
from cai.evaluation.outliers import FEWEST, alarms, fit_ordinary, flagged
from cai.models.activations import Reader, read_activations
from cai.pipeline.folder import RunFolder
from cai.pipeline.outliers import FURTHEST, Conversation, PromptVectors, read_distinct


@dataclass(frozen=True)
class Reach:
    """How far one set of prompts reaches beyond another.

    Args:
        known: the set that the detectors were fitted on, each on one half.
        known_prompts: how many it has.
        other: the set that was held against it.
        beyond: share of `other` that lies further out than all but `expected` of `known`, by
            detectors that were not fitted on the prompt.
        expected: that share of the half of `known` that a detector has not seen.
        furthest: prompts of `other` that lie furthest out.
    """

    known: str
    known_prompts: int
    other: str
    beyond: Rate | None
    expected: float
    furthest: tuple[str, ...]


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
    known = PromptVectors("PM data", pairs, vectors[: len(pairs)])
    asked = PromptVectors("RL prompts", prompts, vectors[len(pairs) :])
    return _reach(known, asked, expected, seed), _reach(asked, known, expected, seed)


def _reach(known: PromptVectors, other: PromptVectors, expected: float, seed: int) -> Reach:
    """What of a set lies beyond another one, of which each half is fitted on once.

    The sets may share prompts. One that a detector was fitted on looks less far out to it than it
    is, so it is tried with the detector of the other half; all others with both.
    """
    import numpy as np

    n = len(known.prompts)
    if n // 2 < FEWEST:
        raise CaiError(
            f"{known.name}: {n} prompts are too few to compare with; make {2 * FEWEST} or more"
        )
    order = random.Random(f"{seed}:halves").sample(range(n), n)
    halves = order[: n // 2], order[n // 2 :]
    flags = np.full((2, 3, len(other.prompts)), np.nan)
    scores = np.full((2, len(other.prompts)), np.nan)
    for detector, (inside, rest) in enumerate((halves, halves[::-1])):
        spread = fit_ordinary(known.vectors[inside])
        seen = {known.prompts[at] for at in inside}
        unseen = np.array([prompt not in seen for prompt in other.prompts], dtype=bool)
        scores[detector, unseen] = spread.score(other.vectors[unseen])
        tried = spread.score(known.vectors[rest]).tolist()
        flags[detector][:, unseen] = alarms(expected, tried, scores[detector, unseen].tolist())
    mean = np.nanmean(scores, axis=0).tolist()
    furthest = sorted(range(len(mean)), key=mean.__getitem__, reverse=True)[:FURTHEST]
    shown = tuple(other.prompts[at][-1].content for at in furthest)
    beyond = flagged(np.nanmean(flags, axis=0))
    return Reach(known.name, n, other.name, beyond, expected, shown)


def _run_prompts(folder: RunFolder, name: Literal["preferences", "rl"]) -> list[Conversation]:
    folder = folder.last_with("preferences") if name == "preferences" else folder
    path = folder.dataset(name) / "train"
    if not path.is_dir():
        step = "preferences" if name == "preferences" else "rl"
        raise CaiError(f"{path} is not there; make it with: cai run RECIPE --until {step}")
    files = sorted(str(file) for file in path.rglob("*.parquet"))
    return read_distinct(files, "prompt")
