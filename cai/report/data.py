"""What a report shows, whatever it was read from: the renderer's only input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.records import Comparison, RevisionTrace
from cai.report.metrics import Metrics


@dataclass(frozen=True)
class TrainingStep:
    """One logged step of a training.

    Args:
        step: optimiser step, from 1.
        figures: what was logged of it, by name; infinite or missing figures are not there.
    """

    step: float
    figures: Mapping[str, float] = field(default_factory=dict[str, float])


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
class SpentPart:
    """What one stage or training took, over all attempts of the run.

    Args:
        title: its name for people.
        seconds: of its own time.
        made: calls paid for; None for a training, which makes none.
        cached: calls that the ledger had.
        input_tokens: read by the models.
        output_tokens: written by them.
        cost: dollars; None if a price was not known.
    """

    title: str
    seconds: float
    made: int | None = None
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0


@dataclass(frozen=True)
class ReportData:
    """All that a run left to show.

    Args:
        name: the run's name.
        folder: the name of its folder, which tells runs of one recipe apart.
        metrics: its `metrics.json`.
        training: the steps of RL in order, by policy: "rl_cai", then "iteration-1/rl_cai" and on.
        losses: the steps of every other training, by model.
        rows: sampled prompts with their way to data.
        ended: the row ledger's counts.
        spent: time and calls by stage, in order.
        recipe: the resolved recipe's text; empty if it is not there.
        trained: what each trained model's `training.json` says, by folder name.
    """

    name: str
    metrics: Metrics
    training: Mapping[str, Sequence[TrainingStep]] = field(
        default_factory=dict[str, Sequence[TrainingStep]]
    )
    losses: Mapping[str, Sequence[TrainingStep]] = field(
        default_factory=dict[str, Sequence[TrainingStep]]
    )
    rows: Sequence[SampledRow] = ()
    ended: Sequence[EndedRows] = ()
    spent: Sequence[SpentPart] = ()
    recipe: str = ""
    folder: str = ""
    trained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
