"""`cai serve`: put a local model behind an OpenAI-compatible address."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from cai.errors import CaiError
from cai.models.catalogue import open_model
from cai.models.settings import settings_of


def serve(
    model: Annotated[str, typer.Argument(help="microworld, a folder, or hf:ORG/NAME.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; by default the best.")] = "",
) -> None:
    """Serve a local model over HTTP, as `cai serve microworld --port 8000`."""
    from cai.models.local import LocalModel
    from cai.serve import serve_until_stopped

    opened = open_model(settings_of(model, device=device or None))
    if not isinstance(opened, LocalModel):
        raise CaiError(f"{model} is on a server already; serve a folder, hf:ORG/NAME or microworld")
    asyncio.run(
        serve_until_stopped(
            opened, host, port, lambda url: typer.echo(f"{model} is served at {url} (Ctrl-C ends)")
        )
    )
