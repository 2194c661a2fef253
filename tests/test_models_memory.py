"""Batches sized by the memory that is free, and what becomes of one that does not fit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cai.errors import RejectedRequest
from cai.models import free_memory
from cai.models.batching import MOST_ROWS, Capacity
from cai.models.free_memory import free_bytes
from cai.models.local import LocalModel
from cai.records import Message, Sampling

CPU = torch.device("cpu")
GREEDY = Sampling(temperature=0, max_tokens=6)
ASKED = [[Message("user", f"Ask me {number}")] for number in range(24)]

OUT = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Memory:
    """A limit on the rows of one forward pass, put before the real model's own; as CUDA fails."""

    def __init__(self, rows: int, error: Exception = OUT) -> None:
        self.rows = rows
        self.error = error
        self.tried: list[int] = []

    def __call__(self, module: Any, args: Any, kwargs: Any) -> None:
        self.tried.append(kwargs["input_ids"].shape[0])
        if self.tried[-1] > self.rows:
            raise self.error


@pytest.fixture
async def limited(tiny_model: Path) -> AsyncIterator[Callable[[Memory], Any]]:
    opened: list[LocalModel] = []

    async def with_memory(memory: Memory) -> LocalModel:
        model = LocalModel(str(tiny_model), device="cpu")
        opened.append(model)
        await model.load()
        loaded = model._worker._loaded.decoder.model
        loaded.register_forward_pre_hook(memory, with_kwargs=True)
        return model

    yield with_memory
    for model in opened:
        await model.close()


@pytest.mark.parametrize("error", [OUT, MemoryError()], ids=["torch", "python"])
async def test_no_row_is_lost_when_memory_runs_out(limited: Any, error: Exception):
    memory = Memory(5, error)
    model, roomy = await limited(memory), await limited(Memory(1000))

    replies = await asyncio.gather(*(model.complete(one, GREEDY) for one in ASKED))
    weighed = await asyncio.gather(*(model.weigh(one, ["A", "B"]) for one in ASKED))

    assert max(memory.tried) == len(ASKED)
    assert [reply.text for reply in replies] == [
        (await roomy.complete(one, GREEDY)).text for one in ASKED
    ]
    for one, answer in zip(ASKED, weighed, strict=True):
        alone = await roomy.weigh(one, ["A", "B"])
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=1e-5)


async def test_later_batches_are_no_larger_than_half_of_one_that_did_not_fit(limited: Any):
    memory = Memory(5)
    model = await limited(memory)
    await asyncio.gather(*(model.complete(one, GREEDY) for one in ASKED))
    memory.tried.clear()

    await asyncio.gather(*(model.complete(one, GREEDY) for one in ASKED))

    assert max(memory.tried) <= 5


async def test_a_row_that_does_not_fit_alone_is_rejected_with_its_length(limited: Any):
    model = await limited(Memory(0))

    replies = await asyncio.gather(
        *(model.complete(one, GREEDY) for one in ASKED[:3]), return_exceptions=True
    )

    assert [type(reply) for reply in replies] == [RejectedRequest] * 3
    assert "a row of 27 tokens, reply included, does not fit in memory even alone" in str(
        replies[0]
    )


async def test_another_error_of_the_model_is_not_taken_for_a_lack_of_memory(limited: Any):
    model = await limited(Memory(0, RuntimeError("shapes do not match")))

    with pytest.raises(RuntimeError, match="shapes"):
        await model.complete(ASKED[0], GREEDY)


@pytest.mark.parametrize(
    ("capacity", "rows", "width", "fits"),
    [
        (Capacity(100), 10, 10, True),
        (Capacity(100), 10, 11, False),
        (Capacity(10**9), MOST_ROWS + 1, 1, False),
        (Capacity(10**9, memory=1000, position_bytes=5, row_bytes=50), 10, 10, True),
        (Capacity(10**9, memory=1000, position_bytes=5, row_bytes=51), 10, 10, False),
        (Capacity(10**9, memory=1000, position_bytes=6, row_bytes=50), 10, 10, False),
    ],
)
def test_a_batch_is_held_by_tokens_rows_and_memory(
    capacity: Capacity, rows: int, width: int, fits: bool
):
    assert capacity.holds(rows, width) is fits


def test_free_main_memory_is_a_share_of_what_the_machine_has_available():
    import psutil

    available = psutil.virtual_memory().available

    assert 0 < free_bytes(CPU) < available


@pytest.mark.parametrize(
    ("limit", "free"),
    [("5000000", 0.4 * (5_000_000 - 3_000_000 + 1_000_000)), ("2000000", 0)],
    ids=["room", "full"],
)
def test_what_a_container_leaves_is_all_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, free: float
):
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 2000000\ninactive_file 1000000\n")
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)

    assert free_bytes(CPU) == int(free)


LIMITED = """
import asyncio, resource, sys
import psutil
from cai.models.batching import Capacity
from cai.models.local import LocalModel
from cai.records import Message, Sampling

async def main(folder, room):
    model = LocalModel(folder, device="cpu", max_batch_tokens=10**9)
    asked = [[Message("user", f"{n} word " * 60)] for n in range(48)]
    sampling = Sampling(temperature=0, max_tokens=40)
    alone = [await model.complete(one, sampling) for one in asked[:3]]
    taken = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (taken + room, resource.RLIM_INFINITY))
    replies = await asyncio.gather(*(model.complete(one, sampling) for one in asked))
    # What is freed may stay the process's own, and the end needs a thread, whose stack is 8 MiB.
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await model.close()
    same = [one.text for one in replies[:3]] == [one.text for one in alone]
    print(len(replies), same, model._batcher._most < float("inf"))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
def test_no_row_is_lost_when_the_process_may_take_no_more_memory(tmp_path: Path):
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.conftest import build_tiny_model

    build_tiny_model(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.num_key_value_heads, config.head_dim = 4, 128  # 8 kilobytes a position
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)

    # A further thread's arena alone would take 64 MiB of address space.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", LIMITED, tmp_path, str(60 << 20)]

    done = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert done.stdout.strip() == "48 True True", done.stderr
