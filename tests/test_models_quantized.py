"""Weights rounded to fewer bits, by bitsandbytes on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from cai.errors import MissingDependency, PermanentError
from cai.models.loading import quantization_arguments
from cai.models.local import LocalModel
from cai.models.weights import MICROWORLD, LoadOptions
from cai.records import Message, Sampling

ASKED = [Message("user", "How do I bake bread?")]


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
async def test_without_bitsandbytes_the_way_to_it_is_shown(bits, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    model = LocalModel("microworld", LoadOptions(quantization=bits), device="cpu")

    with pytest.raises(MissingDependency, match=r"'\.\[quantization\]'"):
        await model.load()
    await model.close()


def test_weights_on_mps_are_not_rounded():
    with pytest.raises(PermanentError, match="no weights on mps"):
        quantization_arguments(LoadOptions(quantization="4bit"), torch.device("mps"))


def test_rounded_weights_are_another_model():
    identities = {
        LocalModel("microworld", LoadOptions(quantization=bits)).identity
        for bits in ("8bit", "4bit", None)
    }

    assert len(identities) == 3


def test_four_bits_are_normal_floats_with_rounded_scales():
    arguments = quantization_arguments(
        LoadOptions(quantization="4bit", dtype="float32"), torch.device("cpu")
    )

    config = arguments["quantization_config"]
    assert (config.load_in_4bit, config.bnb_4bit_quant_type) == (True, "nf4")
    assert config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == torch.float32
    assert arguments["device_map"] == {"": torch.device("cpu")}


@pytest.mark.parametrize(("bits", "near"), [("8bit", 0.5), ("4bit", 3.0)])
async def test_rounded_weights_answer_nearly_as_whole_ones(bits, near: float):
    whole = LocalModel("microworld", device="cpu")
    rounded = LocalModel("microworld", LoadOptions(quantization=bits), device="cpu")

    exact = await whole.weigh(ASKED, ["Of", "Here"])
    rough = await rounded.weigh(ASKED, ["Of", "Here"])
    reply = await rounded.complete(ASKED, Sampling(temperature=0, max_tokens=8))

    assert rough.logprobs == pytest.approx(exact.logprobs, abs=near)
    assert rough.logprobs != exact.logprobs
    assert len(reply.text) > 0
    await whole.close()
    await rounded.close()


async def test_an_adapter_stays_beside_rounded_weights(adapter: Path):
    options = LoadOptions(quantization="8bit", adapter=str(adapter))
    rounded = LocalModel("microworld", options, device="cpu")
    whole = LocalModel(str(MICROWORLD), LoadOptions(adapter=str(adapter)), device="cpu")

    rough, exact = [await model.weigh(ASKED, ["A", "B"]) for model in (rounded, whole)]

    assert rough.logprobs == pytest.approx(exact.logprobs, abs=1.0)
    await rounded.close()
    await whole.close()
