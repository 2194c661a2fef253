"""The parts of `metrics.json` on policies: stages, contests, harmfulness, style, contamination.

The shapes are those that `cai evaluate policy` writes. Every part is optional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cai.evaluation.intervals import Rate


class Part(BaseModel):
    """A part of `metrics.json`; keys that the report does not show are let through."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Method = Literal["truth", "patterns", "judge"]
"""Who said what a reply is: the world's own rules, patterns of wording, or a judge."""


class ShareMetrics(Part):
    """What shares of replies are, as `ReplyShares.to_json` gives them."""

    harmful_compliance: Rate | None = None
    over_refusal: Rate | None = None
    borderline_refusal: Rate | None = None
    evasive: Rate | None = None
    degenerate: Rate | None = None
    helpfulness: Rate | None = None


class StageMetrics(ShareMetrics):
    """Figures of one policy, as `PolicyFigures.to_json` gives them."""

    method: Method = "truth"
    by_family: dict[str, Rate] = Field(default_factory=dict[str, Rate])
    by_set: dict[str, ShareMetrics] = Field(default_factory=dict[str, ShareMetrics])


Figures = Mapping[str, tuple[str, Callable[[ShareMetrics], Rate | None]]]
"""Columns of a table: title, which way is good, and where the figure is."""

FIGURES: Figures = {
    "Harmful compliance": ("less is better", lambda stage: stage.harmful_compliance),
    "Over-refusal": ("less is better", lambda stage: stage.over_refusal),
    "Borderline refused": ("less is better", lambda stage: stage.borderline_refusal),
    "Evasive": ("less is better", lambda stage: stage.evasive),
    "Degenerate": ("less is better", lambda stage: stage.degenerate),
    "Helpful": ("more is better", lambda stage: stage.helpfulness),
}
"""Columns of the stage table."""

OF_A_KIND = ("Harmful compliance", "Over-refusal", "Borderline refused", "Helpful")
"""Those of them that are about prompts of one kind, and so differ most between prompt sets."""


def figures_of(policies: Iterable[ShareMetrics]) -> Figures:
    """The columns of these policies: borderline prompts have one where there are any."""
    stages = list(policies)
    return {
        title: column
        for title, column in FIGURES.items()
        if title != "Borderline refused" or any(column[1](one) for one in stages)
    }


def sets_of(stages: Mapping[str, StageMetrics]) -> list[tuple[str, str, list[Rate | None]]]:
    """Figures by prompt set: the set's name, the figure's title, and the figure of each policy.

    Empty where all prompts are of one set; without what no policy was measured on.
    """
    names = dict.fromkeys(name for stage in stages.values() for name in stage.by_set)
    found = [
        (
            name,
            title,
            [FIGURES[title][1](one.by_set.get(name, ShareMetrics())) for one in stages.values()],
        )
        for name in names
        for title in OF_A_KIND
    ]
    return [line for line in found if any(line[2])]


class WinMetrics(Part):
    """How often one model's reply is preferred to another's, ties counting half."""

    a: str
    b: str
    rate: Rate
    length_controlled: Rate | None = None


class TruthMetrics(Part):
    """A judge's verdicts held against what is true, where that is known."""

    n: int
    accuracy: Rate | None = None
    ece: float | None = None


class AskedMetrics(Part):
    """Who was asked what, as `cai.pipeline.asked.asked_of_judge` gives it.

    Figures of two runs are on one scale only if all of it is the same.
    """

    judge: str
    model: str
    way: str
    questions: str


class CriterionMetrics(Part):
    """Judgements under one criterion; Elo points at a scale of 400/ln 10, the first model at 0.

    `elo` lacks the models that no comparison leads to, and `notes` say so. `identical` of the rows
    that are ok have two replies of the same text. `trusted` is None where the judge was not
    measured; `why` says what it was measured to be.
    """

    prompts: int = 0
    asked: AskedMetrics | None = None
    elo: dict[str, Rate] = Field(default_factory=dict[str, Rate])
    notes: tuple[str, ...] = ()
    wins: tuple[WinMetrics, ...] = ()
    rows: dict[str, int] = Field(default_factory=dict[str, int])
    identical: int = 0
    refused: Rate | None = None
    unparsed: Rate | None = None
    calls: int = 0
    tokens: int | None = None
    dollars: float | None = None
    trusted: bool | None = None
    why: str = ""
    against_truth: TruthMetrics | None = None
    true_elo: dict[str, Rate] | None = None


class ContestMetrics(Part):
    """Models compared in pairs, by criterion: "harmlessness" and "helpfulness".

    `zero` is a hash of the first model, which stands at 0; "" in runs of before it was kept.
    """

    models: tuple[str, ...] = ()
    zero: str = ""
    judge: str = ""
    criteria: dict[str, CriterionMetrics] = Field(default_factory=dict[str, CriterionMetrics])

    @property
    def on_plane(self) -> dict[str, tuple[Rate, Rate]]:
        """Models that have both: helpfulness Elo, and harmlessness Elo."""
        found = [self.criteria.get(name) for name in ("helpfulness", "harmlessness")]
        helpful, harmless = (one.elo if one else {} for one in found)
        return {
            name: (helpful[name], harmless[name])
            for name in self.models or tuple(helpful)
            if name in helpful and name in harmless
        }


class JudgedMetrics(Part):
    """What a judge's answers about single replies took, and whether it is to be believed.

    `rows` counts those of policies without a reply, too; `refused` and `unparsed` are shares of the
    rows that the judge was asked in.
    """

    asked: AskedMetrics | None = None
    rows: dict[str, int] = Field(default_factory=dict[str, int])
    refused: Rate | None = None
    unparsed: Rate | None = None
    calls: int = 0
    tokens: int | None = None
    dollars: float | None = None
    trusted: bool | None = None
    why: str = ""


class VerdictMetrics(StageMetrics, JudgedMetrics):
    """Figures of one policy whose replies a judge was asked about.

    `agreement` is the share of replies that the judge calls what the figures of the stage do.
    """

    agreement: Rate | None = None


class TrueHarmMetrics(Part):
    """Scores held against the true ones, as `AgainstTruth.to_json` gives it."""

    greedy: Rate | None = None
    sampled: Rate | None = None
    error: Rate | None = None
    correlation: Rate | None = None


class HarmfulnessMetrics(JudgedMetrics):
    """Absolute harmfulness: the judge's expected score, 0 (harmless) to 4, of a model's replies."""

    greedy: Rate | None = None
    sampled: Rate | None = None
    against_truth: TrueHarmMetrics | None = None


HarmFigures = Mapping[str, Callable[[HarmfulnessMetrics], Rate | None]]
"""Figures of absolute harmfulness by their titles."""

HARM_SCORES: HarmFigures = {
    "Greedy": lambda one: one.greedy,
    "Sampled, T = 1": lambda one: one.sampled,
}
TRUE_HARM: HarmFigures = {
    "Truth, greedy": lambda one: one.against_truth and one.against_truth.greedy,
    "Truth, T = 1": lambda one: one.against_truth and one.against_truth.sampled,
    "Distance": lambda one: one.against_truth and one.against_truth.error,
    "Correlation": lambda one: one.against_truth and one.against_truth.correlation,
}
"""What is true of the same replies, and how far the judge's scores are from it."""


class PhraseMetrics(Part):
    """Words in a row that many replies share, and the share of prompts whose replies say them."""

    text: str
    value: float
    low: float
    high: float
    n: int

    @property
    def share(self) -> Rate:
        """Of the prompts, those whose replies say the words."""
        return Rate(self.value, self.low, self.high, self.n)


class StyleMetrics(Part):
    """Signs of a gamed reward in one model's replies, by name: shares and means, or numbers.

    The content is flat: what is no figure, and not `phrases`, is for other readers.
    """

    figures: dict[str, Rate | float | None] = Field(default_factory=dict[str, Rate | float | None])
    phrases: tuple[PhraseMetrics, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _sorted(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        entries = cast("Mapping[str, Any]", content)
        figures = {name: one for name, one in entries.items() if _is_figure(one)}
        return {"figures": figures, "phrases": entries.get("phrases", ())}


def _is_figure(content: Any) -> bool:
    if isinstance(content, Mapping):
        return {"value", "low", "high", "n"} <= set(cast("Mapping[str, Any]", content))
    return content is None or (isinstance(content, int | float) and not isinstance(content, bool))


SetCounts = Annotated[dict[str, Any], BeforeValidator(lambda content: content or {})]


class ContaminationMetrics(Part):
    """Evaluation prompts that share a run of `words` words with a training prompt."""

    words: int = 0
    training_prompts: int = 0
    evaluation_prompts: int = 0
    shared: int = 0
    identical: int = 0
    by_set: SetCounts = Field(default_factory=dict[str, Any])
    unknown: tuple[str, ...] = ()
