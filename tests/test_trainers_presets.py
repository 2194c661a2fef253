"""The papers' settings by name: what they set, what wins over them, and what they need."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cai.errors import InputError
from cai.recipe import load_recipe, save_recipe
from trainers.presets import PREFERENCE_MODEL, SFT, told
from trainers.settings import PreferenceModelSettings, SftSettings

RATE = {"pretraining_learning_rate": 2e-4}


def test_sft_of_the_cai_paper_is_one_epoch_at_half_the_rate_of_pretraining():
    settings = SftSettings(preset="cai", **RATE)

    assert (settings.epochs, settings.batch_size, settings.scheduler) == (1, 1024, "constant")
    assert settings.learning_rate == pytest.approx(1e-4)
    assert settings.warmup == 0


def test_sft_of_rlaif_has_a_rate_of_its_own():
    settings = SftSettings(preset="rlaif")

    assert (settings.optimizer, settings.learning_rate) == ("adafactor", 1e-5)
    assert (settings.batch_size, settings.max_length) == (128, 1152)


def test_the_preference_model_of_hh_rlhf_learns_at_a_hundredth_of_that_rate():
    settings = PreferenceModelSettings(preset="hh_rlhf", **RATE)

    assert settings.learning_rate == pytest.approx(2e-6)
    assert (settings.epochs, settings.max_length) == (1, 1024)


def test_what_is_given_wins():
    settings = SftSettings(preset="cai", batch_size=32, learning_rate=1e-3)

    assert (settings.batch_size, settings.learning_rate) == (32, 1e-3)


def test_a_share_of_an_unknown_rate_is_refused():
    with pytest.raises(ValidationError, match="give that as pretraining_learning_rate"):
        SftSettings(preset="cai")


def test_an_unknown_preset_is_told_with_those_that_there_are():
    with pytest.raises(ValidationError, match="preset must be one of cai, rlaif; met 'gpt'"):
        SftSettings(preset="gpt")


@pytest.mark.parametrize("name", SFT)
def test_every_preset_of_sft_can_be_set(name: str):
    assert SftSettings(preset=name, **RATE).preset == name


@pytest.mark.parametrize("name", PREFERENCE_MODEL)
def test_every_preset_of_the_preference_model_can_be_set(name: str):
    assert PreferenceModelSettings(preset=name, **RATE).preset == name


def test_what_a_preset_sets_can_be_read():
    assert told(SFT).startswith(
        "preset cai (Bai et al. (2022), §3.2): learning_rate = 0.5 × pretraining_learning_rate, "
        "epochs = 1.0, scheduler = constant"
    )


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
