"""Write the data sets of a run and train its models on them.

A data set is rewritten from the ledger every time (it costs seconds); a model is trained only if
the hash of what went into it has changed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cai.datasets.halves import write_halves
from cai.datasets.preferences import PreferencePlan, write_preferences
from cai.datasets.prompts import write_rl_prompts
from cai.datasets.ranked_pairs import write_ranked_pairs
from cai.datasets.sft import SftPlan, write_sft
from cai.pipeline.folder import ModelName
from cai.pipeline.ingredients import (
    distillation_context,
    distilled_ingredients,
    dpo_ingredients,
    inputs_of,
    preference_model_ingredients,
    pretraining_hash,
    rl_cai_ingredients,
    seeded,
    sl_cai_ingredients,
)
from cai.pipeline.mixing import pair_mix, sft_mix
from cai.pipeline.rated_training import RunRating, train_rated
from cai.pipeline.studio import Studio
from cai.records import digest
from cai.splits import Split
from trainers.fit import Report


def write_sft_data(studio: Studio) -> None:
    """Write ``datasets/sft``: the revisions, helpful replies (§3.2), and what is mixed in."""
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
        studio.filters.own_smallest,
    )
    mix = sft_mix(studio)
    studio.note_mixed("sft", write_sft(studio.ledger, studio.folder.dataset("sft"), plan, mix))


def write_preference_data(studio: Studio) -> None:
    """Write ``datasets/preferences``: AI labels, judged pairs (§4.2), and what is mixed in."""
    plan = PreferencePlan(
        studio.recipe.datasets.test_share,
        studio.recipe.pair_sampling().model_dump(mode="json"),
        {
            key: studio.recipe_for(key).pair_sampling(key.iteration).model_dump(mode="json")
            for key in studio.rows_with_settings
            if key.stage == "pair"
        },
        studio.filters.smallest,
        studio.iteration,
        studio.recipe.pair_sampling(studio.iteration).model_dump(mode="json"),
    )
    folder = studio.folder
    written = write_preferences(
        studio.ledger, folder.dataset("preferences"), plan, pair_mix(studio)
    )
    studio.note_mixed("preferences", written)
    if studio.recipe.datasets.preference_halves:
        pairs, halves = folder.dataset("preferences"), folder.dataset("preference_halves")
        write_halves(pairs / "train", halves, studio.filters.smallest)


def write_rl_data(studio: Studio) -> None:
    """Write ``datasets/rl``: the prompts that the policy answers in training (§4.2)."""
    prompts = (*studio.prompts("red_team"), *studio.prompts("helpful"))
    share, smallest = studio.recipe.datasets.test_share, studio.filters.smallest
    write_rl_prompts(prompts, studio.folder.dataset("rl"), share, smallest)


def write_rl_inputs(studio: Studio) -> None:
    """Write all that RL looks at: its prompts, and the pairs whose mean score it subtracts."""
    if studio.recipe.rl.reward.preference_model:
        write_preference_data(studio)
    write_rl_data(studio)


def train_sft(studio: Studio) -> None:
    """SL-CAI: the base model, finetuned on revisions and helpful replies (§3.2)."""
    from trainers.sft import train_sft as train

    of, out = sl_cai_ingredients(studio), studio.folder.model("sl_cai")
    report = studio.progress.training("train SL-CAI")
    train(of.models[0], of.data, out, of.settings, inputs=of.hash, report=report)


def train_distilled(studio: Studio) -> None:
    """The base model, without a context as a teacher is with one (HH-RLHF, A.1)."""
    from trainers.distill import train_distilled as train

    of, out = distilled_ingredients(studio), studio.folder.model("distilled")
    report, context = studio.progress.training("distil the context"), distillation_context(studio)
    train(of.models[0], of.data, out, of.settings, context, inputs=of.hash, report=report)


def train_preference_model(studio: Studio) -> None:
    """PM: from the SL-CAI model, on soft AI labels and judged helpfulness pairs (§4.2).

    Where the recipe halves the pairs, the test-PM too: from the same start, with the same settings.
    """
    _train_preference_model(studio, "pm", "train")
    if studio.recipe.datasets.preference_halves:
        _train_preference_model(studio, "pm_test", "test")


def _train_preference_model(studio: Studio, name: ModelName, half: Split) -> None:
    from trainers.preference_model import train_preference_model as train

    of, out = preference_model_ingredients(studio, half), studio.folder.model(name)
    start = of.models[0]
    if studio.recipe.preference_pretraining is not None and inputs_of(out) != of.hash:
        start = str(_pretrain_preference_model(studio, start))
    title = "train the preference model" if half == "train" else "train the test-PM"
    report = studio.progress.training(studio.titled(title))
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
    own, inputs = seeded(settings, studio), pretraining_hash(studio)
    train(base, data / "train", out, own, inputs=inputs, report=report)
    return out


def train_dpo(studio: Studio) -> None:
    """DPO: from the SL-CAI model, on the same pairs as the preference model."""
    from trainers.dpo import train_dpo as train

    of, out = dpo_ingredients(studio), studio.folder.model("dpo")
    report = studio.progress.training(studio.titled("train DPO"))
    train(of.models[0], of.data, out, of.settings, inputs=of.hash, report=report)


async def train_rl(studio: Studio) -> None:
    """RL-CAI: from the SL-CAI model, for what the recipe pays (§4.2)."""
    from trainers.reward import RewardSource
    from trainers.rl import train_rl as train
    from trainers.work_folder import WorkFolder

    write_rl_data(studio)
    of, out = rl_cai_ingredients(studio), studio.folder.model("rl_cai")
    policy, *preference_models = of.models
    judge, test_judge = (*preference_models, None, None)[:2]
    source = RewardSource(judge, of.held_out, test_preference_model=test_judge)
    inputs = of.hash

    def work(rating: RunRating | None, report: Report) -> None:
        rated = replace(source, rating=rating)
        train(policy, rated, of.data, out, of.settings, inputs=inputs, report=report)

    report = studio.progress.training(studio.titled("train RL-CAI"))
    if not studio.recipe.rl.reward.rating:
        work(None, report)
        return
    place = WorkFolder(out, inputs)
    if place.finished() is None:
        await train_rated(studio, work, report, anew=not place.is_begun())
