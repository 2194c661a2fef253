"""A chat server that takes few requests at once and often fails: run as a process of its own.

What is over its slots gets a 429, and of the others a share that depends on the prompt and the try
alone gets a 500, a dropped connection or half an answer. It prints its address; ``GET /count``
gives how many requests came to which end, and the most that were served at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import Counter

import orjson
from aiohttp import web

SECONDS = 0.02


class Server:
    def __init__(self, slots: int, failing: float) -> None:
        self.slots = slots
        self.failing = failing
        self.serving = 0
        self.ends: Counter[str] = Counter()
        self.tries: Counter[bytes] = Counter()
        self.answered: Counter[bytes] = Counter()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.serving >= self.slots:
            self.ends["refused"] += 1
            return web.json_response({"error": {"message": "too many at once"}}, status=429)
        self.serving += 1
        self.ends["most at once"] = max(self.ends["most at once"], self.serving)
        try:
            await asyncio.sleep(SECONDS)
            return await self.serve(request, body)
        finally:
            self.serving -= 1

    async def serve(self, request: web.Request, body: bytes) -> web.StreamResponse:
        self.tries[body] += 1
        number = hashlib.sha256(body + bytes([self.tries[body]])).digest()
        if number[0] < 256 * self.failing:
            self.ends["failed"] += 1
            return await self.fail(request, number[1] % 3)
        self.ends["answered"] += 1
        self.answered[body] += 1
        self.ends["answered twice"] += self.answered[body] == 2
        text = orjson.loads(body)["messages"][-1]["content"]
        choice = {"message": {"content": text[::-1]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 10}
        return web.json_response({"choices": [choice], "usage": usage})

    async def fail(self, request: web.Request, way: int) -> web.StreamResponse:
        if way == 0:
            return web.json_response({"error": {"message": "a bad moment"}}, status=500)
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        if way == 1:
            await response.prepare(request)
            await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.abort()
        return response

    async def count(self, request: web.Request) -> web.Response:
        return web.json_response(dict(self.ends))


async def main(slots: int, failing: float) -> None:
    server = Server(slots, failing)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/count", server.count)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
