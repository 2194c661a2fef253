"""`cai push`: a run's data or models on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.terminal import say

if TYPE_CHECKING:
    from cai.publishing.hub import Target
    from cai.publishing.publication import Publication


def push(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    repository: Annotated[str, typer.Argument(help="USER/NAME on the hub.")],
    what: Annotated[
        str,
        typer.Option(
            help="data (all data sets), an export by its format, such as llm-swarm, or a model: "
            "sl_cai, pm, dpo, rl_cai …"
        ),
    ] = "data",
    license: Annotated[
        str | None, typer.Option(help="License for the card, in place of the recipe's.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="For all the world to read.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Send it; without, only say what.")] = False,
) -> None:
    """Publish a run's data sets or a model on the hub; by default privately, and only in words.

    Example: cai push runs/microworld anna/microworld-cai --license apache-2.0
    """
    from cai.pipeline import existing_run
    from cai.publishing import hub
    from cai.publishing.gather import gather

    target = hub.Target(repository, is_public=public)
    publication = gather(existing_run(run), what, license)
    for line in _lines(publication, target):
        say(line)
    if go:
        say(f"sent: {hub.push(publication, target)}")
    else:
        say("nothing was sent; the same command with --go sends it")


def _lines(publication: Publication, target: Target) -> Iterator[str]:
    for one in publication.files:
        yield f"{one.size:>12,}  {one.sha256}  {one.path}"
    files = f"{len(publication.files)} files, {publication.size:,} bytes"
    yield f"{files}: {publication.what} of the run {publication.run}"
    yield from (f"note: {note}" for note in publication.notes)
    yield (
        f"to the {target.visibility} {publication.kind} {target.repository}, "
        f"license {publication.license}"
    )
