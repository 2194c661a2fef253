"""A small OpenAI-compatible server around a model of this process.

It answers /v1/models, /v1/chat/completions and /v1/completions, with log-probabilities, seeds
and stop strings, which the server that transformers brings lacks. It is meant for one machine:
there is no key, by default it listens on the loopback address alone, and then it answers no web
page that asks from a browser.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from cai.errors import CaiError, RejectedRequest, RunError
from cai.models.local import LocalModel
from cai.models.requests import Generation
from cai.serve.answers import chat_answer, error_answer, models_answer, text_answer
from cai.serve.requests import BadRequest, ChatRequest, CompletionRequest, Wanted, checked

if TYPE_CHECKING:
    from aiohttp.web import Application, Request, Response

MOST_BYTES = 16 << 20
"""Largest request body."""


async def serve_until_stopped(
    model: LocalModel, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        model: what answers; loaded before the address is announced.
        host: address to listen on.
        port: 0 for any free one.
        announce: told the server's address once it answers.

    Raises:
        CaiError: the model cannot be loaded, or the address cannot be listened on.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    async with serving(model, host, port) as url:
        announce(url)
        await stopped.wait()


@asynccontextmanager
async def serving(
    model: LocalModel, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str, None]:
    """Serve while the context lasts; gives the address, such as ``http://127.0.0.1:8000/v1``.

    Raises:
        CaiError: as `serve_until_stopped`.
    """
    from aiohttp.web import AppRunner, TCPSite

    await model.load()
    runner = AppRunner(application(model, host), access_log=None)
    await runner.setup()
    try:
        await TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise RunError(f"cannot listen on {host}:{port}: {error}; try --port 0") from error
    bound: int = runner.addresses[0][1]
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{bound}/v1"
    finally:
        await runner.cleanup()
        await model.close()


def application(model: LocalModel, host: str) -> Application:
    """The routes, around a loaded model.

    Args:
        model: what answers.
        host: that is listened on.
    """
    from aiohttp import web

    started = int(time.time())

    async def models(request: Request) -> Response:
        return _json(models_answer(model.name, await model.load(), started))

    async def chat(request: Request) -> Response:
        wanted = checked(ChatRequest, await _body(request))
        return _json(chat_answer(wanted, await _generations(model, wanted)))

    async def text(request: Request) -> Response:
        wanted = checked(CompletionRequest, await _body(request))
        generations = await _generations(model, wanted)
        read = None
        if wanted.echo and wanted.logprobs:
            read = await model.read(str(wanted.prompt), wanted.alternatives)
        return _json(text_answer(wanted, generations, read))

    app = web.Application(
        middlewares=[_errors(), _no_pages(local=is_loopback(host))], client_max_size=MOST_BYTES
    )
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/completions", text)
    return app


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which no other can reach."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _no_pages(*, local: bool) -> Any:
    """A middleware that lets through what a client of ours has sent."""
    from aiohttp import web

    @web.middleware
    async def no_pages(
        request: Request, handler: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        _refuse_page(request, local=local)
        return await handler(request)

    return no_pages


def _refuse_page(request: Request, *, local: bool) -> None:
    """Refuse what a web page in a browser of this machine could send unasked.

    A page can post a form, or plain text, anywhere; JSON only to servers that allow it. And the
    name of its own server may be made to lead here, which the header ``Host`` tells.

    Args:
        request: as it came.
        local: whether the server is for this machine alone.

    Raises:
        BadRequest: it is none of a client's.
    """
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:  # brackets that nothing closes
        name = request.host
    if local and not is_loopback(name):
        raise BadRequest(f"{name!r} is not this machine; ask localhost", status=403)
    if request.method == "POST" and request.content_type != "application/json":
        raise BadRequest("the header Content-Type must be application/json", status=415)


async def _body(request: Request) -> Any:
    try:
        return orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


async def _generations(model: LocalModel, wanted: Wanted) -> list[Generation]:
    if wanted.model != model.name:
        raise BadRequest(
            f"the model {wanted.model!r} is not served here, {model.name!r} is", "model", 404
        )
    return await asyncio.gather(
        *(
            model.generate(wanted.prompt, sampling, wanted.alternatives, tokens=wanted.logprobs)
            for sampling in wanted.samplings()
        )
    )


def _errors() -> Any:
    """A middleware that gives every error the shape that OpenAI's clients read."""
    from aiohttp import web

    @web.middleware
    async def errors(
        request: Request, handler: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        try:
            return await handler(request)
        except BadRequest as error:
            body = error_answer(str(error), "invalid_request_error", error.parameter)
            return _json(body, error.status)
        except RejectedRequest as error:
            body = error_answer(str(error), "invalid_request_error")
            body["error"]["code"] = "context_length_exceeded"
            return _json(body, 400)
        except CaiError as error:
            return _json(error_answer(str(error), "server_error"), 500)
        except web.HTTPException as error:
            return _json(error_answer(error.reason, "invalid_request_error"), error.status)

    return errors


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    from aiohttp.web import Response

    return Response(body=orjson.dumps(body), status=status, content_type="application/json")
