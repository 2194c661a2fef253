"""RL on a tiny model: it follows the preference model, logs it, and every setting matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from tests.trainers_support import HARSH, KIND, assistant, log, same_weights, user, write
from trainers.rl import train_rl
from trainers.settings import RlSettings, SftSettings
from trainers.sft import train_sft


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": [user(f"Question {n}")]} for n in range(12)]
    return write(tmp_path_factory.mktemp("rl") / "train", rows)


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
