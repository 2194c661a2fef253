"""LoRA: on a random Qwen, kept or merged, resumed, and refused where it cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from cai.errors import InputError, MissingDependency, RunError
from cai.microworld import MODEL
from cai.models.settings import settings_of
from cai.models.weights import LoadOptions, answers_identity
from cai.pipeline.ingredients import policy_settings
from tests.trainers_support import KIND, SHORT, assistant, log, same_weights, user, write
from trainers.adapters import merge_adapter
from trainers.dpo import train_dpo
from trainers.settings import DpoSettings, LoraSettings, SftSettings
from trainers.sft import train_sft

LORA: dict[str, Any] = {"rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"messages": [user(f"Question {n}"), assistant(KIND)]} for n in range(48)]
    return write(tmp_path_factory.mktemp("sft") / "train", rows)


@pytest.fixture(scope="module")
def kept(qwen: str, conversations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "adapter"
    lora = LoraSettings(**LORA, merge=False)
    settings = SftSettings(batch_size=8, epochs=3, learning_rate=1e-2, lora=lora)
    train_sft(qwen, conversations, out, settings, inputs="a")
    return out


def test_a_lora_learns(kept: Path):
    losses = [entry["loss"] for entry in log(kept)]

    assert losses[-1] < losses[0] / 2


def test_an_adapter_is_its_own_files_and_no_copy_of_the_base(kept: Path):
    assert {path.name for path in kept.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "training_log.jsonl",
    }


def test_an_adapter_merged_afterwards_is_the_model_merged_at_once(
    qwen: str, conversations: Path, kept: Path, tmp_path: Path
):
    lora = LoraSettings(**LORA)
    settings = SftSettings(batch_size=8, epochs=3, learning_rate=1e-2, lora=lora)
    train_sft(qwen, conversations, tmp_path / "at once", settings, inputs="a")

    merge_adapter(kept, tmp_path / "afterwards")

    assert same_weights(tmp_path / "afterwards", tmp_path / "at once")
    changed = load_file(tmp_path / "afterwards" / "model.safetensors")
    base = load_file(Path(qwen) / "model.safetensors")
    assert {name.split(".")[-2] for name in base if not torch.equal(base[name], changed[name])} == {
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }


def test_a_training_starts_from_an_adapter_as_from_the_whole_model(
    conversations: Path, kept: Path, tmp_path: Path
):
    merge_adapter(kept, tmp_path / "whole")
    settings = SftSettings(**SHORT)

    train_sft(str(kept), conversations, tmp_path / "one", settings, inputs="a")
    train_sft(str(tmp_path / "whole"), conversations, tmp_path / "two", settings, inputs="a")

    assert same_weights(tmp_path / "one", tmp_path / "two")
    AutoModelForCausalLM.from_pretrained(tmp_path / "one")


@pytest.mark.parametrize(
    "change",
    [{"rank": 2}, {"alpha": 16}, {"dropout": 0.5}, {"modules": ("q_proj",)}],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_of_a_lora_changes_the_weights(
    qwen: str, conversations: Path, tmp_path: Path, change: dict[str, Any]
):
    one = SftSettings(**SHORT, lora=LoraSettings(**LORA))
    two = SftSettings(**SHORT, lora=LoraSettings(**{**LORA, **change}))
    train_sft(qwen, conversations, tmp_path / "one", one, inputs="a")

    train_sft(qwen, conversations, tmp_path / "two", two, inputs="a")

    assert not same_weights(tmp_path / "one", tmp_path / "two")


def test_an_adapter_on_an_adapter_is_refused(kept: Path, conversations: Path, tmp_path: Path):
    settings = SftSettings(**SHORT, lora=LoraSettings(merge=False))

    with pytest.raises(RunError, match="is an adapter itself"):
        train_sft(str(kept), conversations, tmp_path / "out", settings, inputs="a")


def test_a_folder_without_an_adapter_is_not_merged(tiny_model: Path, tmp_path: Path):
    for name in (tiny_model, Path("nope")):
        with pytest.raises(InputError, match=f"{name}: holds no adapter"):
            merge_adapter(name, tmp_path / "out")


def test_without_bitsandbytes_the_way_to_it_is_shown(
    qwen: str, conversations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    settings = SftSettings(**SHORT, lora=LoraSettings(quantization="4bit"))

    with pytest.raises(MissingDependency, match=r"'\.\[quantization\]'"):
        train_sft(qwen, conversations, tmp_path / "out", settings, inputs="a")


def test_a_base_of_4_bits_learns_and_what_it_learned_is_merged_into_the_whole_one(
    qwen: str, conversations: Path, tmp_path: Path
):
    lora = LoraSettings(**LORA, quantization="4bit")
    settings = SftSettings(batch_size=8, epochs=3, learning_rate=1e-2, lora=lora)

    train_sft(qwen, conversations, tmp_path / "out", settings, inputs="a")

    losses = [entry["loss"] for entry in log(tmp_path / "out")]
    assert losses[-1] < losses[0] / 2
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    whole = load_file(tmp_path / "out" / "model.safetensors")
    assert all(weight.dtype == torch.float32 for weight in whole.values())


def test_packed_conversations_teach_a_base_of_4_bits(conversations: Path, tmp_path: Path):
    lora = LoraSettings(rank=4, quantization="4bit")
    settings = SftSettings(
        batch_size=2, max_length=256, packing=True, max_steps=2, learning_rate=1e-2, lora=lora
    )

    # A weight that passes no gradient on is warned of, and warnings are errors.
    train_sft(str(MODEL), conversations, tmp_path / "out", settings, inputs="a")

    assert not same_weights(MODEL, tmp_path / "out")


def test_dpo_by_lora_is_held_close_to_the_base_without_it(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    lora = LoraSettings(**LORA, merge=False)
    settings = DpoSettings(batch_size=16, epochs=4, learning_rate=1e-2, lora=lora)

    train_dpo(str(tiny_model), pairs, tmp_path / "out", settings, inputs="a")

    margins = [entry["margin"] for entry in log(tmp_path / "out")]
    assert margins[0] == pytest.approx(0, abs=1e-5)
    assert margins[-1] > 0.5
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_a_policy_kept_as_an_adapter_is_served_on_its_base(qwen: str, kept: Path):
    served = policy_settings(kept, settings_of("microworld"))

    assert (served.name, served.adapter) == (qwen, str(kept))
    assert answers_identity(served.name, LoadOptions(adapter=served.adapter))
