"""The fake server does as it is told, and every contestant of the bench does the same work."""

import asyncio
import json
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import aiohttp
import pytest

from bench.__main__ import FIGURES, RESULTS, measure
from bench.contestants import CONTESTANTS
from bench.serving import ROOT, counters, running_server
from bench.startup import loaded_by_help
from bench.table import table
from bench.workloads import WORKLOADS, Workload, body_of
from tests.processes import running

NEEDED = {"cai": "cai", "aiohttp": "aiohttp", "openai": "openai", "langchain": "langchain_openai"}
WEIGH = {"logprobs": True, "top_logprobs": 20, "max_tokens": 1}


async def ask(address: str, bodies: list[dict[str, Any]], path: str = "chat/completions"):
    """(status, headers, JSON) of each answer, or the error that there was none."""

    async def one(session: aiohttp.ClientSession, body: dict[str, Any]):
        try:
            async with session.post(f"{address}/v1/{path}", json=body) as answer:
                return answer.status, answer.headers, await answer.json()
        except aiohttp.ClientError as error:
            return error

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        return await asyncio.gather(*(one(session, body) for body in bodies))


async def answers(address: str, *bodies: dict[str, Any], path: str = "chat/completions"):
    return [answer for _, _, answer in await ask(address, list(bodies), path)]


async def test_requests_beyond_the_slots_wait_for_one():
    with running_server("--slots=4", "--latency=0.02") as address:
        await ask(address, [body_of(row, []) for row in range(20)])

        counted = counters(address)

    assert counted["most_in_service"] == 4
    assert counted["most_in_flight"] > 4
    assert (counted["requests"], counted["answers"], counted["in_flight"]) == (20, 20, 0)


async def test_the_asked_share_of_requests_fails_in_every_way():
    with running_server("--failures=0.25", "--retry-after=7") as address:
        ends = await ask(address, [body_of(row, []) for row in range(800)])
        counted = counters(address)

    failures = counted["failures"]
    assert sum(failures.values()) / 800 == pytest.approx(0.25, abs=0.05)
    assert sum(failures.values()) + counted["answers"] == 800
    assert set(failures) == {"429_retry_after", "429", "500", "dropped", "half_sent"}
    broken = [end for end in ends if isinstance(end, Exception)]
    assert len(broken) == failures["dropped"] + failures["half_sent"]
    waits = [end[1].get("Retry-After") for end in ends if end not in broken and end[0] == 429]
    assert waits.count("7") == failures["429_retry_after"]
    assert waits.count(None) == failures["429"]


async def test_an_answer_depends_on_the_request_alone():
    first, seeded = body_of(1, []), body_of(1, []) | {"seed": 5}
    with running_server() as address:
        told, other = await answers(address, first, seeded)
        repeats = counters(address)["repeats"]
    with running_server("--latency=0.01", "--jitter=0.01") as address:
        again, twice = await answers(address, first, first)
        repeats_there = counters(address)["repeats"]

    assert told == again == twice
    assert told["choices"] != other["choices"]
    assert (repeats, repeats_there) == (0, 1)
    assert told["usage"]["completion_tokens"] == 60


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
async def test_a_choice_between_a_and_b_comes_with_their_logprobs(path):
    asked = body_of(1, []) | WEIGH
    if path == "completions":
        asked = {"model": "fake", "prompt": "(A) or (B)?", "logprobs": 5, "max_tokens": 1}
    with running_server() as address:
        (answer,) = await answers(address, asked, path=path)

    logprobs = answer["choices"][0]["logprobs"]
    if path == "completions":
        top = logprobs["top_logprobs"][0]
    else:
        top = {one["token"]: one["logprob"] for one in logprobs["content"][0]["top_logprobs"]}
    assert {"A", "B"} <= set(top)
    assert answer["choices"][0].get("text") or answer["choices"][0]["message"]["content"] in "AB"


async def test_what_is_no_completion_request_is_refused_with_a_reason():
    with running_server() as address:
        ((status, _, answer),) = await ask(address, [{"messages": []}])

    assert status == 400
    assert "not a completion request" in answer["error"]["message"]


PARENT = """
import sys, time
from bench.serving import running_server
with running_server() as address:
    print(address, flush=True)
    time.sleep(60)
"""


def test_the_server_ends_when_its_parent_was_killed():
    command = [sys.executable, "-c", PARENT]
    with running(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().strip()
        assert counters(address)["requests"] == 0
        parent.kill()
        parent.wait()

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            counters(address)
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the server still answers")


def test_every_contestant_does_the_same_work_and_is_measured_alike():
    there = [name for name in CONTESTANTS if find_spec(NEEDED[name]) is not None]

    results, rows = measure(1, {"W1_0ms": Workload(rows=6, calls=3, latency=0.0)}, there)

    assert {"cai", "aiohttp"} <= set(there)
    assert set(results["W1_0ms"]) == set(there)
    assert all(set(figures) == set(FIGURES) for figures in results["W1_0ms"].values())
    assert all(number > 0 for one in results["W1_0ms"].values() for number in one.values())
    assert rows["W1_0ms"]["cai"] == 6


def test_a_contestant_that_fails_stops_the_bench_with_its_error():
    with pytest.raises(RuntimeError, match=r"aiohttp failed on W1_0ms:\n(?s:.)*500"):
        measure(
            1, {"W1_0ms": Workload(6, 3, 0.0)}, ["aiohttp"], server=("--failures=1", "--kinds=500")
        )


def test_the_table_compares_with_raw_aiohttp():
    results = {
        "W1_0ms": {
            "cai": {"calls_per_s": 2000.0, "cpu_ms_per_call": 0.2, "peak_mb": 55.0},
            "aiohttp": {"calls_per_s": 4000.0, "cpu_ms_per_call": 0.1, "peak_mb": 35.0},
        }
    }

    lines = table(results, {"W1_0ms": {"cai": 2000, "aiohttp": 2000}}).splitlines()

    assert lines[2] == "| W1_0ms | cai | 2,000 | 2,000 | 0.50 | 0.20 | 0.50 | 55 |"


def test_the_results_in_the_repository_are_of_the_documented_shape():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))

    assert set(results) == set(WORKLOADS)
    for by_contestant in results.values():
        assert set(by_contestant) == set(CONTESTANTS)
        assert all(set(figures) == set(FIGURES) for figures in by_contestant.values())


def test_help_loads_neither_torch_nor_a_provider_sdk():
    assert loaded_by_help() == []
