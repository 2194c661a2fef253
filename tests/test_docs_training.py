"""The page on training: its settings are settings, and it names every preset."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cai.recipe import load_recipe
from trainers.presets import PREFERENCE_MODEL, PREFERENCE_PRETRAINING, SFT

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

REST = """
name: small
constitution: harmlessness
models: {default: microworld}
prompts: {red_team: [{microworld: train, kind: harmful, limit: 1}]}
"""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.partition(":")[0])
def test_every_block_of_settings_is_one_that_a_recipe_takes(block: str, tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(REST + block)

    assert load_recipe(tmp_path / "recipe.yaml").name == "small"


@pytest.mark.parametrize("name", sorted({*SFT, *PREFERENCE_MODEL, *PREFERENCE_PRETRAINING}))
def test_every_preset_is_named(name: str):
    assert f"`{name}`" in PAGE
