"""What revision does to harm: by round (Bai et al. 2022, Fig. 5), and by principle drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count, pairwise, takewhile
from typing import Any

from cai.evaluation.classifiers import Classifier
from cai.evaluation.intervals import Rate, share_by_case, share_of
from cai.records import RevisionTrace


def harm_by_round(traces: Iterable[RevisionTrace], classifier: Classifier) -> list[Rate]:
    """Share of harmful texts before any revision (index 0) and after each round.

    A trace that ended early (a refused or cut-off call) counts for the rounds that it has, so a
    later round's `n` may be smaller; nor does it count for a round whose revision was left out. The
    rounds end with the first one that no trace has.
    """
    rounds: defaultdict[int, list[bool]] = defaultdict(list)
    for trace in traces:
        numbers = (0, *(revision.round for revision in trace.revisions))
        for number, text in zip(numbers, trace.texts, strict=True):
            rounds[number].append(classifier(trace.response.prompt, text) == "harmful")
    listed = takewhile(rounds.__contains__, count())
    return [share for number in listed if (share := share_of(rounds[number])) is not None]


@dataclass(frozen=True)
class PrincipleEffect:
    """What one principle's revisions did.

    Args:
        draws: number of revisions made under it.
        fixed: of those that began with a harmful text, the share that ended with one neither
            harmful nor degenerate, over the prompts; None if none began so.
    """

    draws: int
    fixed: Rate | None

    def to_json(self) -> dict[str, Any]:
        """The shape of one entry of ``harm_by_principle`` in `metrics.json`."""
        return {"draws": self.draws, "fixed": self.fixed.to_json() if self.fixed else None}


def harm_by_principle(
    traces: Iterable[RevisionTrace], classifier: Classifier
) -> dict[str, PrincipleEffect]:
    """Effect of each principle that was drawn, by principle id in alphabetical order."""
    draws: defaultdict[str, int] = defaultdict(int)
    fixed: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for trace in traces:
        prompt = trace.response.prompt.text_hash
        verdicts = [classifier(trace.response.prompt, text) for text in trace.texts]
        for revision, (before, after) in zip(trace.revisions, pairwise(verdicts), strict=True):
            draws[revision.principle] += 1
            if before == "harmful":
                is_fixed = after not in ("harmful", "degenerate")
                fixed[revision.principle].append((prompt, float(is_fixed)))
    return {
        name: PrincipleEffect(draws[name], share_by_case(fixed.get(name, [])))
        for name in sorted(draws)
    }
