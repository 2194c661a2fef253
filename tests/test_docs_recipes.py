"""The pieces of recipes on the pages are what a recipe takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cai.constitution.schema import Constitution
from cai.recipe import load_recipe
from docs.pages import ROOT, blocks, pages

YAMLS = YAML(typ="safe", pure=True)

BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in pages()
    for number, block in enumerate(blocks(page, "yaml"))
    if not YAMLS.load(block).keys() <= Constitution.model_fields.keys()
]
"""All but those of constitutions, which `test_docs_constitution` reads whole."""

RECIPE = {
    "name": "page",
    "constitution": "harmlessness",
    "models": {"default": "microworld"},
    "prompts": {
        "red_team": [{"microworld": "train", "kind": "harmful", "limit": 2}],
        "helpful": [{"microworld": "train", "kind": "harmless", "limit": 2}],
    },
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_piece_of_a_recipe_is_valid_within_a_whole_one(block: str, tmp_path: Path):
    said: dict[str, Any] = YAMLS.load(block)
    path = tmp_path / "page.yaml"
    YAMLS.dump(_with_prompts(RECIPE | said), path)

    read = load_recipe(path)

    assert [name for name in said if getattr(read, name) is None] == []


def _with_prompts(recipe: dict[str, Any]) -> dict[str, Any]:
    """Prompts of a page that shows some other kind of them."""
    return recipe | {"prompts": {"red_team": []} | recipe["prompts"]}
