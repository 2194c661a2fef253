"""A recipe: one YAML file that says what a run does, from prompts to policy.

It is validated as a constitution is: every fault at once, with line, field and fix. Relative
paths are relative to the recipe's own folder; a constitution or a model that is not there stays as
it is named. The recipe as resolved (with overrides and defaults) is saved in the run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from cai.comparison_settings import ComparisonSettings
from cai.document import Document, read_document
from cai.filter_settings import FilterSettings
from cai.literal_keys import note_keys, refuse_keys
from cai.means import StatedMeans
from cai.mix_settings import MixedData, MixedSource, MixSettings, SftSource
from cai.models import ModelSettings
from cai.movable import movable
from cai.overrides import override_field, plain_text
from cai.publication_settings import PublicationSettings
from cai.records import digest
from cai.revision_settings import RevisionSettings
from cai.roles import WORDING, RefusalSettings, RoleName, Roles, SamplingSettings
from cai.run_settings import (
    DatasetSettings,
    EngineSettings,
    EvaluationSettings,
    Policy,
    PromptSets,
    RunName,
)
from cai.validation import Entry, refuse_broken, validate
from cai.whole import write_whole
from trainers.settings import (
    DistillationSettings,
    DpoSettings,
    PreferenceModelSettings,
    PreferencePretrainingSettings,
    RlSettings,
    SftSettings,
)


class Recipe(Entry):
    """All of a run."""

    name: RunName = Field(
        description="Names the run; its folder is ``runs/<name>`` unless ``--run`` says otherwise.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Of every draw: prompts, principles, replies, new weights.",
    )
    constitution: str = Field(description="A shipped constitution's name, or a file.")
    templates: Path | None = Field(
        default=None, description="A folder whose templates replace shipped ones of their name."
    )
    models: Roles
    prompts: PromptSets
    filters: FilterSettings = FilterSettings()
    revisions: RevisionSettings = RevisionSettings()
    comparisons: ComparisonSettings = ComparisonSettings()
    datasets: DatasetSettings = DatasetSettings()
    mix: MixSettings = Field(
        default=MixSettings(),
        description="What SFT and the preference model learn from beside each other, and in which "
        "proportion; see docs/mixing.md.",
    )
    policies: tuple[Policy, ...] = Field(
        default=("rl",),
        min_length=1,
        description="What is trained on the preferences: rl (a preference model, then RL against "
        "it), dpo (directly on the labels), or both, to be compared.",
    )
    distillation: DistillationSettings = DistillationSettings()
    sft: SftSettings = SftSettings()
    preference_pretraining: PreferencePretrainingSettings | None = Field(
        default=None,
        description="Train the preference model on ranked answers first, from the base model.",
    )
    preference_model: PreferenceModelSettings = PreferenceModelSettings()
    dpo: DpoSettings = DpoSettings()
    rl: RlSettings = RlSettings()
    iterations: int = Field(
        default=1,
        ge=1,
        description="Times that pairs are made and labelled and preference model and policy are "
        "trained on all pairs so far, anew from SL-CAI; from the second time on, snapshots of the "
        "policy before write the replies (HH-RLHF, §4.5).",
    )
    evaluation: EvaluationSettings = EvaluationSettings()
    engine: EngineSettings = EngineSettings()
    refusals: RefusalSettings = RefusalSettings()
    forecast: StatedMeans = StatedMeans()
    publication: PublicationSettings = PublicationSettings()

    @model_validator(mode="after")
    def _a_base_to_train(self) -> Self:
        if self.models.base is None and self.models.default is None:
            raise ValueError("models: name a default model, or a model for each role")
        return self

    @model_validator(mode="after")
    def _halves_with_a_use(self) -> Self:
        if not self.datasets.preference_halves:
            return self
        if "rl" not in self.policies or not self.rl.reward.preference_model:
            raise ValueError(
                "datasets.preference_halves: the second preference model is tracked in RL against "
                "the first; policies must name rl, and rl.reward give preference_model a weight"
            )
        if not (self.datasets.test_share and self.rl.logs_kl):
            raise ValueError(
                "datasets.preference_halves: both models' scores are brought to one scale on the "
                "pairs held out, and held against the KL, which rloo and grpo measure where it has "
                f"a price; datasets.test_share ({self.datasets.test_share:g}) and rl.beta "
                f"({self.rl.beta:g}) must be more than 0"
            )
        return self

    @model_validator(mode="after")
    def _policies_to_sample_from(self) -> Self:
        if self.iterations > 1 and "rl" not in self.policies:
            raise ValueError(
                "iterations: later ones compare replies of RL's policies; policies must name rl"
            )
        if self.iterations > 1 and not self.rl.reward.preference_model:
            raise ValueError(
                "iterations: each trains a preference model for RL; give "
                "rl.reward.preference_model a weight, or leave iterations out"
            )
        return self

    @model_validator(mode="after")
    def _data_that_can_be_had(self) -> Self:
        weighs_own = any(one.run for one in self.mix.sft)
        self.datasets.refuse_misfits(self.revisions.rounds, weighs_own=weighs_own)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _mix_of_what_is_made(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        recipe = handler(value)
        made = (*recipe.comparisons.sources, "revision")
        made += ("helpful",) if recipe.prompts.helpful else ()
        made += ("human",) if recipe.comparisons.human else ()
        return refuse_broken(recipe, recipe.mix.not_made(made))

    def mixed(self, data: MixedData) -> tuple[MixedSource, ...]:
        """What a data set is mixed of, as far as the recipe says so.

        `datasets.helpful_ratio` is such a mix of the run's own rows.
        """
        ratio = self.datasets.helpful_ratio
        if data == "preferences" or ratio is None:
            return self.mix.of(data)
        own = (SftSource(run="revision", weight=1), SftSource(run="helpful", weight=ratio))
        return (*own, *self.mix.sft)

    def pair_sampling(self, iteration: int = 0) -> SamplingSettings:
        """How the replies of a pair are drawn; the assistant's may have a sampling of its own.

        Args:
            iteration: of online training; in later ones the assistant writes none of them.
        """
        drawn = self.comparisons.sampling
        if iteration or self.comparisons.responder != "assistant":
            return drawn
        return drawn.under(self.models.of("assistant").sampling)

    @property
    def playing(self) -> tuple[ModelSettings, ...]:
        """The settings of every role and fallback, and of the further models that are measured."""
        contest = self.evaluation.contest
        return (*self.models.playing, *(contest.models.values() if contest else ()))

    @property
    def worded_refusals(self) -> frozenset[RoleName]:
        """Roles whose refusals are recognised by their wording too."""
        default = WORDING if self.models.fallback is not None else ()
        given = self.refusals.wording
        return frozenset(default if given is None else given)

    def limited(self, limit: int | None) -> Recipe:
        """The same recipe with all prompts, pairs and probes of the judge cut to `limit`."""
        if limit is None:
            return self

        def cut(sets: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(
                one.model_copy(update={"limit": min(one.limit or limit, limit)}) for one in sets
            )

        prompts = PromptSets(
            red_team=cut(self.prompts.red_team),
            helpful=cut(self.prompts.helpful),
            evaluation=cut(self.prompts.evaluation),
        )
        human = cut(self.comparisons.human)
        comparisons = self.comparisons.model_copy(update={"human": human})
        probes = {"label_probes": min(self.evaluation.label_probes, limit)}
        parts = {
            "prompts": prompts,
            "comparisons": comparisons,
            "evaluation": self.evaluation.with_gates_of(limit).model_copy(update=probes),
            "mix": self.mix.limited(limit),
        }
        return self.model_copy(update=parts)

    def measured_on(self, limit: int | None) -> Recipe:
        """The same recipe, its policies measured on at most `limit` prompts of each kind."""
        if limit is None:
            return self
        return self.model_copy(update={"evaluation": self.evaluation.limited(limit)})


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply ``a.b=value`` overrides (the value is read as YAML).

    Raises:
        InputError: the file or an override is wrong; every fault is listed.
    """
    document = read_document(path)
    note_keys(overrides)
    for override in overrides:
        override_field(document, override)
    refuse_keys(document)
    return _anchored(validate(document, Recipe), path.parent)


def with_settings(recipe: Recipe, overrides: Sequence[str], source: Path | str) -> Recipe:
    """A recipe with ``a.b=value`` overrides applied.

    Raises:
        InputError: the result is no recipe; the faults name `source`, where the overrides stand.
    """
    data = recipe.model_dump(mode="json", exclude_none=True)
    document = Document(Path(source), data, {})
    note_keys(overrides)
    for override in overrides:
        override_field(document, override, source)
    refuse_keys(document)
    return validate(document, Recipe)


def recipe_hash(recipe: Recipe) -> str:
    """Hash of all that a recipe says of the work, 16 hexadecimal digits; of files their names."""
    return digest(movable(recipe.model_dump(mode="json", exclude={"publication"})))[:16]


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as resolved: defaults filled in, readable by `load_recipe`."""
    write_whole(path, plain_text(recipe.model_dump(mode="json", exclude_none=True)))


def _anchored(recipe: Recipe, folder: Path) -> Recipe:
    """Resolve relative paths against the recipe's folder."""

    def anchor(one: Any) -> Any:
        return one.model_copy(update={"file": (folder / one.file).resolve()}) if one.file else one

    sets = {
        name: tuple(anchor(one) for one in getattr(recipe.prompts, name))
        for name in PromptSets.model_fields
    }
    updates: dict[str, Any] = {
        "prompts": recipe.prompts.model_copy(update=sets),
        "comparisons": recipe.comparisons.anchored(folder),
        "filters": recipe.filters.anchored(folder),
        "mix": recipe.mix.anchored(folder),
        "models": recipe.models.anchored(folder),
    }
    if recipe.preference_pretraining is not None:
        votes = {"votes": (folder / recipe.preference_pretraining.votes).resolve()}
        updates["preference_pretraining"] = recipe.preference_pretraining.model_copy(update=votes)
    evaluation = recipe.evaluation
    judged = {
        name: one.anchored(folder)
        for name in ("contest", "harmfulness", "verdicts")
        if (one := getattr(evaluation, name)) is not None
    }
    updates["evaluation"] = evaluation.model_copy(update=judged)
    if recipe.templates is not None:
        updates["templates"] = (folder / recipe.templates).resolve()
    if recipe.refusals.patterns is not None:
        patterns = (folder / recipe.refusals.patterns).resolve()
        updates["refusals"] = recipe.refusals.model_copy(update={"patterns": patterns})
    beside = folder / recipe.constitution
    if beside.is_file():
        updates["constitution"] = str(beside.resolve())
    return recipe.model_copy(update=updates)
