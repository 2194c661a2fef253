"""`cai serve`: put a local model behind an OpenAI-compatible address."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from cai.errors import CaiError
from cai.terminal import say


def serve(
    model: Annotated[str, typer.Argument(help="microworld, a folder, or hf:ORG/NAME.")],
    more: Annotated[
        list[str] | None, typer.Argument(help="Further flags for vLLM, after --.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; by default the best.")] = "",
    adapter: Annotated[str, typer.Option(help="A LoRA adapter: a folder, or hf:ORG/NAME.")] = "",
    engine: Annotated[
        Literal["transformers", "vllm"],
        typer.Option(help="What runs the model; vllm needs an environment of its own."),
    ] = "transformers",
    print_only: Annotated[
        bool, typer.Option("--print", help="Show vLLM's command, and start nothing.")
    ] = False,
) -> None:
    """Serve a local model over HTTP, as `cai serve microworld --port 8000`."""
    if engine == "vllm":
        _serve_by_vllm(model, adapter, device, (host, port, more or []), print_only=print_only)
    elif more or print_only:
        raise CaiError("--print and flags after -- go with --engine vllm")
    else:
        _serve_here(model, adapter, device, host, port)


def _serve_here(model: str, adapter: str, device: str, host: str, port: int) -> None:
    from cai.models.catalogue import open_model
    from cai.models.local import LocalModel
    from cai.models.settings import settings_of
    from cai.serve import serve_until_stopped

    opened = open_model(settings_of(model, device=device or None, adapter=adapter or None))
    if not isinstance(opened, LocalModel):
        raise CaiError(f"{model} is on a server already; serve a folder, hf:ORG/NAME or microworld")
    asyncio.run(
        serve_until_stopped(
            opened, host, port, lambda url: say(f"{model} is served at {url} (Ctrl-C ends)")
        )
    )


def _serve_by_vllm(
    model: str,
    adapter: str,
    device: str,
    listen: tuple[str, int, list[str]],
    *,
    print_only: bool,
) -> None:
    from cai.serve.vllm_command import served_model, shown, start, vllm_command

    host, port, more = listen
    served = served_model(model, adapter or None, device or None)
    command = vllm_command(served, host, port, more)
    say(shown(command))
    if not print_only:
        address = f"http://{host}:{port}/v1"
        say(f"in a recipe: {{name: 'vllm:{served.name}', endpoint: '{address}'}}", error=True)
        start(command)
