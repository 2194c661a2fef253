"""SFT on a tiny model: it learns, every setting matters, and the model is plain files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from cai.errors import InputError, PermanentError
from tests.trainers_support import KIND, SHORT, assistant, log, same_weights, user, write
from trainers.settings import RlSettings, SftSettings
from trainers.sft import train_sft


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"messages": [user(f"Question {n}"), assistant(KIND)]} for n in range(48)]
    return write(tmp_path_factory.mktemp("sft") / "train", rows)


def test_sft_makes_the_learned_reply_likelier(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    settings = SftSettings(epochs=4, batch_size=8, learning_rate=3e-3)

    train_sft(str(tiny_model), conversations, tmp_path / "out", settings, inputs="a")

    losses = [entry["loss"] for entry in log(tmp_path / "out")]
    assert losses[-1] < losses[0] / 2


def test_a_finished_model_is_plain_files_and_its_checkpoints_are_gone(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    settings = SftSettings(**SHORT, save_every=1)

    train_sft(str(tiny_model), conversations, tmp_path / "out", settings, inputs="a")

    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "training_log.jsonl",
    }


def test_a_trained_policy_loads_as_an_ordinary_model(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    train_sft(str(tiny_model), conversations, tmp_path / "out", SftSettings(**SHORT), inputs="a")

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = tokenizer.apply_chat_template(
        [user("Hello")], add_generation_prompt=True, return_tensors="pt"
    )
    assert model.generate(**ids, max_new_tokens=2).shape[1] > ids["input_ids"].shape[1]


def test_the_record_says_what_the_model_was_made_of(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    settings = SftSettings(**SHORT)

    train_sft(str(tiny_model), conversations, tmp_path / "out", settings, inputs="hash")

    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["inputs"] == "hash"
    assert record["settings"] == settings.model_dump()
    assert record["models"]["base"]["name"] == os.path.relpath(tiny_model, tmp_path / "out")
    assert len(record["models"]["base"]["digest"]) == 32
    assert (record["rows"], record["steps"], record["dropped"]) == (48, 3, {})
    assert record["versions"].keys() >= {"torch", "transformers", "trl"}


def test_the_same_inputs_are_not_trained_again(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    settings, steps = SftSettings(**SHORT), []
    train_sft(str(tiny_model), conversations, tmp_path / "out", settings, inputs="a")

    again = train_sft(
        str(tiny_model),
        conversations,
        tmp_path / "out",
        settings,
        inputs="a",
        report=lambda step, total, loss: steps.append(step),
    )

    assert again.was_done
    assert steps == []


def test_other_inputs_replace_the_model(tiny_model: Path, conversations: Path, tmp_path: Path):
    base, out = str(tiny_model), tmp_path / "out"
    train_sft(base, conversations, out, SftSettings(**SHORT), inputs="a")
    (out / "leftover").touch()

    result = train_sft(base, conversations, out, SftSettings(**SHORT, seed=1), inputs="b")

    assert not result.was_done
    assert not (out / "leftover").exists()


def test_each_step_is_reported_with_its_loss(tiny_model: Path, conversations: Path, tmp_path: Path):
    told: list[tuple[int, int, bool]] = []

    train_sft(
        str(tiny_model),
        conversations,
        tmp_path / "out",
        SftSettings(**SHORT),
        inputs="a",
        report=lambda step, total, loss: told.append((step, total, isinstance(loss, float))),
    )

    assert told == [(1, 3, True), (2, 3, True), (3, 3, True)]


def test_the_same_settings_give_the_same_weights(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    base, settings = str(tiny_model), SftSettings(**SHORT)

    train_sft(base, conversations, tmp_path / "one", settings, inputs="a")
    train_sft(base, conversations, tmp_path / "two", settings, inputs="a")

    assert same_weights(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-3},
        {"scheduler": "linear"},
        {"scheduler": "cosine"},
        {"warmup": 0.6},
        {"seed": 1},
        {"max_steps": 2},
        {"max_steps": None, "epochs": 1 / 3},
        {"batch_size": 4},
        {"max_length": 28},
        {"optimizer": "adafactor"},
        {"packing": True, "max_length": 100},
        {"group_by_length": True},
        {"lora": {"rank": 2}},
    ],
    ids=str,
)
def test_every_setting_of_sft_changes_the_weights(
    tiny_model: Path, conversations: Path, tmp_path: Path, change: dict[str, Any]
):
    base, settings = str(tiny_model), {**SHORT, "warmup": 0}
    train_sft(base, conversations, tmp_path / "one", SftSettings(**settings), inputs="a")

    changed = SftSettings(**{**settings, **change})
    train_sft(base, conversations, tmp_path / "two", changed, inputs="a")

    assert not same_weights(tmp_path / "one", tmp_path / "two")


def test_replies_of_all_turns_change_the_weights(tiny_model: Path, tmp_path: Path):
    turns = [user("Why?"), assistant(KIND), user("Why not?"), assistant("No.")]
    data = write(tmp_path / "data", [{"messages": turns}] * 24)
    base = str(tiny_model)

    for learned in ("last_reply", "all_replies"):
        settings = SftSettings(**SHORT, learned=learned)
        train_sft(base, data, tmp_path / learned, settings, inputs="a")

    assert not same_weights(tmp_path / "last_reply", tmp_path / "all_replies")


def test_a_packed_step_has_the_loss_of_its_conversations(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    base, one = str(tiny_model), {"epochs": 1, "max_steps": 1}
    apart = SftSettings(**one, batch_size=48)
    together = SftSettings(**one, batch_size=16, packing=True, max_length=108)

    train_sft(base, conversations, tmp_path / "one", apart, inputs="a")
    result = train_sft(base, conversations, tmp_path / "two", together, inputs="a")

    (first,), (second,) = log(tmp_path / "one"), log(tmp_path / "two")
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)
    assert result.rows == 48


def test_a_step_in_parts_is_the_same_step(tiny_model: Path, conversations: Path, tmp_path: Path):
    base = str(tiny_model)

    train_sft(base, conversations, tmp_path / "one", SftSettings(**SHORT), inputs="a")
    parts = SftSettings(**SHORT, gradient_accumulation=4)
    train_sft(base, conversations, tmp_path / "two", parts, inputs="a")

    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert len(one) == len(two) == 3
    assert [entry["loss"] for entry in one] == pytest.approx(
        [entry["loss"] for entry in two], rel=1e-4
    )


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (SftSettings, {"batch_size": 8, "gradient_accumulation": 3}, "shared out evenly"),
        (RlSettings, {"prompts_per_step": 3, "gradient_accumulation": 7}, "shared out evenly"),
        (SftSettings, {"lerning_rate": 1e-3}, "Extra inputs"),
        (RlSettings, {"generations": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings: Any, values: dict[str, Any], message: str
):
    with pytest.raises(ValidationError, match=message):
        settings(**values)


def test_a_wrong_column_is_told_before_any_model_is_looked_for(tmp_path: Path):
    data = write(tmp_path / "data", [{"prompt": [user("Hello")]}])

    with pytest.raises(InputError, match=r"has no column .messages.*it has prompt"):
        train_sft("no/model", data, tmp_path / "out", SftSettings(), inputs="a")


def test_weights_that_are_no_safetensors_are_refused_before_training(
    tiny_model: Path, conversations: Path, tmp_path: Path
):
    base, steps = tmp_path / "base", []
    shutil.copytree(tiny_model, base)
    (base / "model.safetensors").rename(base / "pytorch_model.bin")

    with pytest.raises(PermanentError, match=r"no \*\.safetensors file"):
        train_sft(
            str(base),
            conversations,
            tmp_path / "out",
            SftSettings(**SHORT),
            inputs="a",
            report=lambda step, total, loss: steps.append(step),
        )

    assert steps == []
