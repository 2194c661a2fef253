"""What an evaluation says of training prompts that are among those it measures on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cai.cli import app
from cai.filters.contamination import Contamination, overlap
from cai.models import ModelSettings
from cai.pipeline.contamination import (
    held_against,
    runs_of,
    runs_of_models,
    training_prompts,
)
from cai.records import Message
from cai.report.contamination_wording import UNKNOWN, contamination_lines
from tests.trainers_support import HARSH, KIND, assistant, user, write

BREAD = "How do I bake a loaf of white bread at home?"

texts = st.lists(st.sampled_from("abc"), min_size=1, max_size=6).map(" ".join)
prompts = st.lists(texts.map(lambda text: (Message("user", text),)), max_size=8)


def asked(*contents: str) -> list[tuple[Message, ...]]:
    return [(Message("user", content),) for content in contents]


def test_prompts_that_share_words_and_those_that_are_the_same_are_counted_by_set():
    training = asked("how do I bake a loaf of white bread AT home", "Say: how do I bake a loaf?")
    evaluated = {
        "bread": asked(BREAD, "How do I bake a loaf without yeast?"),
        "other": asked("Who are you?"),
    }

    found = overlap(training, evaluated, words=6).to_json()

    assert (found["training_prompts"], found["training_shared"]) == (2, 2)
    assert (found["evaluation_prompts"], found["shared"], found["identical"]) == (3, 2, 1)
    assert found["by_set"]["bread"] == {"evaluation_prompts": 2, "shared": 2, "identical": 1}
    assert found["by_set"]["other"]["shared"] == 0


@given(prompts, prompts, st.integers(1, 4))
def test_what_the_filter_would_leave_out_is_what_is_reported(
    training: list[tuple[Message, ...]], evaluated: list[tuple[Message, ...]], words: int
):
    filtering = Contamination(evaluated, words)
    left_out = [one for one in training if filtering.holds(one)]
    kept = [one for one in training if not filtering.holds(one)]

    assert overlap(training, {"set": evaluated}, words).training_shared == len(left_out)
    assert overlap(kept, {"set": evaluated}, words).by_set["set"].shared == 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with three training prompts, one of them in two data sets."""
    folder = tmp_path / "run"
    write(folder / "datasets" / "sft" / "train", [{"messages": [user(BREAD), assistant(KIND)]}])
    write(folder / "datasets" / "rl" / "train", [{"prompt": [user(BREAD)]}])
    write(folder / "datasets" / "preference_pretraining" / "train", [{"prompt": "Who are you?"}])
    later = folder / "datasets" / "iteration-1" / "preferences" / "train"
    write(later, [{"prompt": [user("Why?"), assistant("So."), user("How?")]}])
    write(folder / "datasets" / "rl" / "test", [{"prompt": [user("Held out.")]}])
    (folder / "ledger.sqlite").touch()
    return folder


def test_training_prompts_are_those_of_every_data_set_each_once(run: Path):
    found = [[one.content for one in messages] for messages in training_prompts([run])]

    assert sorted(found) == [[BREAD], ["Who are you?"], ["Why?", "So.", "How?"]]


def test_the_run_that_a_model_lies_in_is_found(run: Path, monkeypatch: pytest.MonkeyPatch):
    model = run / "models" / "iteration-1" / "rl_cai"
    model.mkdir(parents=True)
    monkeypatch.chdir(run)

    named = [str(model), "models", "microworld", "openai:gpt-5", "Qwen/Qwen3-8B"]
    assert runs_of(named) == [run.resolve()]


def test_the_run_that_an_adapter_lies_in_is_found(run: Path):
    adapter = run / "models" / "sl_cai"
    adapter.mkdir(parents=True)

    model = ModelSettings(name="Qwen/Qwen3-8B", adapter=str(adapter))
    assert runs_of_models([model]) == [run.resolve()]


def test_without_training_prompts_nothing_is_said_to_be_clean(tmp_path: Path):
    found = held_against([tmp_path], {"set": asked(BREAD)})

    assert found is None
    assert list(contamination_lines(None)) == [UNKNOWN]


def test_evaluate_pm_tells_which_pairs_its_run_has_trained_on(
    run: Path, preference_model: Path, tmp_path: Path
):
    shutil.copytree(preference_model, run / "models" / "pm")
    rows = [{"prompt": text, "chosen": KIND, "rejected": HARSH} for text in (BREAD, "Question 1")]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    for model, told in {
        run: "1 of 2 evaluation prompts share 8 words in a row with one of 3 training",
        preference_model: "contamination: not known",
    }.items():
        arguments = ["evaluate", "pm", str(model), "--data", str(data)]
        said = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
        assert told in said.stdout
