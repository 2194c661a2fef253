"""A chat server whose answers depend on the request alone: run as a process of its own.

It prints its address, and counts what it is asked: ``GET /count`` gives the number of answers, and
``GET /asked`` every request that came, with the key of who asked: [key, request, how often].
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import sys
from collections import Counter

import orjson
from aiohttp import web

WORDS = ("the", "kind", "quiet", "answer", "helps", "people", "who", "ask", "for", "bread")


class Server:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.answers = 0
        self.asked: Counter[tuple[str, str]] = Counter()

    async def chat(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        body = orjson.dumps(
            [asked["messages"], asked.get("seed"), asked.get("logprobs")],
            option=orjson.OPT_SORT_KEYS,
        )
        numbers = hashlib.sha256(body).digest()
        who = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked[who, numbers.hex()] += 1
        await asyncio.sleep(self.seconds)
        self.answers += 1
        weighing = bool(asked.get("logprobs")) and asked["max_tokens"] == 1
        choice = weighed(numbers) if weighing else written(numbers)
        usage = {
            "prompt_tokens": sum(len(turn["content"].split()) for turn in asked["messages"]),
            "completion_tokens": len(choice["message"]["content"].split()),
        }
        return web.json_response({"model": "fake", "choices": [choice], "usage": usage})

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response({"answers": self.answers})

    async def list_asked(self, request: web.Request) -> web.Response:
        return web.json_response([[*one, times] for one, times in self.asked.items()])


def written(numbers: bytes) -> dict:
    length = 4 + numbers[8] % 9
    text = " ".join(WORDS[number % len(WORDS)] for number in numbers[:length])
    return {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}


def weighed(numbers: bytes) -> dict:
    p = (numbers[0] + 1) / 258
    top = [{"token": "A", "logprob": math.log(p)}, {"token": "B", "logprob": math.log(1 - p)}]
    content = [{**max(top, key=lambda one: one["logprob"]), "top_logprobs": top}]
    message = {"role": "assistant", "content": content[0]["token"]}
    return {
        "index": 0,
        "finish_reason": "length",
        "message": message,
        "logprobs": {"content": content},
    }


async def main(seconds: float) -> None:
    server = Server(seconds)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/count", server.count)
    app.router.add_get("/asked", server.list_asked)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
