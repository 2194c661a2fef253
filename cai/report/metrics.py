"""The shape of `metrics.json`. Every part is optional: a run may stop after any stage.

Keys that the report does not show are let through: the file also serves other readers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cai.errors import Fault, InputError
from cai.evaluation.intervals import Rate
from cai.evaluation.labels import ReliabilityBin
from cai.report.policy_metrics import (
    ContaminationMetrics,
    ContestMetrics,
    HarmfulnessMetrics,
    Method,
    Part,
    StageMetrics,
    StyleMetrics,
    VerdictMetrics,
)
from cai.stage_titles import own_stages


class ConstitutionMetrics(Part):
    """Which constitution made the run; `principles` holds each one's texts by id, if kept."""

    id: str = ""
    hash: str = ""
    title: str | None = None
    principles: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])


class RunMetrics(Part):
    """What is needed to make the run again."""

    name: str = ""
    seed: int | None = None
    recipe_hash: str = ""
    constitution: ConstitutionMetrics = ConstitutionMetrics()
    templates: dict[str, str] = Field(default_factory=dict[str, str])
    commit: str | None = None
    versions: dict[str, str] = Field(default_factory=dict[str, str])
    command: str = ""


class EffectMetrics(Part):
    """What one principle's revisions did, as `PrincipleEffect.to_json` gives it."""

    draws: int
    fixed: Rate | None = None


class WithoutMetrics(Part):
    """A figure of the run, and what it would be without one principle: `Without`."""

    without: Rate
    change: Rate


class PrincipleMetrics(Part):
    """One principle in a run, as `PrincipleFigures.to_json` gives it."""

    revisions: Rate | None = None
    labels: Rate | None = None
    orders_agree: Rate | None = None
    truth_agrees: Rate | None = None
    others_agree: Rate | None = None
    left_out: dict[str, WithoutMetrics] = Field(default_factory=dict[str, WithoutMetrics])
    turned: Rate | None = None


class LabelMetrics(Part):
    """Quality of the labels, as `LabelFigures.to_json` gives it."""

    n: int | None = None
    accuracy: Rate | None = None
    brier: float | None = None
    brier_interval: Rate | None = None
    brier_floor: float | None = None
    ece: float | None = None
    ece_interval: Rate | None = None
    bins: tuple[ReliabilityBin, ...] = ()
    flip_rate: Rate | None = None
    sided_flip_rate: Rate | None = None
    flips_to_first: Rate | None = None
    position_first: Rate | None = None
    mass: Rate | None = None
    by_principle: dict[str, LabelMetrics] = Field(default_factory=dict[str, "LabelMetrics"])


class PreferenceModelMetrics(Part):
    """Accuracy of the preference model, as `PreferenceModelFigures.to_json` gives it."""

    accuracy: Rate | None = None
    keyword_baseline: Rate | None = None
    by_source: dict[str, Rate] = Field(default_factory=dict[str, Rate])
    by_kind: dict[str, Rate] = Field(default_factory=dict[str, Rate])
    baseline_by_kind: dict[str, Rate] = Field(default_factory=dict[str, Rate])
    pairs: int = 0
    left_out: int = 0


class IterationMetrics(Part):
    """What one iteration of online training made: pairs to learn from, and a preference model."""

    iteration: int
    pairs: int
    pm: PreferenceModelMetrics = PreferenceModelMetrics()


class BestOfPointMetrics(Part):
    """Best-of-n for one n, as `BestOfPoint.to_json` gives it; KL in nats."""

    n: int
    score: Rate | None = None
    kl_bound: float = 0.0
    kl: Rate | None = None
    harmful_compliance: Rate | None = None
    helpfulness: Rate | None = None


class BesideMetrics(Part):
    """A trained policy beside best-of-N: mean score of its replies, and KL from SL-CAI in nats."""

    score: Rate | None = None
    kl: Rate | None = None


class BestOfMetrics(Part):
    """Best-of-N of SL-CAI against the preference model, and the trained policies beside it."""

    n: int = 1
    prompts: int = 0
    by_n: tuple[BestOfPointMetrics, ...] = ()
    policies: dict[str, BesideMetrics] = Field(default_factory=dict[str, BesideMetrics])
    notes: tuple[str, ...] = ()


class TrackedMetrics(Part):
    """What train-PM and test-PM say of one rollout batch: `TrackedStep`."""

    step: int
    sqrt_kl: float
    train: float
    test: float


class PartingMetrics(Part):
    """Where they part: `Parting`."""

    step: int
    sqrt_kl: float
    gap: Rate


class RobustnessMetrics(Part):
    """Train-PM and test-PM against √KL, as `robustness_figures` gives them."""

    window: int
    curve: tuple[TrackedMetrics, ...]
    parting: PartingMetrics | None = None


class MixedMetrics(Part):
    """Rows of one source in a data set, and those that were left out of it, by reason."""

    train: int = 0
    test: int = 0
    left_out: dict[str, int] = Field(default_factory=dict[str, int])


class CallMetrics(Part):
    """Calls of language models: made now, or answered from the ledger."""

    made: int = 0
    cached: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


class PriceMetrics(Part):
    """What a model's tokens cost, in dollars per million, and where that was had."""

    input: float | None = None
    output: float | None = None
    cached_input: float | None = None
    cache_write: float | None = None
    origin: str = ""


class Metrics(Part):
    """All of `metrics.json`."""

    run: RunMetrics = RunMetrics()
    stages: dict[str, StageMetrics] = Field(default_factory=dict[str, StageMetrics])
    harm_method: Method | None = None
    harm_by_round: tuple[Rate, ...] = ()
    harm_by_principle: dict[str, EffectMetrics] = Field(default_factory=dict[str, EffectMetrics])
    principles: dict[str, PrincipleMetrics] = Field(default_factory=dict[str, PrincipleMetrics])
    labels: LabelMetrics | None = None
    pm: PreferenceModelMetrics | None = None
    iterations: tuple[IterationMetrics, ...] = ()
    best_of: BestOfMetrics | None = None
    reward: dict[str, float] = Field(default_factory=dict[str, float])
    robustness: RobustnessMetrics | None = None
    contest: ContestMetrics | None = None
    verdicts: dict[str, VerdictMetrics] = Field(default_factory=dict[str, VerdictMetrics])
    harmfulness: dict[str, HarmfulnessMetrics] = Field(
        default_factory=dict[str, HarmfulnessMetrics]
    )
    style: dict[str, StyleMetrics] = Field(default_factory=dict[str, StyleMetrics])
    contamination: ContaminationMetrics | None = None
    pairs: dict[str, int] = Field(default_factory=dict[str, int])
    mix: dict[str, dict[str, MixedMetrics]] = Field(
        default_factory=dict[str, dict[str, MixedMetrics]]
    )
    left_out: dict[str, int] = Field(default_factory=dict[str, int])
    filtered: dict[str, dict[str, int]] = Field(default_factory=dict[str, dict[str, int]])
    rows: dict[str, dict[str, int]] = Field(default_factory=dict[str, dict[str, int]])
    seconds: dict[str, float] = Field(default_factory=dict[str, float])
    calls: CallMetrics | None = None
    prices: dict[str, PriceMetrics] = Field(default_factory=dict[str, PriceMetrics])

    @property
    def method_of_harm(self) -> Method:
        """Who said which revisions are harmful: who says it of replies, where that was not kept."""
        methods = {stage.method for stage in self.stages.values()}
        return self.harm_method or ("patterns" if "patterns" in methods else "truth")

    @property
    def ordered_stages(self) -> dict[str, StageMetrics]:
        """The stages that there are: the run's own in their order, then any others."""
        names = dict.fromkeys([*own_stages(self.stages), *self.stages])
        return {name: self.stages[name] for name in names}


def read_metrics(path: Path) -> Metrics:
    """Read a run's `metrics.json`.

    Raises:
        InputError: it is no JSON or has another shape; every fault is listed.
    """
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        fault = Fault(f"is not JSON ({error}); delete the file and run `cai run` again")
        raise InputError(path, [fault]) from error
    return parse_metrics(content, path)


def parse_metrics(content: Any, source: Path | str = "metrics.json") -> Metrics:
    """Check metrics that are at hand as JSON data; `source` names them in an error.

    Raises:
        InputError: they have another shape; every fault is listed.
    """
    try:
        return Metrics.model_validate(content)
    except ValidationError as error:
        faults = [
            Fault(
                f"{fault['msg']}, got {str(fault['input'])[:60]!r}; delete the file and run "
                "`cai run` again",
                ".".join(str(part) for part in fault["loc"]),
            )
            for fault in error.errors(include_url=False)
        ]
        raise InputError(source, faults) from error
