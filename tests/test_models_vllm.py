"""vLLM's engine in this process, as far as it shows without vLLM (see tests/vllm)."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cai.errors import MissingDependency
from cai.models.local import LocalModel
from cai.models.vllm_arguments import engine_arguments, stored_dtype
from cai.models.vllm_engine import VLLMModel
from cai.models.weights import MICROWORLD, LoadOptions
from cai.records import Message, Sampling

PLAIN = LoadOptions()


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
async def test_without_vllm_the_way_to_it_and_the_way_around_it_are_shown():
    model = VLLMModel("microworld")

    with pytest.raises(MissingDependency) as missing:
        await model.complete([Message("user", "hi")], Sampling())

    await model.close()
    assert "pip install --editable '.[vllm]'" in str(missing.value)
    assert "give the model its endpoint" in str(missing.value)


def test_an_engine_shares_the_digest_of_its_weights_and_no_more_with_transformers():
    engine, local = VLLMModel("microworld").identity, LocalModel("microworld").identity

    assert engine.removeprefix("vllm:") == local.removeprefix("local:")
    assert engine != local


@pytest.mark.parametrize(
    ("engine", "same"),
    [
        ({"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5}, True),
        ({"quantization": "fp8"}, False),
        ({"kv_cache_dtype": "fp8"}, False),
        ({"speculative_config": {"method": "ngram"}}, False),
    ],
    ids=["scale", "weights", "cache", "speculation"],
)
def test_an_engine_is_another_model_where_its_arguments_change_answers(
    engine: dict[str, Any], same: bool
):
    changed = VLLMModel("microworld", engine=engine).identity

    assert (changed == VLLMModel("microworld").identity) is same


def test_engine_arguments_are_passed_through_and_win():
    arguments = engine_arguments(
        "microworld", PLAIN, {"data_parallel_size": 2, "enable_prefix_caching": False}
    )

    assert arguments == {
        "model": str(MICROWORLD),
        "tokenizer": str(MICROWORLD),
        "dtype": "float32",
        "load_format": "safetensors",
        "trust_remote_code": False,
        "enable_prefix_caching": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "seed": 0,
        "data_parallel_size": 2,
    }


def test_on_a_cpu_prompts_are_read_whole():
    assert engine_arguments("microworld", PLAIN, {}, on_cpu=True)["enable_chunked_prefill"] is False


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_the_number_format_is_that_of_the_weights(tiny_model: Path, tmp_path: Path, key: str):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(config))
    assert stored_dtype(folder) == "auto"

    (folder / "config.json").write_text(json.dumps({**config, key: "bfloat16"}))

    assert stored_dtype(folder) == "bfloat16"
