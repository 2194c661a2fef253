"""`cai doctor`: the environment, its versions, and what is wrong with them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from cai.terminal import say

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine and installation offer, and what to do about what is wrong.

    Ends with 1 if something stops work. Asks no server and shows no key. Example: cai doctor
    """
    from cai.environment import examine, stops_work

    findings = list(examine())
    stopped = stops_work(findings)
    if as_json:
        told = {"ok": not stopped, "findings": [asdict(one) for one in findings]}
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        width = max(len(one.name) for one in findings)
        for one in findings:
            say(f"{one.state:<8} {one.name:<{width}}  {one.told}")
            if one.fix:
                say(f"{'':<8} {'':<{width}}  → {one.fix}")
    raise typer.Exit(1 if stopped else 0)
