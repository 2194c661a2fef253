"""The papers' settings by name: what they set, what wins over them, and what they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from cai.errors import InputError
from cai.recipe import load_recipe, save_recipe
from trainers.presets import (
    DISTILLATION,
    PREFERENCE_MODEL,
    PREFERENCE_PRETRAINING,
    SFT,
    Preset,
    told,
)
from trainers.settings import (
    DistillationSettings,
    EpochSettings,
    PreferenceModelSettings,
    PreferencePretrainingSettings,
    SftSettings,
)

RATE = {"pretraining_learning_rate": 2e-4}
SECTIONS: dict[str, tuple[type[EpochSettings], Mapping[str, Preset]]] = {
    "sft": (SftSettings, SFT),
    "preference_model": (PreferenceModelSettings, PREFERENCE_MODEL),
    "preference_pretraining": (PreferencePretrainingSettings, PREFERENCE_PRETRAINING),
    "distillation": (DistillationSettings, DISTILLATION),
}
ADAFACTOR = {"optimizer": "adafactor", "learning_rate": 1e-5, "max_length": 1152}
A_HUNDREDTH = {"optimizer": "adamw", "learning_rate": 2e-6, "epochs": 1}

PAPERS: dict[tuple[str, str], dict[str, Any]] = {
    # Bai et al. (2022), §3.2: half the rate of pretraining, constant.
    ("sft", "cai"): {"learning_rate": 1e-4, "scheduler": "constant", "warmup": 0}
    | {"epochs": 1, "batch_size": 1024, "learned": "last_reply"},
    # §4.2: as HH-RLHF.
    ("preference_model", "cai"): A_HUNDREDTH | {"max_length": 1024},
    # Bai et al. (2022b), A.2 and §4.5, A.1.
    ("preference_model", "hh_rlhf"): A_HUNDREDTH | {"max_length": 1024},
    ("preference_model", "hh_rlhf_online"): A_HUNDREDTH | {"max_length": 2048},
    ("preference_pretraining", "hh_rlhf"): {"learning_rate": 2e-5, "epochs": 1, "max_length": 1024},
    ("distillation", "hh_rlhf"): {"learning_rate": 1e-5, "scheduler": "linear", "warmup": 0}
    | {"epochs": 1, "batch_size": 32, "top_k": 50},
    # Lee et al. (2023), App. G.
    ("sft", "rlaif"): ADAFACTOR | {"batch_size": 128, "epochs": 1},
    ("preference_model", "rlaif_summaries"): ADAFACTOR | {"batch_size": 128, "epochs": 3},
    ("preference_model", "rlaif_dialogue"): ADAFACTOR | {"batch_size": 32, "epochs": 3},
}
"""What the papers state, at the rate of pretraining above."""


@pytest.mark.parametrize(("section", "name"), PAPERS)
def test_a_preset_sets_what_its_paper_states(section: str, name: str):
    given = {"votes": "answers.jsonl"} if section == "preference_pretraining" else {}

    settings = SECTIONS[section][0](preset=name, **given, **({} if "rlaif" in name else RATE))

    stated = PAPERS[section, name]
    found = {field: getattr(settings, field) for field in stated}
    assert found == {
        field: pytest.approx(value) if isinstance(value, float) else value
        for field, value in stated.items()
    }


def test_every_preset_is_held_against_its_paper():
    assert set(PAPERS) == {
        (section, name) for section, (_, presets) in SECTIONS.items() for name in presets
    }


def test_what_is_given_wins():
    settings = SftSettings(preset="cai", batch_size=32, learning_rate=1e-3)

    assert (settings.batch_size, settings.learning_rate) == (32, 1e-3)


def test_a_share_of_an_unknown_rate_is_refused():
    with pytest.raises(ValidationError, match="give that as pretraining_learning_rate"):
        SftSettings(preset="cai")


def test_an_unknown_preset_is_told_with_those_that_there_are():
    with pytest.raises(ValidationError, match="preset must be one of cai, rlaif; met 'gpt'"):
        SftSettings(preset="gpt")


def test_what_a_preset_sets_can_be_read():
    assert told(SFT).startswith(
        "preset cai (Bai et al. (2022), §3.2): learning_rate = 0.5 × pretraining_learning_rate, "
        "epochs = 1.0, scheduler = constant"
    )


def test_what_a_paper_says_nothing_of_is_told_to_be_ours():
    assert "scheduler = constant (ours), warmup = 0.0 (ours)" in told(PREFERENCE_PRETRAINING)
    assert "(ours)" not in told(SFT) + told(DISTILLATION)


def test_a_recipe_with_a_preset_reads_the_same_once_saved(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "name: one\nconstitution: harmlessness\nmodels: {default: microworld}\n"
        "prompts: {red_team: [{microworld: train, kind: harmful, limit: 1}]}\n"
        "sft: {preset: cai, pretraining_learning_rate: 0.0002, batch_size: 8}\n"
    )
    recipe = load_recipe(file)

    save_recipe(recipe, tmp_path / "saved.yaml")

    assert load_recipe(tmp_path / "saved.yaml").sft == recipe.sft


def test_a_wrong_preset_in_a_recipe_is_named_by_its_place(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "name: one\nconstitution: harmlessness\nmodels: {default: microworld}\n"
        "prompts: {red_team: [{microworld: train, kind: harmful, limit: 1}]}\n"
        "sft:\n  preset: cai\n"
    )

    with pytest.raises(InputError, match=r"line 5: sft: preset cai has a learning"):
        load_recipe(file)
