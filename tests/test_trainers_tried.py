"""Every trainer tried as a new user would: a LoRA on a Qwen, on another tool's pairs."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.trainers_support import HARSH, KIND, log, same_weights
from trainers.command import run_alone
from trainers.reward import RewardSource
from trainers.rl import train_rl
from trainers.settings import LoraSettings, RlSettings

SHORT = ["--set", "batch_size=4", "--set", "max_steps=2"]
RL = ["steps=2", "prompts_per_step=2", "generations=2", "max_completion_length=6"]
ADAPTER = ["--set", "lora.rank=2", "--set", "lora.merge=false"]


def command(monkeypatch: pytest.MonkeyPatch, trainer: str, *arguments: object) -> int:
    """The exit code of ``python -m trainers.TRAINER ARGUMENTS``, started in this process."""
    monkeypatch.setattr(sys, "argv", [trainer, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run_alone(importlib.import_module(f"trainers.{trainer}").main)
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs as other tools write them: plain texts, one JSON object a line."""
    file = tmp_path_factory.mktemp("theirs") / "pairs.jsonl"
    lines = [
        json.dumps({"prompt": f"Question {n}?", "chosen": KIND, "rejected": HARSH})
        for n in range(12)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("trainer", "settings"),
    [
        ("sft", SHORT),
        ("preference_model", SHORT),
        ("dpo", SHORT),
        ("distill", SHORT),
        ("rl", [part for one in RL for part in ("--set", one)]),
        ("rl", [part for one in (*RL, "algorithm=ppo") for part in ("--set", one)]),
    ],
    ids=["sft", "preference_model", "dpo", "distill", "rloo", "ppo"],
)
def test_every_trainer_trains_a_lora_on_a_qwen_from_plain_pairs(
    qwen: str,
    rows: Path,
    preference_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainer: str,
    settings: list[str],
):
    out, judge = tmp_path / "out", ["--preference-model", preference_model]
    given = ["--base", qwen, "--data", rows, "--out", out, *settings, *ADAPTER]

    code = command(monkeypatch, trainer, *given, *(judge if trainer == "rl" else []))

    assert code == 0
    assert (out / "adapter_model.safetensors").is_file()
    assert not (out / "model.safetensors").exists()
    record = json.loads((out / "training.json").read_text())
    assert (record["steps"], record["rows"]) == (2, 12)


@pytest.mark.parametrize("trainer", ["sft", "distill", "preference_model", "dpo", "rl"])
def test_a_wrong_column_is_told_before_any_model_is_looked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trainer: str,
):
    (tmp_path / "rows.jsonl").write_text('{"question": "Why?"}\n')
    data = ["--data", tmp_path / "rows.jsonl", "--out", tmp_path / "out"]

    code = command(monkeypatch, trainer, "--base", "no/model", *data, *ADAPTER)

    assert code == 1
    assert "has no column" in (told := capsys.readouterr().err) and "it has question" in told


def settings(algorithm: Any, **lora: Any) -> RlSettings:
    return RlSettings(
        algorithm=algorithm,
        steps=4,
        prompts_per_step=4,
        generations=2,
        max_completion_length=6,
        learning_rate=1e-2,
        warmup=0,
        save_every=1,
        lora=LoraSettings(rank=2, **lora),
    )


@pytest.mark.parametrize("algorithm", ["rloo", "grpo", "ppo", "reinforce"])
def test_a_lora_in_rl_is_measured_from_the_base_and_merged_into_it(
    qwen: str, rows: Path, preference_model: Path, tmp_path: Path, algorithm: str
):
    source = RewardSource(str(preference_model))

    train_rl(qwen, source, rows, tmp_path / "out", settings(algorithm), inputs="a")

    divergence = [entry["kl"] for entry in log(tmp_path / "out")]
    assert divergence[0] == pytest.approx(0, abs=1e-4)
    assert divergence[-1] != pytest.approx(0, abs=1e-4)
    base, merged = (load_file(Path(one) / "model.safetensors") for one in (qwen, tmp_path / "out"))
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed and all("proj" in name for name in changed)
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_rl_with_a_lora_goes_on_from_a_checkpoint_to_the_same_weights(
    qwen: str, rows: Path, preference_model: Path, tmp_path: Path, algorithm: str
):
    source = RewardSource(str(preference_model))

    def stop(step: int, total: int, loss: float | None) -> None:
        if step == 3:
            raise InterruptedError

    wanted = settings(algorithm)
    with pytest.raises(InterruptedError):
        train_rl(qwen, source, rows, tmp_path / "out", wanted, inputs="a", report=stop)
    train_rl(qwen, source, rows, tmp_path / "out", wanted, inputs="a")

    train_rl(qwen, source, rows, tmp_path / "whole", wanted, inputs="a")
    assert same_weights(tmp_path / "out", tmp_path / "whole")


def test_a_policy_kept_as_an_adapter_learns_in_rl_what_is_merged(
    qwen: str, rows: Path, preference_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = ["--base", qwen, "--data", rows, "--out", tmp_path / "sft", *SHORT, *ADAPTER]
    command(monkeypatch, "sft", *given)
    source = RewardSource(str(preference_model))

    train_rl(str(tmp_path / "sft"), source, rows, tmp_path / "out", settings("ppo"), inputs="a")

    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert log(tmp_path / "out")[0]["kl"] == pytest.approx(0, abs=1e-4)
