"""A preference model in the words of the runner of RewardBench, which reads it in tests/harness."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.errors import CaiError, InputError
from cai.export.reward_bench import older_config, write_for_runner
from cai.export.run_export import export_run
from tests.test_export import pair, turn


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with labelled pairs, one of them with a system turn, and no model yet."""
    folder = tmp_path / "run"
    told = {**pair(2, 0.9), "prompt": [turn("system", "Be kind."), turn("user", "Hi?")]}
    rows = [("train", pair(0, 0.9)), ("test", pair(1, 0.8)), ("test", told)]
    (folder / "datasets").mkdir(parents=True)
    SplitWriter(folder / "datasets" / "preferences", preference_features()).write(rows)
    (folder / "ledger.sqlite").touch()
    return folder


def exported(run: Path, out: Path, **how: Any) -> Any:
    settings = {"minimum_margin": 0.0, "file_type": "jsonl", **how}
    return export_run(run, out, "rewardbench", **settings)


def test_the_model_and_whole_conversations_are_written(
    run: Path, preference_model: Path, tmp_path: Path
):
    shutil.copytree(preference_model, run / "models" / "pm")

    found = exported(run, tmp_path / "out")

    assert found.rows == {"preferences": {"train": 1, "test": 1}}
    (line,) = (tmp_path / "out/preferences/test.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["chosen"] == [turn("user", "question 1"), turn("assistant", "good 1")]
    assert row["rejected"] == [turn("user", "question 1"), turn("assistant", "bad 1")]
    assert sorted(path.name for path in (tmp_path / "out/pm").iterdir()) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_system_turn_is_counted_for_the_runner_takes_it_for_the_users(
    run: Path, preference_model: Path, tmp_path: Path
):
    shutil.copytree(preference_model, run / "models" / "pm")

    found = exported(run, tmp_path / "out")

    reason = "preferences: a system turn, which the runner takes for the user's"
    assert found.left_out == {reason: 1}


def test_the_tokenizer_is_named_as_transformers_4_knows_it(preference_model: Path, tmp_path: Path):
    write_for_runner(preference_model, tmp_path / "pm")

    settings = json.loads((tmp_path / "pm/tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert settings["additional_special_tokens"] == ["<|im_start|>"]
    assert (settings["pad_token"], settings["eos_token"]) == ("<|pad|>", "<|im_end|>")
    assert "token_type_ids" not in settings["model_input_names"]


@pytest.mark.parametrize(
    ("rope", "older"),
    [
        ({"rope_type": "default", "rope_theta": 1e6}, {"rope_theta": 1e6}),
        (
            {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0},
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        ),
        (
            {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5},
            {"rope_theta": 1e4, "partial_rotary_factor": 0.5},
        ),
        (None, {}),
    ],
    ids=["base", "scaled", "partial", "no-rotary-positions"],
)
def test_rotary_positions_are_said_in_the_older_words(rope: Any, older: Any):
    config = {"model_type": "llama", "dtype": "bfloat16", "rope_parameters": rope}

    said = older_config(config, Path("pm"))

    assert said == {"model_type": "llama", "torch_dtype": "bfloat16", **older}


def test_rotary_positions_of_several_kinds_are_refused():
    rope = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}

    with pytest.raises(InputError, match="rotary positions of several kinds"):
        older_config({"rope_parameters": rope}, Path("pm"))


def test_a_run_without_a_preference_model_is_refused(run: Path, tmp_path: Path):
    with pytest.raises(CaiError, match=r"pm is no preference model; make it with `cai run"):
        exported(run, tmp_path / "out")


def test_parquet_is_refused_for_the_runner_reads_json(run: Path, tmp_path: Path):
    with pytest.raises(CaiError, match="has one kind of file, JSON"):
        exported(run, tmp_path / "out", file_type="parquet")
