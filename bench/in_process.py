"""Tokens per second of an in-process model: our batches beside one `generate` call per request.

    python -m bench.in_process --requests 512

Both read the same weights and answer the same requests of the microworld greedily, so they write
the same replies, up to rounding.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from cai.microworld import sample_requests
from cai.models.local import LocalModel
from cai.models.weights import local_path
from cai.records import Message, Sampling

MAX_TOKENS = 64
NAIVE_SHARE = 8
"""The naive way answers every so manieth request: its speed does not depend on their number."""


class Speed(NamedTuple):
    """How fast replies were written; `replies` are their texts."""

    tokens: int
    seconds: float
    replies: list[str]

    @property
    def tokens_per_s(self) -> float:
        """Tokens written per second."""
        return self.tokens / self.seconds


def requests_of(number: int) -> list[list[Message]]:
    """Everyday requests of the microworld, harmless ones."""
    drawn = sample_requests("harmless", "train", number, seed=0)
    return [[Message("user", request.text)] for request in drawn]


async def batched(name: str, requests: Sequence[Sequence[Message]]) -> Speed:
    """All requests at once through `LocalModel`, which gathers them into batches."""
    model = LocalModel(name)
    sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
    await model.load()
    await model.complete(requests[0], sampling)
    began = time.perf_counter()
    replies = await asyncio.gather(*(model.complete(one, sampling) for one in requests))
    seconds = time.perf_counter() - began
    await model.close()
    written = sum(reply.usage.output_tokens for reply in replies)
    return Speed(written, seconds, [reply.text for reply in replies])


def naive(name: str, requests: Sequence[Sequence[Message]]) -> Speed:
    """One `generate` of transformers for each request, one after the other."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(local_path(name))
    model: Any = AutoModelForCausalLM.from_pretrained(local_path(name)).eval()

    def answer(messages: Sequence[Message]) -> Any:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        read = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            written = model.generate(**read, max_new_tokens=MAX_TOKENS, do_sample=False)
        return written[0, read["input_ids"].shape[1] :]

    answer(requests[0])
    began = time.perf_counter()
    ids = [answer(messages) for messages in requests]
    seconds = time.perf_counter() - began
    replies = [tokenizer.decode(one, skip_special_tokens=True) for one in ids]
    return Speed(sum(map(len, ids)), seconds, replies)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both and print the figures."""
    import torch

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="microworld", help="as in a recipe, local")
    options.add_argument("--requests", type=int, default=512)
    options.add_argument("--threads", type=int, default=1, help="cores that torch uses, for both")
    given = options.parse_args(arguments)
    torch.set_num_threads(given.threads)
    requests = requests_of(given.requests)
    ours = asyncio.run(batched(given.model, requests))
    part = requests[::NAIVE_SHARE]
    theirs = naive(given.model, part)
    same = sum(a == b for a, b in zip(ours.replies[::NAIVE_SHARE], theirs.replies, strict=True))
    figures = {
        "requests": len(requests),
        "tokens_per_s": ours.tokens_per_s,
        "naive_requests": len(part),
        "naive_tokens_per_s": theirs.tokens_per_s,
        "ratio": ours.tokens_per_s / theirs.tokens_per_s,
        "same_replies": f"{same} of {len(part)}",
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
