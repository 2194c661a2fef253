"""The trainers as commands of their own, started as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainers_support import assistant, user, write

RECIPE = """
name: small
constitution: harmlessness
models: {{default: {model}}}
prompts:
  red_team: [{{microworld: train, kind: harmful, limit: 1}}]
sft: {{batch_size: 4, max_steps: 2}}
preference_model: {{batch_size: 4, max_steps: 2}}
dpo: {{batch_size: 4, max_steps: 2}}
rl: {{steps: 1, prompts_per_step: 2, generations: 2, max_completion_length: 4}}
"""


def start(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
        check=False,
    )


@pytest.fixture
def recipe(tiny_model: Path, tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.format(model=tiny_model))
    return file


@pytest.mark.slow
def test_the_commands_train_one_after_the_other_in_a_run_folder(recipe: Path, tmp_path: Path):
    question, yes, no = [user("Why?")], [assistant("Yes.")], [assistant("No.")]
    run = tmp_path / "run"
    write(run / "datasets" / "sft" / "train", [{"messages": question + yes}] * 8)
    pair = {"prompt": question, "chosen": yes, "rejected": no, "p_chosen": 0.7}
    write(run / "datasets" / "preferences" / "train", [pair] * 8)
    write(run / "datasets" / "rl" / "train", [{"prompt": question}] * 4)

    for trainer in ("sft", "preference_model", "dpo", "rl"):
        done = start(f"trainers.{trainer}", recipe, "--run", run)
        assert done.returncode == 0, done.stderr

    records = {
        folder.name: json.loads((folder / "training.json").read_text())
        for folder in (run / "models").iterdir()
    }
    assert {name: record["steps"] for name, record in records.items()} == {
        "sl_cai": 2,
        "pm": 2,
        "dpo": 2,
        "rl_cai": 1,
    }
    assert records["rl_cai"]["models"]["policy"]["name"] == "../sl_cai"
    assert str(run.absolute()) not in json.dumps(records)


def test_a_second_start_says_that_nothing_was_trained(
    recipe: Path, tiny_model: Path, tmp_path: Path
):
    write(tmp_path / "data", [{"messages": [user("Why?"), assistant("Yes.")]}] * 8)
    command = ["trainers.sft", recipe, "--data", tmp_path / "data", "--base", tiny_model]
    command += ["--out", tmp_path / "out"]
    start(*command)

    again = start(*command)

    assert again.stdout == f"{tmp_path / 'out'} was made of the same already; nothing was trained\n"


def test_a_wrong_column_is_shown_without_a_trace(recipe: Path, tmp_path: Path):
    write(tmp_path / "data", [{"text": "Yes."}])

    done = start("trainers.sft", recipe, "--data", tmp_path / "data", "--out", tmp_path / "out")

    file = tmp_path / "data" / "data.parquet"
    assert done.returncode == 1
    instead = "(nor 'prompt' and 'completion') (nor 'prompt' and 'chosen')"
    assert done.stderr == (
        f"trainers: {file}: messages: has no column 'messages' {instead}; it has text\n"
    )


@pytest.mark.parametrize("trainer", ["distill", "sft", "preference_model", "dpo", "rl"])
def test_a_wrong_column_is_told_before_any_model_is_looked_for(trainer: str, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"text": "Yes."}\n')
    command = [f"trainers.{trainer}", "--base", "no/model", "--out", tmp_path / "out"]

    done = start(*command, "--data", tmp_path / "rows.jsonl")

    assert done.returncode == 1
    assert "; it has text" in done.stderr and "Traceback" not in done.stderr


def test_a_model_is_trained_without_a_recipe(tiny_model: Path, tmp_path: Path):
    row = json.dumps({"prompt": "Why?", "chosen": "Yes.", "rejected": "No."})
    (tmp_path / "pairs.jsonl").write_text(f"{row}\n" * 8)
    command = ["trainers.preference_model", "--base", tiny_model, "--out", tmp_path / "pm"]

    done = start(*command, "--data", tmp_path / "pairs.jsonl", "--set", "batch_size=4")

    assert done.stdout.startswith(f"{tmp_path / 'pm'}: 2 steps on 8 rows")


def test_rl_without_a_recipe_needs_a_preference_model_too(tmp_path: Path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Why?"}\n')
    command = ["trainers.rl", "--base", "microworld", "--out", tmp_path / "out"]

    done = start(*command, "--data", tmp_path / "prompts.jsonl")

    assert done.stderr == ("trainers: without a recipe, give --preference-model too; see --help\n")


def test_without_a_recipe_what_else_is_needed_is_told():
    done = start("trainers.sft", "--base", "microworld")

    assert done.stderr == ("trainers: without a recipe, give --data and --out too; see --help\n")


def test_a_setting_that_there_is_not_is_told(tmp_path: Path):
    command = ["trainers.sft", "--base", "microworld", "--data", "x", "--out", tmp_path / "out"]

    done = start(*command, "--set", "epoch=2")

    assert "epoch" in done.stderr and "epochs" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["trainers.sft", "trainers.preference_model"])
def test_help_tells_what_a_preset_sets(command: str):
    shown = " ".join(start(command, "--help").stdout.split())

    assert "preset cai (Bai et al. (2022), §" in shown
    assert "× pretraining_learning_rate" in shown


@pytest.mark.parametrize("trainer", ["distill", "sft", "preference_model", "dpo", "rl"])
def test_help_shows_an_example(trainer: str):
    shown = start(f"trainers.{trainer}", "--help").stdout

    assert f"python -m trainers.{trainer} examples/microworld.yaml" in shown


def test_importing_the_trainers_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'trl', 'datasets', 'pandas', 'accelerate'}"
    modules = "sft, preference_model, dpo, rl, ppo, grouped, reward, rollouts, scoring, losses"
    program = f"import sys; from trainers import {modules}; print({heavy} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"
