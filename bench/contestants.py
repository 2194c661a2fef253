"""The contestants: each takes the same rows through the same calls, 64 rows in flight.

All have their connection limits raised, no retries, and no tracing. The engine alone keeps every
call and row on disk while it goes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.workloads import (
    IN_FLIGHT,
    MAX_TOKENS,
    MODEL,
    asked_of,
    body_of,
    messages_of,
    prompt_of,
)

CONNECTIONS = 1024


@dataclass(frozen=True)
class Job:
    """What a contestant is to do.

    Args:
        address: of the server, such as ``http://127.0.0.1:40123``.
        rows: number of rows.
        calls: dependent calls of each.
        folder: an empty one, on a disk.
    """

    address: str
    rows: int
    calls: int
    folder: Path


Contestant = Callable[[Job], Awaitable[list[str]]]
"""Does a job; gives the last reply of every row, in the order of the rows."""


async def run_aiohttp(job: Job) -> list[str]:
    """Raw aiohttp with orjson and nothing else: the limit."""
    import aiohttp
    import orjson

    url = f"{job.address}/v1/chat/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def row(number: int) -> str:
            replies: list[str] = []
            for _ in range(job.calls):
                body = orjson.dumps(body_of(number, replies))
                async with session.post(url, data=body) as answer:
                    answer.raise_for_status()
                    read = orjson.loads(await answer.read())
                replies.append(read["choices"][0]["message"]["content"])
            return replies[-1]

        return await _rows(job, row)


async def run_openai(job: Job) -> list[str]:
    """The openai SDK."""
    from openai import AsyncOpenAI

    client = AsyncOpenAI(
        base_url=f"{job.address}/v1", api_key="none", max_retries=0, http_client=_raised_limits()
    )

    async def row(number: int) -> str:
        replies: list[str] = []
        for _ in range(job.calls):
            answer = await client.chat.completions.create(**body_of(number, replies))
            replies.append(answer.choices[0].message.content or "")
        return replies[-1]

    async with client:
        return await _rows(job, row)


async def run_langchain(job: Job) -> list[str]:
    """langchain-openai: one LCEL chain per row, `abatch` over the rows."""
    os.environ["LANGSMITH_TRACING"] = "false"
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.runnables import RunnablePassthrough
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model=MODEL,
        base_url=f"{job.address}/v1",
        api_key="none",
        temperature=1.0,
        top_p=1.0,
        max_tokens=MAX_TOKENS,
        max_retries=0,
        http_async_client=_raised_limits(),
    )
    chain: Any = RunnablePassthrough()
    for call in range(job.calls):
        turns = [("human", "{prompt}")]
        if call:
            turns += [("ai", f"{{reply{call - 1}}}"), ("human", asked_of(call - 1))]
        asked = ChatPromptTemplate.from_messages(turns) | model.bind(seed=call) | StrOutputParser()
        chain = chain.assign(**{f"reply{call}": asked})
    rows = [{"prompt": prompt_of(row)} for row in range(job.rows)]
    done = await chain.abatch(rows, config={"max_concurrency": IN_FLIGHT})
    return [row[f"reply{job.calls - 1}"] for row in done]


async def run_cai(job: Job) -> list[str]:
    """Our engine as a run uses it: ledger, rows, pressure, progress and log."""
    from cai.engine import BoughtModel, Ledger, Progress, RowLog, Tally, making, run_rows
    from cai.engine.pressure import Pressure
    from cai.models.openai_compatible import Endpoint, OpenAICompatibleModel
    from cai.records import Message, RowKey, Sampling

    last: dict[int, str] = {}
    endpoint = Endpoint("openai", MODEL, url=f"{job.address}/v1")
    tally = Tally()

    async def step(number: int, log: RowLog) -> None:
        replies: list[str] = []
        calls: list[str] = []
        for call in range(job.calls):
            key = RowKey("revision" if call else "response", f"p{number:07}", (call + 1) // 2)
            turns = messages_of(number, replies)
            messages = [Message(turn["role"], turn["content"]) for turn in turns]
            with making(key):
                completion = await model.complete(
                    messages, Sampling(max_tokens=MAX_TOKENS, seed=call)
                )
            replies.append(completion.text)
            calls.append(completion.call)
            if call % 2 == 0:
                record = {"prompt": messages[0].content, "texts": replies[-2:]}
                await log.ok(key, record, tuple(calls[-2:]))
        last[number] = replies[-1]

    path = job.folder / "ledger.sqlite"
    with Ledger.open(path) as ledger, Progress(job.folder / "log.jsonl") as progress:
        model = BoughtModel(
            OpenAICompatibleModel(endpoint), ledger, tally=tally, pressure=Pressure(IN_FLIGHT)
        )
        try:
            await run_rows(
                range(job.rows),
                step,
                ledger=ledger,
                in_flight=IN_FLIGHT,
                progress=progress.stage("bench", tally),
                stages=("response", "revision"),
            )
        finally:
            await model.close()
        assert ledger.call_count() == job.rows * job.calls
    return [last[number] for number in range(job.rows)]


CONTESTANTS: dict[str, Contestant] = {
    "cai": run_cai,
    "aiohttp": run_aiohttp,
    "openai": run_openai,
    "langchain": run_langchain,
}


def _raised_limits() -> Any:
    """The SDK's own HTTP client with room for every row."""
    from openai import DEFAULT_CONNECTION_LIMITS, DefaultAsyncHttpxClient

    # The class of httpx or httpx2, whichever this version of the SDK stands on.
    limits = type(DEFAULT_CONNECTION_LIMITS)
    return DefaultAsyncHttpxClient(
        limits=limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    )


async def _rows(job: Job, row: Callable[[int], Awaitable[str]]) -> list[str]:
    """Every row through one function, so many at once."""
    numbers = iter(range(job.rows))
    last: dict[int, str] = {}

    async def work() -> None:
        for number in numbers:
            last[number] = await row(number)

    await asyncio.gather(*(work() for _ in range(min(IN_FLIGHT, job.rows))))
    return [last[number] for number in range(job.rows)]
