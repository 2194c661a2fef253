"""Whether a judge of policies is to be believed: what it said to questions with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cai.constitution import Constitution
from cai.evaluation.gates import read_gate
from cai.evaluation.judge import JudgeFigures
from cai.pipeline.labeler_figures import figures_from
from cai.pipeline.studio import Studio

NO_GATE = "was not measured: no data with known answers is named (gate_data)"


@dataclass(frozen=True)
class Trust:
    """Whether a criterion's judge is to be believed.

    Args:
        trusted: whether it keeps every gate; None if it was not measured, or no gate is set.
        why: in words.
        judge: what was measured.
    """

    trusted: bool | None
    why: str
    judge: JudgeFigures | None = None

    def to_json(self) -> dict[str, Any]:
        """``trusted``, ``why``, and the judge's figures on the gate's questions."""
        told = None if self.judge is None else self.judge.to_json()
        of_labels = ("n", "accuracy", "flip_rate", "sided_flip_rate", "brier", "brier_interval")
        of_labels += ("ece", "ece_interval")
        kept = ("rows", "refusal_rate", "unparsed_rate", "kappa", "cost")
        figures = None
        if told is not None:
            figures = {name: told["labels"][name] for name in of_labels}
            figures |= {name: told[name] for name in kept}
        return {"trusted": self.trusted, "why": self.why, "gate": figures}


def trust_in_judge(
    studio: Studio, stage: str, constitution: Constitution, gates: Sequence[str] | None
) -> Trust:
    """What the rows of a gate say of the run's judge, and whether that is enough.

    Args:
        studio: of the run.
        stage: of the rows.
        constitution: whose principles it was asked under.
        gates: limits, as `cai.evaluation.gates.read_gate` reads them; None without gate data.
    """
    if gates is None:
        return Trust(None, NO_GATE)
    judge = figures_from(studio, studio.recipe.models.of("judge"), (stage,), constitution)
    limits = [read_gate(text) for text in gates]
    if not limits:
        asked = sum(judge.rows.values())
        return Trust(None, f"no gate is set (gates); {asked} questions were asked", judge)
    told = ", ".join(gate.told(judge) for gate in limits)
    broken = [gate for gate in limits if not gate.holds(judge)]
    if broken:
        return Trust(False, f"{told}, not {', '.join(map(str, broken))}", judge)
    return Trust(True, told, judge)
