"""What travels beside the data: a run's constitution, templates and recipe, for other machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cai.constitution import load_constitution
from cai.errors import RunError
from cai.mix_settings import SftSource
from cai.movable import movable
from cai.pipeline.folder import RunFolder
from cai.pipeline.made_with import OWN_ENDPOINT, made_with, save_made_with
from cai.pipeline.templates import templates_of
from cai.recipe import Recipe, load_recipe, recipe_hash, save_recipe
from cai.sources.pairs import PairSet
from cai.sources.prompt_sets import PromptSet
from cai.stages.setting import Setting

RECIPE = """
name: demo
constitution: {constitution}
templates: {templates}
models:
  default: {{name: "openai:judge", endpoint: "{endpoint}"}}
  judge: {{name: "openai:judge", api: completions, family: completion, endpoint: "{endpoint}"}}
comparisons: {{label: {{frame: rlaif-detailed}}}}
prompts:
  red_team: [{{kind: harmful, file: {prompts}}}]
publication: {{license: cc-by-4.0}}
"""
CONSTITUTION = """
id: mine
extends: harmlessness
principles:
  - id: be-kind
    comparison: Which reply is kinder?
    rationale: Kindness helps.
"""


def setting_of(recipe: Recipe) -> Setting:
    constitution = load_constitution(recipe.constitution)
    return Setting(constitution, templates_of(recipe, constitution), recipe.seed)


def saved(tmp_path: Path, endpoint: str = "https://api.example.com/v1") -> tuple[Recipe, Path]:
    """A recipe with all that can be of its machine alone, and the folder that is kept of it."""
    mine = tmp_path / "mine"
    (mine / "chat").mkdir(parents=True)
    (mine / "chat" / "critique.j2").write_text(
        "{% user %}Why? {{ principle.critique }}{% enduser %}"
    )
    (tmp_path / "mine.yaml").write_text(CONSTITUTION)
    (tmp_path / "red.txt").write_text("Hello\n")
    names = {"constitution": "mine.yaml", "templates": "mine", "prompts": "red.txt"}
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(**names, endpoint=endpoint))
    recipe, folder = load_recipe(tmp_path / "recipe.yaml"), RunFolder(tmp_path / "run")
    folder.make()
    save_made_with(folder, recipe, setting_of(recipe))
    return recipe, folder.made_with


def test_constitution_and_templates_are_the_same_on_another_machine(tmp_path: Path):
    recipe, kept = saved(tmp_path)
    there = tmp_path / "elsewhere"
    shutil.move(kept, there)
    was = setting_of(recipe)
    for name in ("mine", "mine.yaml", "recipe.yaml"):
        path = tmp_path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    now = setting_of(load_recipe(there / "recipe.yaml"))

    assert now.constitution.hash == was.constitution.hash
    hashes = [
        {name: (one.family, one.hash) for name, one in setting.prompts.templates.items()}
        for setting in (was, now)
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8000/v1", "http://10.0.0.7/v1", "http://gpu-box:80/v1"]
)
def test_folders_and_servers_of_the_machine_are_not_in_it(tmp_path: Path, endpoint: str):
    _, kept = saved(tmp_path, endpoint)

    text = (kept / "recipe.yaml").read_text()
    assert str(tmp_path) not in text
    assert endpoint not in text and OWN_ENDPOINT in text


def test_a_public_server_stays_in_it(tmp_path: Path):
    _, kept = saved(tmp_path)

    assert "https://api.example.com/v1" in (kept / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("/home/anna/qwen", "qwen"),
        ("openai:/srv/models/qwen", "openai:qwen"),
        ("https://api.example.com/v1", "https://api.example.com/v1"),
        ("hf:org/model", "hf:org/model"),
        ({"stop": ["/", "/end"], "citation": "/x"}, {"stop": ["/", "/end"], "citation": "/x"}),
        ({"models": [{"name": "/srv/qwen"}]}, {"models": [{"name": "qwen"}]}),
    ],
    ids=str,
)
def test_folders_are_left_out_of_paths_and_texts_stay(value: Any, found: Any):
    assert movable(value) == found


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("openai:qwen@http://10.0.0.7:8000/v1", f"openai:qwen@{OWN_ENDPOINT}"),
        ("vllm:org/m@http://gpu.corp/v1&effort=low", f"vllm:org/m@{OWN_ENDPOINT}&effort=low"),
        ("openai:/srv/llama@https://llm.acme.com/v1", "openai:llama@https://llm.acme.com/v1"),
        ("openai:/srv/qwen@http://[fd00::7]/v1", f"openai:qwen@{OWN_ENDPOINT}"),
        ("anthropic:m@https://api.anthropic.com", "anthropic:m@https://api.anthropic.com"),
        ("langchain:ollama:m@10.0.0.7:11434", f"langchain:ollama:m@{OWN_ENDPOINT}"),
        ('langchain:x:/srv/m&options={"a":"b/c"}', 'langchain:x:m&options={"a":"b/c"}'),
        ("langchain:google:gemini@2026", "langchain:google:gemini@2026"),
    ],
)
def test_models_keep_their_names_and_lose_folders_and_own_servers(model: str, found: str):
    assert movable(model) == found
    assert movable(found) == found


def test_which_server_is_asked_makes_another_recipe(tmp_path: Path):
    one, _ = saved(tmp_path / "one", "http://10.0.0.7/v1")
    other, _ = saved(tmp_path / "other", "http://10.0.0.8/v1")

    assert recipe_hash(one) != recipe_hash(other)


def test_a_data_set_in_a_folder_is_called_by_its_last_part(tmp_path: Path):
    folder = str(tmp_path / "reds")

    prompts = PromptSet(dataset=folder, kind="harmful")
    mixed = SftSource(dataset=folder)

    assert (prompts.name, PairSet(dataset=folder).name, mixed.title) == ("reds", "reds", "reds")
    assert SftSource(dataset="org/reds").title == "org/reds"


def earlier_run(tmp_path: Path, constitution: str) -> RunFolder:
    """A run of a version that kept no copy."""
    recipe, kept = saved(tmp_path)
    shutil.rmtree(kept)
    folder, was = RunFolder(kept.parent), setting_of(recipe)
    save_recipe(recipe, folder.recipe)
    identity: dict[str, Any] = {
        "constitution": {"hash": constitution or was.constitution.hash},
        "templates": {name: one.hash for name, one in was.prompts.templates.items()},
    }
    folder.metrics.write_text(json.dumps({"run": identity}))
    return folder


def test_a_run_without_a_copy_gets_one_while_nothing_has_changed(tmp_path: Path):
    folder = earlier_run(tmp_path, constitution="")

    assert (made_with(folder) / "constitution.yaml").is_file()


def test_a_run_without_a_copy_of_a_constitution_that_has_changed_is_refused(tmp_path: Path):
    folder = earlier_run(tmp_path, constitution="another")

    with pytest.raises(RunError, match="its constitution changed since it was made"):
        made_with(folder)


def test_what_is_said_for_the_cards_alone_makes_no_other_recipe(tmp_path: Path):
    recipe, _ = saved(tmp_path)
    publication = recipe.publication.model_copy(update={"license": "mit"})

    assert recipe_hash(recipe.model_copy(update={"publication": publication})) == recipe_hash(
        recipe
    )
