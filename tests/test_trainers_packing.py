"""Packed rows: each conversation once, and blind to its neighbours, or no training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTNeoXConfig,
    Lfm2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OPTConfig,
    OPTForCausalLM,
)

from cai.errors import RunError
from tests.conftest import tiny_tokenizer
from tests.trainers_support import KIND, SHORT, assistant, user, write
from trainers.packing import bins, keeps_apart, packed, packed_collator
from trainers.settings import SftSettings
from trainers.sft import train_sft

LENGTHS = some.lists(some.integers(1, 50), min_size=1, max_size=300)
TOKENS = random.Random(0).sample(range(5, 64), 16)
SIZES = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**SIZES, "intermediate_size": 64}
HALF = {"num_key_value_heads": 2}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2}


@given(LENGTHS)
def test_every_row_is_packed_once_and_no_bin_is_too_full(lengths: list[int]):
    found = bins(lengths, 50)

    assert sorted(row for one in found for row in one) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in one) <= 50 for one in found)


@given(LENGTHS)
def test_two_half_empty_bins_are_never_left(lengths: list[int]):
    filled = [sum(lengths[row] for row in one) for one in bins(lengths, 50)]

    assert sum(total <= 25 for total in filled) <= 1


def test_packed_conversations_do_not_see_each_other(tiny_model: Path):
    rows = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    data = Dataset.from_dict({"input_ids": rows, "labels": rows})
    model = AutoModelForCausalLM.from_pretrained(tiny_model)

    batch = packed_collator(0, -100)(list(packed(data, 6)))
    batch.pop("labels")
    together = model(**batch, use_cache=False).logits

    alone = [model(input_ids=torch.tensor([row])).logits[0] for row in rows]
    assert batch["input_ids"].tolist() == [[10, 11, 12, 13, 8, 9], [5, 6, 7, 0, 0, 0]]
    assert torch.allclose(together[0, :4], alone[2], atol=1e-5)
    assert torch.allclose(together[0, 4:], alone[1], atol=1e-5)
    assert torch.allclose(together[1, :3], alone[0], atol=1e-5)


@pytest.mark.parametrize(
    ("config", "apart"),
    [
        (LlamaConfig(**WIDE), True),
        (MistralConfig(**WIDE, **HALF, sliding_window=4), True),
        (GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, **SPECIAL), True),
        (GPTNeoXConfig(**WIDE), True),
        (OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32), False),
        (FalconConfig(**SIZES), False),
        (BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=4), False),
        (MptConfig(vocab_size=64, d_model=32, n_layers=2, n_heads=4), False),
        (MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=8), False),
        (Lfm2Config(**WIDE, **HALF, layer_types=["conv", "full_attention"]), False),
    ],
    ids=lambda value: getattr(value, "model_type", "apart" if value is True else "mixed"),
)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["32-bit", "bf16"])
def test_it_is_found_out_whether_a_model_keeps_packed_conversations_apart(
    config: Any, apart: bool, kind: torch.dtype
):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(kind)

    assert keeps_apart(model, TOKENS, 0) == apart


def test_packing_is_refused_where_conversations_would_see_each_other(tmp_path: Path):
    tokenizer, base = tiny_tokenizer(512), tmp_path / "opt"
    tokenizer.save_pretrained(base)
    config = OPTConfig(**{**SIZES, "vocab_size": len(tokenizer)}, word_embed_proj_dim=32)
    OPTForCausalLM(config).save_pretrained(base)
    rows = [{"messages": [user(f"Question {n}"), assistant(KIND)]} for n in range(16)]
    data, settings = write(tmp_path / "data", rows), SftSettings(**SHORT, packing=True)

    with pytest.raises(RunError, match=r"packing: true: .*'opt' lets packed conversations see"):
        train_sft(str(base), data, tmp_path / "out", settings, inputs="a")


def test_packing_is_refused_with_flash_attention():
    with pytest.raises(ValidationError, match="packed conversations see each other"):
        SftSettings(packing=True, attention="flash_attention_2")
