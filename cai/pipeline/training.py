"""Write the data sets of a run and train its models on them.

A data set is rewritten from the ledger every time (it costs seconds); a model is trained only if
the hash of what went into it has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from cai.datasets.parquet import file_hash
from cai.datasets.preferences import PreferencePlan, write_preferences
from cai.datasets.prompts import write_rl_prompts
from cai.datasets.ranked_pairs import write_ranked_pairs
from cai.datasets.sft import SftPlan, write_sft
from cai.errors import CaiError
from cai.models import ModelSettings, local_path
from cai.models.weights import folder_or_hub
from cai.pipeline.studio import Studio
from cai.records import digest
from trainers.settings import (
    DpoSettings,
    PreferenceModelSettings,
    RlSettings,
    SftSettings,
    TrainingSettings,
)
from trainers.work_folder import read_record

Settings = TypeVar("Settings", bound=TrainingSettings)


def write_sft_data(studio: Studio) -> None:
    """Write ``datasets/sft``: the revisions with the helpful replies (§3.2)."""
    settings = studio.recipe.datasets
    templates = studio.setting.prompts.templates
    provenance = {
        "constitution": studio.setting.constitution.hash,
        "template": digest([templates[name].hash for name in ("respond", "critique", "revise")]),
        "seed": studio.recipe.seed,
    }
    plan = SftPlan(
        settings.revisions,
        settings.test_share,
        provenance,
        settings.sft_share,
        studio.filters.smallest,
        settings.helpful_ratio,
    )
    written = write_sft(studio.ledger, studio.folder.dataset("sft"), plan)
    studio.note_left_out("SFT data", written.left_out)


def write_preference_data(studio: Studio) -> None:
    """Write ``datasets/preferences``: the AI labels and the judged pairs (§4.2)."""
    plan = PreferencePlan(
        studio.recipe.datasets.test_share,
        studio.recipe.pair_sampling.model_dump(mode="json"),
        {
            key: studio.recipe_for(key).pair_sampling.model_dump(mode="json")
            for key in studio.rows_with_settings
            if key.stage == "pair"
        },
        studio.filters.smallest,
    )
    write_preferences(studio.ledger, studio.folder.dataset("preferences"), plan)


def write_rl_data(studio: Studio) -> None:
    """Write ``datasets/rl``: the prompts that the policy answers in training (§4.2)."""
    prompts = (*studio.prompts("red_team"), *studio.prompts("helpful"))
    share, smallest = studio.recipe.datasets.test_share, studio.filters.smallest
    write_rl_prompts(prompts, studio.folder.dataset("rl"), share, smallest)


def write_rl_inputs(studio: Studio) -> None:
    """Write all that RL looks at: its prompts, and the pairs whose mean score it subtracts."""
    write_preference_data(studio)
    write_rl_data(studio)


@dataclass(frozen=True)
class Ingredients(Generic[Settings]):
    """What a model is made of.

    Args:
        data: the rows it learns from.
        models: what it starts from.
        settings: the recipe's section, with the run's seed.
        held_out: rows that it does not learn from, but looks at; None for none.
        before: hash of an earlier stage of the same model; empty if it has none.
    """

    data: Path
    models: list[str]
    settings: Settings
    held_out: Path | None = None
    before: str = ""

    @property
    def hash(self) -> str:
        """Hash of all of them; files by their content."""
        from trainers.command import input_hash

        own = input_hash(self.data, self.models, self.settings, self.held_out)
        return digest([own, self.before]) if self.before else own


def sl_cai_ingredients(studio: Studio) -> Ingredients[SftSettings]:
    """What SL-CAI is made of."""
    data = studio.folder.dataset("sft") / "train"
    base = _whole_weights(studio.recipe.models.of("base"))
    return Ingredients(data, [base], _seeded(studio.recipe.sft, studio))


def preference_model_ingredients(studio: Studio) -> Ingredients[PreferenceModelSettings]:
    """What the preference model is made of: SL-CAI, or a base pretrained on ranked pairs."""
    data, settings = studio.folder.dataset("preferences") / "train", studio.recipe.preference_model
    base = str(studio.folder.model("sl_cai"))
    of = Ingredients(data, [base], _seeded(settings, studio))
    if studio.recipe.preference_pretraining is None:
        return of
    start = _whole_weights(studio.recipe.models.of("base"))
    return replace(of, models=[start], before=_pretraining_hash(studio))


def dpo_ingredients(studio: Studio) -> Ingredients[DpoSettings]:
    """What the policy of DPO is made of: the same as the preference model."""
    data, base = studio.folder.dataset("preferences") / "train", studio.folder.model("sl_cai")
    return Ingredients(data, [str(base)], _seeded(studio.recipe.dpo, studio))


def rl_cai_ingredients(studio: Studio) -> Ingredients[RlSettings]:
    """What RL-CAI is made of."""
    data, folder = studio.folder.dataset("rl") / "train", studio.folder
    models = [str(folder.model("sl_cai")), str(folder.model("pm"))]
    held_out = folder.dataset("preferences") / "test"
    return Ingredients(data, models, _seeded(studio.recipe.rl, studio), held_out)


def train_sft(studio: Studio) -> None:
    """SL-CAI: the base model, finetuned on revisions and helpful replies (§3.2)."""
    from trainers.sft import train_sft as train

    of, out = sl_cai_ingredients(studio), studio.folder.model("sl_cai")
    report = studio.progress.training("train SL-CAI")
    train(of.models[0], of.data, out, of.settings, inputs=of.hash, report=report)


def train_preference_model(studio: Studio) -> None:
    """PM: from the SL-CAI model, on soft AI labels and judged helpfulness pairs (§4.2)."""
    from trainers.preference_model import train_preference_model as train

    of, out = preference_model_ingredients(studio), studio.folder.model("pm")
    start = of.models[0]
    if studio.recipe.preference_pretraining is not None and inputs_of(out) != of.hash:
        start = str(_pretrain_preference_model(studio, start))
    report = studio.progress.training("train the preference model")
    train(start, of.data, out, of.settings, inputs=of.hash, report=report)


def _pretrain_preference_model(studio: Studio, base: str) -> Path:
    """The base model, pretrained on answers that people have voted on (HH-RLHF, A.2)."""
    from trainers.preference_model import train_preference_model as train

    settings = studio.recipe.preference_pretraining
    assert settings is not None, "asked for by a recipe that has it"
    data, out = (
        studio.folder.dataset("preference_pretraining"),
        studio.folder.pretrained_preference_model,
    )
    left_out = write_ranked_pairs(settings.votes, data, settings.pairs_per_question)
    studio.note_left_out("ranked pairs", left_out)
    report = studio.progress.training("pretrain the preference model")
    seeded, inputs = _seeded(settings, studio), _pretraining_hash(studio)
    train(base, data / "train", out, seeded, inputs=inputs, report=report)
    return out


def _pretraining_hash(studio: Studio) -> str:
    """Hash of what the pretraining is made of; the votes by their content, not their place."""
    from trainers.fit import model_digest

    settings = studio.recipe.preference_pretraining
    assert settings is not None, "asked for by a recipe that has it"
    base = model_digest(_whole_weights(studio.recipe.models.of("base")))
    seeded = _seeded(settings, studio).model_dump(mode="json", exclude={"votes"})
    return digest([base, file_hash(settings.votes), seeded])


def train_dpo(studio: Studio) -> None:
    """DPO: from the SL-CAI model, on the same pairs as the preference model."""
    from trainers.dpo import train_dpo as train

    of, out = dpo_ingredients(studio), studio.folder.model("dpo")
    report = studio.progress.training("train DPO")
    train(of.models[0], of.data, out, of.settings, inputs=of.hash, report=report)


def train_rl(studio: Studio) -> None:
    """RL-CAI: from the SL-CAI model, against the preference model (§4.2)."""
    from trainers.reward import RewardSource
    from trainers.rl import train_rl as train

    write_rl_data(studio)
    of, out = rl_cai_ingredients(studio), studio.folder.model("rl_cai")
    report = studio.progress.training("train RL-CAI")
    policy, judge = of.models
    source = RewardSource(judge, of.held_out)
    train(policy, source, of.data, out, of.settings, inputs=of.hash, report=report)


def inputs_of(model: Path) -> str | None:
    """Hash of the ingredients that a model was trained from; None if there is no such model.

    Raises:
        RunError: the record of its training is no JSON.
    """
    record = read_record(model)
    return None if record is None else record.get("inputs")


def policy_settings(path: Path, like: ModelSettings) -> ModelSettings:
    """Settings of a trained policy: as those it started from, with its own weights.

    It is measured and sampled as the recipe's stages say, whatever a role's sampling and
    family. An adapter is served on the model that it was trained on.
    """
    from trainers.adapters import adapter_base

    base = adapter_base(path)
    name = policy_name(path) if base is None else folder_or_hub(base)
    adapter = None if base is None else policy_name(path)
    own = {"name": name, "adapter": adapter}
    none = dict.fromkeys(("sampling", "family", "quantization"))
    return like.model_copy(update={**none, **own})


def policy_name(path: Path) -> str:
    """How settings name the policy in a folder."""
    return str(path.resolve())


def _whole_weights(base: ModelSettings) -> str:
    """What the trainers call the base model.

    Raises:
        CaiError: it is not the weights alone, which is all that the trainers read.
    """
    given = [option for option in ("adapter", "quantization") if getattr(base, option)]
    if given:
        raise CaiError(
            f"models.base: training starts from {base.name} without {' or '.join(given)}, so its "
            "replies would be another model's; merge the adapter into a folder and name that, or "
            "give models.base its own settings"
        )
    return local_path(base.name)


def _seeded(settings: Settings, studio: Studio) -> Settings:
    """The settings with the run's seed added to their own."""
    return settings.model_copy(update={"seed": settings.seed + studio.recipe.seed})
