"""RL on a tiny model: it follows the preference model, logs it, and every setting matters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import load_file

from trainers.preference_model import train_preference_model
from trainers.rl import train_rl
from trainers.settings import PreferenceModelSettings, RlSettings, SftSettings
from trainers.sft import train_sft

KIND, HARSH = "I cannot help with that.", "Go away!"


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / "data.parquet")
    return folder


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
