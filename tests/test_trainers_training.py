"""Each trainer on a tiny model: it learns, every setting matters, and the model is plain files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from cai.errors import InputError
from trainers.preference_model import train_preference_model
from trainers.rl import train_rl
from trainers.scoring import score
from trainers.settings import PreferenceModelSettings, RlSettings, SftSettings
from trainers.sft import train_sft

KIND, HARSH = "I cannot help with that.", "Go away!"
SHORT = {"batch_size": 8, "max_steps": 3}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / "data.parquet")
    return folder


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"messages": [user(f"Question {n}"), assistant(KIND)]} for n in range(48)]
    return write(tmp_path_factory.mktemp("sft") / "train", rows)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "prompt": [user(f"Question {n}")],
            "chosen": [assistant(KIND)],
            "rejected": [assistant(HARSH)],
            "p_chosen": 0.8,
        }
        for n in range(64)
    ]
    return write(tmp_path_factory.mktemp("pairs") / "train", rows)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": [user(f"Question {n}")]} for n in range(12)]
    return write(tmp_path_factory.mktemp("rl") / "train", rows)


@pytest.fixture(scope="module")
def preference_model(
    tiny_model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("pm") / "pm"
    settings = PreferenceModelSettings(epochs=12, batch_size=16, learning_rate=3e-3)
    train_preference_model(str(tiny_model), pairs, out, settings, inputs="shared")
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def log(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "training_log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


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
    assert record["models"]["base"]["name"] == str(tiny_model)
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
        (RlSettings, {"generations": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings: Any, values: dict[str, Any], message: str
):
    with pytest.raises(ValidationError, match=message):
        settings(**values)


def test_the_preference_model_meets_the_soft_label(preference_model: Path):
    replies = [[user("Question 99"), assistant(text)] for text in (KIND, HARSH)]

    kind, harsh = score(preference_model, replies)

    assert 1 / (1 + math.exp(harsh - kind)) == pytest.approx(0.8, abs=0.03)


def test_the_preference_model_is_an_ordinary_classifier(preference_model: Path):
    model = AutoModelForSequenceClassification.from_pretrained(preference_model)
    tokenizer = AutoTokenizer.from_pretrained(preference_model)
    ids = tokenizer.apply_chat_template([user("Hi"), assistant(KIND)], return_tensors="pt")

    logits = model(**ids).logits

    found = score(preference_model, [[user("Hi"), assistant(KIND)]])
    assert logits.shape == (1, 1)
    assert found == pytest.approx([logits.item()], abs=1e-5)


def test_padding_changes_no_score(preference_model: Path):
    replies = [[user("Hi"), assistant("word " * n)] for n in (30, 1, 12)]

    together = score(preference_model, replies, batch_size=3)

    alone = [score(preference_model, [reply])[0] for reply in replies]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_conversation_too_long_for_the_preference_model_is_named(preference_model: Path):
    replies = [[user("Hi"), assistant(KIND)], [user("Hi"), assistant("word " * 600)]]

    with pytest.raises(InputError, match="conversation 1: reads 512 tokens"):
        score(preference_model, replies)


def test_a_policy_is_no_preference_model(tiny_model: Path):
    with pytest.raises(InputError, match="2 outputs"):
        score(tiny_model, [[user("Hi"), assistant(KIND)]])


@pytest.mark.parametrize(
    "change", [{"learning_rate": 2e-3}, {"seed": 1}, {"epochs": 0.25}, {"batch_size": 16}], ids=str
)
def test_settings_of_the_preference_model_change_its_weights(
    tiny_model: Path, pairs: Path, tmp_path: Path, change: dict[str, Any]
):
    base, settings = str(tiny_model), {"batch_size": 8, "epochs": 0.5}
    one = PreferenceModelSettings(**settings)
    train_preference_model(base, pairs, tmp_path / "one", one, inputs="a")

    two = PreferenceModelSettings(**{**settings, **change})
    train_preference_model(base, pairs, tmp_path / "two", two, inputs="a")

    assert not same_weights(tmp_path / "one", tmp_path / "two")


def test_pairs_over_the_length_are_left_out_and_counted(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()
    rows += [{**rows[0], "chosen": [assistant("a long reply " * 30)]}] * 2
    data = write(tmp_path / "data", rows)
    settings = PreferenceModelSettings(**SHORT, max_length=60)

    result = train_preference_model(str(tiny_model), data, tmp_path / "out", settings, inputs="a")

    assert (result.rows, result.dropped) == (64, {"a side is longer than max_length": 2})


def test_rl_moves_the_policy_towards_what_the_preference_model_likes(
    tiny_model: Path, preference_model: Path, prompts: Path, tmp_path: Path
):
    rows = [
        {"messages": [user(f"Question {n}"), assistant(reply)]}
        for n in range(40)
        for reply in (KIND, HARSH)
    ]
    data, policy = write(tmp_path / "both", rows), tmp_path / "both_replies"
    sft = SftSettings(epochs=12, batch_size=16, learning_rate=1e-2)
    train_sft(str(tiny_model), data, policy, sft, inputs="a")
    rl = RlSettings(steps=20, prompts_per_step=8, max_completion_length=16, learning_rate=3e-3)

    train_rl(str(policy), preference_model, prompts, tmp_path / "out", rl, inputs="a")

    rewards = [entry["reward"] for entry in log(tmp_path / "out")]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.4


def test_rl_logs_the_figures_of_every_rollout_batch(
    tiny_model: Path, preference_model: Path, prompts: Path, tmp_path: Path
):
    settings = RlSettings(steps=3, prompts_per_step=4, max_completion_length=6, warmup=0)

    train_rl(str(tiny_model), preference_model, prompts, tmp_path / "out", settings, inputs="a")

    entries = log(tmp_path / "out")
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    assert all(
        isinstance(entry[name], float)
        for entry in entries
        for name in ("reward", "kl", "entropy", "length")
    )
    assert entries[0]["kl"] == pytest.approx(0, abs=1e-4)


RL = {"steps": 3, "prompts_per_step": 4, "max_completion_length": 6, "warmup": 0}


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-3},
        {"steps": 2},
        {"prompts_per_step": 2},
        {"generations": 2},
        {"passes": 2},
        {"beta": 5.0},
        {"max_completion_length": 3},
        {"temperature": 0.5},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_setting_of_rl_changes_the_weights(
    tiny_model: Path,
    preference_model: Path,
    prompts: Path,
    tmp_path: Path,
    change: dict[str, Any],
):
    policy = str(tiny_model)
    train_rl(policy, preference_model, prompts, tmp_path / "1", RlSettings(**RL), inputs="a")

    changed = RlSettings(**{**RL, **change})
    train_rl(policy, preference_model, prompts, tmp_path / "2", changed, inputs="a")

    assert not same_weights(tmp_path / "1", tmp_path / "2")


def test_prompts_that_leave_no_room_for_a_reply_are_left_out(
    tiny_model: Path, preference_model: Path, prompts: Path, tmp_path: Path
):
    rows = parquet.read_table(prompts / "data.parquet").to_pylist()
    data = write(tmp_path / "data", [*rows, {"prompt": [user("word " * 600)]}])

    result = train_rl(
        str(tiny_model), preference_model, data, tmp_path / "out", RlSettings(**RL), inputs="a"
    )

    reason = "prompt and reply together are longer than the policy reads"
    assert (result.rows, result.dropped) == (12, {reason: 1})


def test_a_wrong_column_is_told_before_any_model_is_looked_for(prompts: Path, tmp_path: Path):
    with pytest.raises(InputError, match="has no column 'messages'; it has prompt"):
        train_sft("no/model", prompts, tmp_path / "out", SftSettings(), inputs="a")
