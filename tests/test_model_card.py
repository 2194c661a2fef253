"""The card of a trained model: made of its record, and of what its run has measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from cai.card import read_head
from cai.datasets.parquet import file_hash
from cai.microworld import MODEL
from cai.pipeline.folder import RunFolder
from cai.pipeline.model_cards import write_model_cards
from cai.records import digest
from tests.trainers_support import SHORT, assistant, user, write
from trainers.adapters import merge_adapter
from trainers.card import RunFacts, root_license, write_model_card
from trainers.preference_model import train_preference_model
from trainers.settings import PreferenceModelSettings, SftSettings
from trainers.sft import train_sft
from trainers.work_folder import read_record

RECORD: dict[str, Any] = {
    "kind": "rl",
    "models": {"policy": {"name": "ORG/policy", "digest": "ab12"}},
    "data": {"name": "rl/train", "hash": "cd34"},
    "rows": 1806,
    "dropped": {"prompt is <b>long</b>": 3},
    "truncated": 0,
    "settings": {"beta": 0.1},
    "metrics": {"reward": 1.61511},
    "versions": {"trl": "1.16.0"},
}
FACTS = RunFacts("demo", {"recipe": "ef56"}, [("Helpful", "99%", "98.0–99.9", "400")], "Of 400.")


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    rows = [{"messages": [user(f"Question {n}"), assistant("Yes.")]} for n in range(24)]
    return write(tmp_path / "chats", rows)


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_a_training_leaves_a_card_beside_the_model(tiny_model: Path, chats: Path, tmp_path: Path):
    train_sft(str(tiny_model), chats, tmp_path / "mine", SftSettings(**SHORT), inputs="a")

    head, text = read_head(tmp_path / "mine"), card_of(tmp_path / "mine")
    assert head == {
        "base_model": tiny_model.name,
        "datasets": [f"{tmp_path.name}-chats"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["constitutional-ai", "trl", "sft"],
    }
    assert ModelCard.load(tmp_path / "mine" / "README.md").data.library_name == "transformers"
    assert "# mine\n" in text
    assert digest([file_hash(chats / "data.parquet")]) in text
    assert "| max\\_steps | 3 |" in text
    assert str(tmp_path.parent) not in text


def test_the_card_of_a_preference_model_says_what_its_output_is(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    settings = PreferenceModelSettings(**SHORT)
    train_preference_model(str(tiny_model), pairs, tmp_path / "pm", settings, inputs="a")

    assert read_head(tmp_path / "pm")["pipeline_tag"] == "text-classification"
    assert "σ(r_a − r_b)" in card_of(tmp_path / "pm")


def test_an_adapter_says_that_it_is_one_until_it_is_merged(
    tiny_model: Path, chats: Path, tmp_path: Path
):
    settings = SftSettings(**SHORT, lora={"rank": 2, "merge": False})
    train_sft(str(tiny_model), chats, tmp_path / "adapter", settings, inputs="a")

    merge_adapter(tmp_path / "adapter", tmp_path / "merged")

    assert read_head(tmp_path / "adapter")["library_name"] == "peft"
    assert read_head(tmp_path / "merged")["library_name"] == "transformers"
    assert "# merged\n" in card_of(tmp_path / "merged")


def test_text_of_rows_and_models_is_no_markup(tmp_path: Path):
    write_model_card(tmp_path, "rl|cai", RECORD)

    assert "# rl\\|cai\n" in card_of(tmp_path)
    assert "\\<b\\>long" in card_of(tmp_path)


def test_a_run_says_what_it_has_measured(tmp_path: Path):
    write_model_card(tmp_path, "rl_cai", RECORD)
    assert "Nothing yet beside its training." in card_of(tmp_path)

    write_model_card(tmp_path, "rl_cai", RECORD, FACTS)

    assert "| Helpful | 99% | 98.0–99.9 | 400 |\n\nOf 400." in card_of(tmp_path)
    assert "Nothing yet" not in card_of(tmp_path)
    assert read_head(tmp_path)["datasets"] == ["demo-rl-train"]


def test_the_base_is_the_model_at_the_root_and_its_licence_is_kept(tmp_path: Path):
    base, middle = tmp_path / "base", tmp_path / "sl_cai"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# Base\n")
    middle.mkdir()
    record = {**RECORD, "models": {"base": {"name": str(base), "digest": "1"}}}
    (middle / "training.json").write_text(json.dumps(record))
    last = {**RECORD, "models": {"policy": {"name": str(middle), "digest": "2"}}}

    write_model_card(tmp_path, "rl_cai", last)

    assert read_head(tmp_path)["base_model"] == "base"
    assert read_head(tmp_path)["license"] == "apache-2.0"


def test_what_is_made_of_the_shipped_model_has_the_licence_of_the_package(tmp_path: Path):
    record = {**RECORD, "models": {"base": {"name": str(MODEL), "digest": "1"}}}

    write_model_card(tmp_path, "sl_cai", record)

    assert read_head(tmp_path)["base_model"] == "microworld"
    assert read_head(tmp_path)["license"] == "apache-2.0"


@pytest.mark.parametrize(
    "card",
    [
        b"---\nlicense: [\n---\n",
        "---\nlicense: mit\n---\nGemäß".encode("latin-1"),
        b"---\nlicense: " + b"[" * 3000 + b"\n---\n",
        b"---\ndate: 2026-02-31\n---\n",
    ],
    ids=["no YAML", "no UTF-8", "brackets without end", "no day"],
)
def test_a_head_that_cannot_be_read_says_nothing(tmp_path: Path, card: bytes):
    (tmp_path / "README.md").write_bytes(card)

    assert read_head(tmp_path) == {}


@pytest.mark.parametrize("license", ["[mit, other]", "{name: mit}", "1"])
def test_a_licence_that_is_no_text_is_not_passed_on(tmp_path: Path, license: str):
    (tmp_path / "README.md").write_text(f"---\nlicense: {license}\n---\n")

    assert root_license(str(tmp_path)) is None


def test_each_model_of_a_run_gets_its_own_figures(tmp_path: Path):
    folder = RunFolder(tmp_path)
    for name in ("sl_cai", "pm", "pm_pretraining"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "training.json").write_text(json.dumps(RECORD))
    share = {"value": 0.0325, "low": 0.019, "high": 0.055, "n": 400}
    run = {"name": "demo", "seed": 3, "recipe_hash": "ab", "command": "cai run x.yaml"}
    constitution = {"id": "kind", "hash": "cd", "title": None}
    metrics = {
        "run": {**run, "constitution": constitution},
        "stages": {"sl_cai": {"harmful_compliance": share}},
        "pm": {"accuracy": {**share, "value": 0.9}},
    }

    write_model_cards(folder, metrics)

    sl_cai, pm, before = (
        card_of(tmp_path / "models" / name) for name in ("sl_cai", "pm", "pm_pretraining")
    )
    assert re.search(r"Harmful compliance, by rule .* \| 3\.2% \| 1\.9–5\.5 \| 400 \|", sl_cai)
    assert "| Accuracy | 90% |" in pm and "Harmful" not in pm
    assert "Nothing yet" in before
    assert "| command | cai run x.yaml |" in sl_cai


def test_a_later_iteration_has_figures_of_its_own(tmp_path: Path):
    folder = RunFolder(tmp_path)
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
    for iteration in (0, 1):
        model = folder.at(iteration).model("rl_cai")
        model.mkdir(parents=True)
        (model / "training.json").write_text(json.dumps(RECORD))
    folder.recipe.write_text("iterations: 2\n")
    rates = {"rl_cai": share, "rl_cai_1": {**share, "value": 0.25}}
    metrics = {
        "run": {"name": "demo"},
        "stages": {name: {"helpfulness": rate} for name, rate in rates.items()},
        "iterations": [{"iteration": n, "pairs": 9} for n in (0, 1)],
    }

    write_model_cards(folder, metrics)

    first, second = (card_of(folder.at(one).model("rl_cai")) for one in (0, 1))
    assert "| 50% |" in first
    assert "| 25% |" in second and "iteration-1/rl\\_cai of the run demo" in second


def test_a_model_keeps_what_made_it_when_its_run_gets_another_recipe(tmp_path: Path):
    model = tmp_path / "models" / "sl_cai"
    model.mkdir(parents=True)
    (model / "training.json").write_text(json.dumps(RECORD))
    run = {"name": "demo", "recipe_hash": "ab12", "constitution": {"id": "kind", "hash": "cd34"}}

    write_model_cards(RunFolder(tmp_path), {"run": run})
    write_model_cards(RunFolder(tmp_path), {"run": {**run, "recipe_hash": "ef56"}})

    assert "| recipe | ab12 |" in card_of(model)
    assert read_record(model) == {**RECORD, "made_by": read_record(model)["made_by"]}


def test_no_folder_of_the_machine_is_on_a_card(tmp_path: Path):
    model = tmp_path / "models" / "sl_cai"
    model.mkdir(parents=True)
    settings = {"reward": {"model": "/home/anna/pm", "stop": ["/"]}}
    (model / "training.json").write_text(json.dumps({**RECORD, "settings": settings}))
    command = "cai run x.yaml --run=/home/anna/x --set models.default.name=/home/anna/qwen"

    write_model_cards(RunFolder(tmp_path), {"run": {"name": "demo", "command": command}})

    card = card_of(model)
    assert "anna" not in card
    assert "cai run x.yaml --run=x --set models.default.name=qwen" in card
    assert '"stop":\\["/"\\]' in card


def test_no_server_of_an_own_network_is_on_a_card(tmp_path: Path):
    model = tmp_path / "models" / "sl_cai"
    model.mkdir(parents=True)
    (model / "training.json").write_text(json.dumps(RECORD))
    command = "cai run x.yaml --set models.judge.endpoint=http://10.0.0.7:8000/v1"

    write_model_cards(RunFolder(tmp_path), {"run": {"name": "demo", "command": command}})

    assert "10.0.0.7" not in card_of(model)
    assert "models.judge.endpoint=http://localhost:8000/v1" in card_of(model)


def test_nor_is_one_that_a_record_of_an_earlier_version_has(tmp_path: Path):
    model = tmp_path / "models" / "sl_cai"
    model.mkdir(parents=True)
    made_by = {"recipe": "ab", "command": "cai run x.yaml --set a.endpoint=http://10.0.0.7/v1"}
    (model / "training.json").write_text(json.dumps({**RECORD, "made_by": made_by}))

    write_model_cards(RunFolder(tmp_path), {"run": {"name": "demo", "command": "cai run x.yaml"}})

    assert "10.0.0.7" not in card_of(model)


def test_the_card_of_a_runs_model_says_its_language_whom_to_cite_and_its_license(tmp_path: Path):
    facts = replace(FACTS, language="de", license="cc-by-4.0", citation="@misc{mine}")

    write_model_card(tmp_path, "rl_cai", RECORD, facts)

    head = read_head(tmp_path)
    assert (head["language"], head["license"]) == (["de"], "cc-by-4.0")
    assert ModelCardData(**head).to_dict() == head
    assert "\n    @misc{mine}\n" in card_of(tmp_path)
    assert "bai2022constitutional" in card_of(tmp_path)


def test_the_license_of_the_base_holds_for_what_is_made_of_it(tmp_path: Path):
    record = {**RECORD, "models": {"policy": {"name": str(MODEL), "digest": "ab12"}}}

    write_model_card(tmp_path, "rl_cai", record, replace(FACTS, license="mit"))

    assert read_head(tmp_path)["license"] == "apache-2.0"
