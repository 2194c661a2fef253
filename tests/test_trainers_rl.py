"""RL on a tiny model: it follows the preference model, logs it, and every setting matters."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from cai.errors import InputError, RunError
from cai.microworld import MODEL
from tests.trainers_support import HARSH, KIND, assistant, log, same_weights, user, write
from trainers.reward import RewardSource, open_reward
from trainers.rl import train_rl
from trainers.scoring import score
from trainers.settings import LoraSettings, RlSettings, SftSettings
from trainers.sft import train_sft

FIGURES = (
    *("reward", "reward_std", "kl", "sqrt_kl", "entropy", "length", "cut_off"),
    *("clipped", "loss"),
    *(
        f"{name}{end}"
        for name in ("distinct_2", "refusal", "boilerplate", "preachy", "harsh", "stock")
        for end in ("", "_low", "_high")
    ),
    *("repetition", "repetition_low", "words", "words_high"),
)
EMPTY = pyarrow.schema([(name, pyarrow.string()) for name in ("prompt", "chosen", "rejected")])


@pytest.fixture(scope="module")
def source(preference_model: Path) -> RewardSource:
    return RewardSource(str(preference_model))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": [user(f"Question {n}")]} for n in range(12)]
    return write(tmp_path_factory.mktemp("rl") / "train", rows)


@pytest.fixture(scope="module")
def undecided(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy that gives kind and harsh replies alike."""
    folder = tmp_path_factory.mktemp("undecided")
    rows = [
        {"messages": [user(f"Question {n}"), assistant(reply)]}
        for n in range(40)
        for reply in (KIND, HARSH)
    ]
    sft = SftSettings(epochs=12, batch_size=16, learning_rate=1e-2)
    train_sft(str(tiny_model), write(folder / "both", rows), folder / "out", sft, inputs="a")
    return str(folder / "out")


@pytest.mark.parametrize("algorithm", ["rloo", "grpo", "ppo", "reinforce"])
def test_rl_moves_the_policy_towards_what_the_preference_model_likes(
    undecided: str, source: RewardSource, prompts: Path, tmp_path: Path, algorithm: Any
):
    rl = RlSettings(
        algorithm=algorithm,
        steps=20,
        prompts_per_step=8,
        max_completion_length=16,
        learning_rate=3e-3,
    )

    train_rl(undecided, source, prompts, tmp_path / "out", rl, inputs="a")

    rewards = [entry["reward"] for entry in log(tmp_path / "out")]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.4


def test_rl_logs_the_figures_of_every_rollout_batch(
    tiny_model: Path, source: RewardSource, prompts: Path, tmp_path: Path
):
    settings = RlSettings(steps=3, prompts_per_step=4, max_completion_length=6, warmup=0)

    train_rl(str(tiny_model), source, prompts, tmp_path / "out", settings, inputs="a")

    entries = log(tmp_path / "out")
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    assert all(isinstance(entry[name], float) for entry in entries for name in FIGURES)
    assert entries[0]["kl"] == pytest.approx(0, abs=1e-4)


RL = {"steps": 3, "prompts_per_step": 4, "max_completion_length": 6, "warmup": 0}
VALUED = {"algorithm": "ppo", "steps": 2, "passes": 2}


@pytest.mark.parametrize("algorithm", ["grpo", "ppo", "reinforce"])
def test_every_algorithm_logs_the_figures_of_every_rollout_batch(
    tiny_model: Path, source: RewardSource, prompts: Path, tmp_path: Path, algorithm: Any
):
    settings = RlSettings(**RL, algorithm=algorithm)

    train_rl(str(tiny_model), source, prompts, tmp_path / "out", settings, inputs="a")

    entries = log(tmp_path / "out")
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    assert all(isinstance(entry[name], float) for entry in entries for name in FIGURES)
    assert entries[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert entries[2]["kl"] != 0


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"learning_rate": 1e-3}),
        ({}, {"steps": 2}),
        ({}, {"prompts_per_step": 2}),
        ({}, {"generations": 2}),
        ({}, {"passes": 2}),
        ({}, {"beta": 5.0}),
        ({}, {"max_completion_length": 3}),
        ({}, {"temperature": 0.5}),
        ({}, {"seed": 1}),
        ({}, {"algorithm": "grpo"}),
        # Steps so short that the policy stays within the wider clip, and leaves the narrower one.
        ({"passes": 3, "learning_rate": 1e-4}, {"clip": 1e-6}),
        (VALUED, {"algorithm": "reinforce", "passes": 1}),
        (VALUED, {"beta": 5.0}),
        (VALUED, {"temperature": 0.5}),
        (VALUED, {"passes": 1}),
        (VALUED, {"clip": 1e-6}),
        (VALUED, {"kl_estimator": "k3"}),
        (VALUED, {"gae_decay": 0.5}),
        (VALUED, {"normalize_advantages": False}),
        (VALUED, {"value_learning_rate": 1e-2}),
        (VALUED, {"seed": 1}),
        (VALUED, {"subtract_mean": False}),
        (VALUED, {"divide_by_spread": True}),
    ],
    ids=str,
)
def test_every_setting_of_rl_changes_the_weights(
    tiny_model: Path,
    source: RewardSource,
    pairs: Path,
    prompts: Path,
    tmp_path: Path,
    base: dict[str, Any],
    change: dict[str, Any],
):
    policy, of_pairs = str(tiny_model), replace(source, held_out=pairs)
    one, two = RlSettings(**{**RL, **base}), RlSettings(**{**RL, **base, **change})
    train_rl(policy, of_pairs, prompts, tmp_path / "1", one, inputs="a")

    train_rl(policy, of_pairs, prompts, tmp_path / "2", two, inputs="a")

    assert not same_weights(tmp_path / "1", tmp_path / "2")


@pytest.mark.parametrize("algorithm", ["rloo", "grpo", "ppo"])
def test_what_is_clipped_is_logged_of_all_passes(
    tiny_model: Path, source: RewardSource, prompts: Path, tmp_path: Path, algorithm: Any
):
    settings = RlSettings(
        **{**RL, "steps": 2}, algorithm=algorithm, passes=2, clip=1e-5, learning_rate=1e-2
    )

    train_rl(str(tiny_model), source, prompts, tmp_path / "out", settings, inputs="a")

    # Nothing is clipped in the first pass, and nearly everything in the second.
    assert [0.25 < entry["clipped"] <= 0.5 for entry in log(tmp_path / "out")] == [True, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generations": 1}, "rloo measures a reply against others to its prompt"),
        ({"algorithm": "grpo", "generations": 1}, "grpo measures a reply against others"),
        ({"gae_decay": 0.5}, "rloo does not read gae_decay; leave it out"),
        ({"algorithm": "reinforce", "passes": 2}, "reinforce does not read passes"),
        ({"algorithm": "reinforce", "beta": 1.5}, "beta must not be above 1"),
    ],
    ids=str,
)
def test_settings_that_an_algorithm_has_no_use_for_are_refused(
    settings: dict[str, Any], message: str
):
    with pytest.raises(ValidationError, match=message):
        RlSettings(**settings)


def test_the_mean_score_of_held_out_replies_is_worth_nothing(
    source: RewardSource, pairs: Path, preference_model: Path
):
    reward = open_reward(replace(source, held_out=pairs), RlSettings(divide_by_spread=True))

    replies = [
        [*row["prompt"], *row[side]]
        for row in parquet.read_table(pairs / "data.parquet").to_pylist()
        for side in ("chosen", "rejected")
    ]
    scores = [*filter(None, reward.pay(replies).rewards)]
    assert statistics.fmean(scores) == pytest.approx(0, abs=1e-5)
    assert statistics.pstdev(scores) == pytest.approx(1, abs=1e-5)
    assert reward.parts[0].mean == pytest.approx(statistics.fmean(score(preference_model, replies)))


def test_without_held_out_pairs_nothing_is_subtracted(source: RewardSource, tmp_path: Path):
    empty = parquet.ParquetWriter(tmp_path / "data.parquet", EMPTY)
    empty.close()

    assert open_reward(source, RlSettings()).parts[0].mean == 0
    assert open_reward(replace(source, held_out=tmp_path), RlSettings()).parts[0].mean == 0


def test_scores_cannot_be_divided_by_the_spread_of_none(source: RewardSource):
    with pytest.raises(InputError, match="has 0 held-out replies that scores differ on"):
        open_reward(source, RlSettings(divide_by_spread=True))


def test_scores_that_are_all_the_same_have_no_spread_to_be_divided_by(
    source: RewardSource, tmp_path: Path
):
    same = write(tmp_path / "held", [{"prompt": "Why?", "chosen": "So.", "rejected": "So."}])

    with pytest.raises(InputError, match=r"rl\.divide_by_spread"):
        open_reward(replace(source, held_out=same), RlSettings(divide_by_spread=True))


def test_the_record_says_what_was_subtracted(
    tiny_model: Path, source: RewardSource, pairs: Path, prompts: Path, tmp_path: Path
):
    held_out = replace(source, held_out=pairs)

    train_rl(str(tiny_model), held_out, prompts, tmp_path / "out", RlSettings(**RL), inputs="a")

    record = json.loads((tmp_path / "out" / "training.json").read_text())
    mean = open_reward(held_out, RlSettings()).parts[0].mean
    held_out = {"pairs": 64, "left_out": 0}
    scale = {"weight": 1.0, "mean": mean, "spread": 1.0, "held_out": held_out}
    assert record["reward"] == {"score": scale}


def test_held_out_pairs_that_are_too_long_are_counted(short_sighted: Path, tmp_path: Path):
    short = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    held = write(tmp_path / "held", [short, {**short, "rejected": "No. " * 30}, short])

    reward = open_reward(RewardSource(str(short_sighted), held), RlSettings())

    assert reward.record["score"]["held_out"] == {"pairs": 2, "left_out": 1}


def test_held_out_pairs_that_are_all_too_long_are_no_mean_of_0(short_sighted: Path, tmp_path: Path):
    long = write(tmp_path / "held", [{"prompt": "Why?", "chosen": "So.", "rejected": "No. " * 30}])

    with pytest.raises(InputError, match="no pair of at most the 40 tokens"):
        open_reward(RewardSource(str(short_sighted), long), RlSettings())


@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_rl_starts_from_what_an_adapter_has_learned(
    tiny_model: Path, source: RewardSource, prompts: Path, tmp_path: Path, algorithm: Any
):
    rows = [{"messages": [user("Why?"), assistant(KIND)]}] * 8
    lora = SftSettings(batch_size=8, max_steps=2, lora=LoraSettings(rank=2, merge=False))
    data, adapter = write(tmp_path / "data", rows), tmp_path / "adapter"
    train_sft(str(tiny_model), data, adapter, lora, inputs="a")
    settings = RlSettings(**RL, algorithm=algorithm)

    train_rl(str(adapter), source, prompts, tmp_path / "out", settings, inputs="a")

    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert log(tmp_path / "out")[0]["kl"] == pytest.approx(0, abs=1e-4)


def test_a_policy_of_4_bits_is_optimised_and_merged_into_the_whole_one(
    source: RewardSource, prompts: Path, tmp_path: Path
):
    settings = RlSettings(**RL, lora=LoraSettings(rank=2, quantization="4bit"))

    train_rl(str(MODEL), source, prompts, tmp_path / "out", settings, inputs="a")

    whole = load_file(tmp_path / "out" / "model.safetensors")
    assert all(weight.dtype == torch.float32 for weight in whole.values())
    assert not same_weights(MODEL, tmp_path / "out")


def test_ppo_of_4_bits_is_refused_on_the_cpu_where_it_would_learn_nothing(
    source: RewardSource, prompts: Path, tmp_path: Path
):
    settings = RlSettings(**RL, algorithm="ppo", lora=LoraSettings(rank=2, quantization="4bit"))

    with pytest.raises(RunError, match=r"take rl\.algorithm rloo or grpo, a GPU"):
        train_rl(str(MODEL), source, prompts, tmp_path / "out", settings, inputs="a")


def test_prompts_that_leave_no_room_for_a_reply_are_left_out(
    tiny_model: Path, source: RewardSource, prompts: Path, tmp_path: Path
):
    rows = parquet.read_table(prompts / "data.parquet").to_pylist()
    data = write(tmp_path / "data", [*rows, {"prompt": [user("word " * 600)]}])

    result = train_rl(str(tiny_model), source, data, tmp_path / "out", RlSettings(**RL), inputs="a")

    reason = "prompt and reply together are longer than the policy reads"
    assert (result.rows, result.dropped) == (12, {reason: 1})


@pytest.fixture(scope="module")
def short_sighted(preference_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preference model, as one that reads 40 tokens."""
    folder = shutil.copytree(preference_model, tmp_path_factory.mktemp("short") / "pm")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 40}))
    return folder


@pytest.mark.parametrize("role", ["pays", "tracks"])
def test_prompts_that_a_preference_model_cannot_read_with_a_reply_are_left_out(
    tiny_model: Path,
    preference_model: Path,
    short_sighted: Path,
    tmp_path: Path,
    role: str,
):
    rows = [{"prompt": [user(text)]} for text in ("Why?", "Question " * 12)] * 6
    source = RewardSource(str(short_sighted))
    if role == "tracks":
        short = write(tmp_path / "held", [{"prompt": "Why?", "chosen": "So.", "rejected": "No."}])
        source = RewardSource(
            str(preference_model), short, test_preference_model=str(short_sighted)
        )
    data = write(tmp_path / "data", rows)

    result = train_rl(str(tiny_model), source, data, tmp_path / "out", RlSettings(**RL), inputs="a")

    reason = "prompt and reply together are longer than the preference model reads"
    assert (result.rows, result.dropped) == (6, {reason: 6})


@pytest.mark.parametrize("role", ["pays", "tracks"])
def test_a_reply_that_has_more_tokens_read_than_drawn_is_scored_and_counted(
    tiny_model: Path, preference_model: Path, short_sighted: Path, tmp_path: Path, role: str
):
    # Tokens of a random policy are no whole letters, and read again they are several more.
    data = write(tmp_path / "data", [{"prompt": [user("Why?")]}] * 8)
    source = RewardSource(str(short_sighted))
    if role == "tracks":
        short = write(tmp_path / "held", [{"prompt": "Why?", "chosen": "So.", "rejected": "No."}])
        source = RewardSource(
            str(preference_model), short, test_preference_model=str(short_sighted)
        )
    settings = RlSettings(**{**RL, "max_completion_length": 16})

    result = train_rl(str(tiny_model), source, data, tmp_path / "out", settings, inputs="a")

    assert (result.rows, result.dropped) == (8, {})
    assert sum(entry["shortened"] for entry in log(tmp_path / "out")) > 0


@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
@pytest.mark.parametrize("role", ["pays", "tracks"])
def test_replies_that_a_chat_template_refuses_stop_no_training(
    tiny_model: Path,
    preference_model: Path,
    refuses_even: Path,
    prompts: Path,
    tmp_path: Path,
    role: str,
    algorithm: Any,
):
    source = RewardSource(str(refuses_even))
    if role == "tracks":
        odd = write(tmp_path / "held", [{"prompt": "Why?", "chosen": "So.", "rejected": "No."}])
        source = RewardSource(str(preference_model), odd, test_preference_model=str(refuses_even))
    settings = RlSettings(**RL, algorithm=algorithm)

    train_rl(str(tiny_model), source, prompts, tmp_path / "out", settings, inputs="a")

    for entry in log(tmp_path / "out"):
        assert 0 < entry["unread"] < 1 if role == "pays" else entry["unread"] == 0
        assert math.isfinite(entry["reward"]) and math.isfinite(entry.get("test_pm", 0))


def test_a_preference_model_that_can_read_no_reply_is_told_before_the_policy_is_loaded(
    tiny_model: Path, short_sighted: Path, prompts: Path, tmp_path: Path
):
    settings = RlSettings(**{**RL, "max_completion_length": 60})

    with pytest.raises(InputError, match=r"no row left .*than the preference model reads: 12"):
        source = RewardSource(str(short_sighted))
        train_rl(str(tiny_model), source, prompts, tmp_path / "out", settings, inputs="a")

    assert not (tmp_path / "out.training").exists()
