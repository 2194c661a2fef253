"""A run's folder as `cai run` leaves it, in small: data, what it was made with, figures, cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cai.constitution import load_constitution
from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.datasets.sft import sft_features
from cai.pipeline.folder import RunFolder
from cai.pipeline.made_with import save_made_with
from cai.pipeline.templates import templates_of
from cai.recipe import load_recipe, save_recipe
from cai.stages.setting import Setting

RECIPE = Path(__file__).parents[1] / "examples" / "microworld.yaml"


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def published_run(
    folder: Path, license: str | None = "cc-by-4.0", said: str = "hello", **columns: Any
) -> Path:
    """Write the folder.

    Args:
        folder: of the run.
        license: that its recipe states.
        said: a reply that is in the data.
        columns: of every row, in place of what stands here or is empty.
    """
    overrides = [] if license is None else [f"publication.license={license}"]
    recipe, run = load_recipe(RECIPE, overrides), RunFolder(folder)
    run.make()
    constitution = load_constitution(recipe.constitution)
    save_recipe(recipe, run.recipe)
    save_made_with(run, recipe, Setting(constitution, templates_of(recipe, constitution)))
    about: dict[str, Any] = {
        "prompt_id": "id",
        "source": "red.jsonl",
        "kind": "harmful",
        "model": "m",
    }
    about |= columns
    asked = [turn("user", "hi")]
    learned = {**about, "messages": [*asked, turn("assistant", said)], "origin": "revision"}
    SplitWriter(run.dataset("sft"), sft_features()).write([("train", learned), ("test", learned)])
    replies = {"chosen": [turn("assistant", "good")], "rejected": [turn("assistant", "bad")]}
    pair = {**about, **replies, "prompt": asked, "p_chosen": 0.75, "source": "ai"}
    SplitWriter(run.dataset("preferences"), preference_features()).write([("train", pair)])
    run.write_metrics({"run": identity(license), "rows": {}, "left_out": {}, "filtered": {}})
    run.ledger.touch()
    run.log.write_text(json.dumps({"event": "started"}))
    return folder


def identity(license: str | None) -> dict[str, Any]:
    return {
        "name": "demo",
        "seed": 0,
        "recipe_hash": "ab12",
        "constitution": {"id": "microworld", "hash": "cd34", "title": None, "principles": {}},
        "language": "en",
        "publication": {"license": license, "sources": {}, "citation": None},
    }
