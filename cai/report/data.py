"""What a report shows, whatever it was read from: the renderer's only input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.records import Comparison, RevisionTrace
from cai.report.metrics import Metrics


@dataclass(frozen=True)
class TrainingStep:
    """One logged step of RL; a figure that was not logged is None.

    Args:
        step: optimiser step, from 1.
        reward: mean score by the preference model.
        kl: mean KL from the SFT model, in nats per reply.
    """

    step: float
    reward: float | None = None
    kl: float | None = None


@dataclass(frozen=True)
class SampledRow:
    """One prompt, and what became of it: revised, compared, or both.

    Args:
        prompt_id: the prompt's id.
        trace: its response and revisions; None if it was only compared.
        comparison: its label; None if it was only revised.
    """

    prompt_id: str
    trace: RevisionTrace | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class EndedRows:
    """Rows of one stage that ended in one way.

    Args:
        stage: name of the stage.
        status: "ok", "refused", "unparsed", "truncated", "error" or "filtered".
        n: number of rows.
        reasons: commonest reasons with their counts, most frequent first.
    """

    stage: str
    status: str
    n: int
    reasons: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class ReportData:
    """All that a run left to show.

    Args:
        name: the run's name.
        metrics: its `metrics.json`.
        training: the steps of RL, in order.
        rows: sampled prompts with their way to data.
        ended: the row ledger's counts.
        recipe: the resolved recipe's text; empty if it is not there.
        trained: what each trained model's `training.json` says, by folder name.
    """

    name: str
    metrics: Metrics
    training: Sequence[TrainingStep] = ()
    rows: Sequence[SampledRow] = ()
    ended: Sequence[EndedRows] = ()
    recipe: str = ""
    trained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
