"""Write the data sets of a run and train its models on them.

A data set is rewritten from the ledger every time (it costs seconds); a model is trained only if
the hash of what went into it has changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from cai.datasets.preferences import PreferencePlan, write_preferences
from cai.datasets.prompts import write_rl_prompts
from cai.datasets.sft import SftPlan, write_sft
from cai.models import ModelSettings, local_path
from cai.pipeline.studio import Studio
from cai.records import digest
from trainers.settings import TrainingSettings

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
    plan = SftPlan(settings.revisions, settings.test_share, provenance)
    write_sft(studio.ledger, studio.folder.dataset("sft"), plan)


def write_preference_data(studio: Studio) -> None:
    """Write ``datasets/preferences``: the AI labels and the judged pairs (§4.2)."""
    plan = PreferencePlan(
        studio.recipe.datasets.test_share,
        studio.recipe.comparisons.sampling.model_dump(mode="json"),
        {
            key: studio.recipe_for(key).comparisons.sampling.model_dump(mode="json")
            for key in studio.rows_with_settings
            if key.stage == "pair"
        },
    )
    write_preferences(studio.ledger, studio.folder.dataset("preferences"), plan)


def train_sft(studio: Studio) -> None:
    """SL-CAI: the base model, finetuned on revisions and helpful replies (§3.2)."""
    from trainers.command import input_hash
    from trainers.sft import train_sft as train

    settings, folder = _seeded(studio.recipe.sft, studio), studio.folder
    data, base = folder.dataset("sft") / "train", local_path(studio.recipe.models.of("base").name)
    inputs = input_hash(data, [base], settings)
    report = studio.progress.training("train SL-CAI")
    train(base, data, folder.model("sl_cai"), settings, inputs=inputs, report=report)


def train_preference_model(studio: Studio) -> None:
    """PM: from the SL-CAI model, on soft AI labels and judged helpfulness pairs (§4.2)."""
    from trainers.command import input_hash
    from trainers.preference_model import train_preference_model as train

    settings, folder = _seeded(studio.recipe.preference_model, studio), studio.folder
    data, base = folder.dataset("preferences") / "train", str(folder.model("sl_cai"))
    inputs = input_hash(data, [base], settings)
    report = studio.progress.training("train the preference model")
    train(base, data, folder.model("pm"), settings, inputs=inputs, report=report)


def train_rl(studio: Studio) -> None:
    """RL-CAI: from the SL-CAI model, against the preference model (§4.2)."""
    from trainers.command import input_hash
    from trainers.rl import train_rl as train

    settings, folder = _seeded(studio.recipe.rl, studio), studio.folder
    data, policy, judge = folder.dataset("rl"), folder.model("sl_cai"), folder.model("pm")
    prompts = (*studio.prompts("red_team"), *studio.prompts("helpful"))
    write_rl_prompts(prompts, data, studio.recipe.datasets.test_share)
    train(
        str(policy),
        judge,
        data / "train",
        folder.model("rl_cai"),
        settings,
        inputs=input_hash(data / "train", [str(policy), str(judge)], settings),
        report=studio.progress.training("train RL-CAI"),
    )


def policy_settings(path: Path, like: ModelSettings) -> ModelSettings:
    """Settings of a trained policy: as those it started from, with its own weights."""
    return like.model_copy(update={"name": str(path.resolve())})


def _seeded(settings: Settings, studio: Studio) -> Settings:
    """The settings with the run's seed added to their own."""
    return settings.model_copy(update={"seed": settings.seed + studio.recipe.seed})
