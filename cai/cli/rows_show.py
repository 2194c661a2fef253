"""`cai rows show`: a row's whole history, as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cai.cli.row_names import is_meant, open_run, row_name
from cai.errors import RunError
from cai.records import Row
from cai.terminal import say

if TYPE_CHECKING:
    from cai.engine import StoredCall
    from cai.pipeline.explain import Explainer


def show(
    run: Annotated[Path, typer.Argument(help="A run folder, or a ledger file.")],
    row: Annotated[
        str, typer.Argument(help="stage/prompt[/round[/sample]], or the beginning of a prompt id.")
    ],
) -> None:
    """Show what a row is, how it came about, and every call, as `cai rows show RUN revision/3f9a`.

    Prompt and replies, the principle and why it was drawn, the label and what it was made of,
    other rows of the prompt, costs and versions; then the record and the exact messages.
    """
    from cai.pipeline.explain import Explainer

    with open_run(run) as ledger:
        stage = row.rsplit(":", 1)[-1].split("/")[0] if "/" in row else None
        found = [one for one in ledger.rows(stage) if is_meant(one.key, row)]
        if not found:
            raise RunError(f"{run} has no row {row!r}; `cai rows list {run}` names them")
        explainer = Explainer(ledger)
        for one in found:
            for line in _whole(one, explainer):
                say(line)


def _whole(row: Row, explainer: Explainer) -> Iterator[str]:
    yield f"── {row_name(row.key)}: {row.status}{f', {row.reason}' if row.reason else ''}"
    yield from explainer.told(row)
    if row.record is not None:
        yield "record:"
        yield orjson.dumps(row.record, option=orjson.OPT_INDENT_2).decode()
    for key in row.calls:
        call = explainer.ledger.call(key)
        if call is None:
            yield f"call {key}: not in this ledger"
        else:
            yield from _call(call)


def _call(call: StoredCall) -> Iterator[str]:
    """What was sent and what came back, turn by turn."""
    request, answer = orjson.loads(call.request), orjson.loads(call.response)
    tokens = f"{call.usage.input_tokens} tokens in, {call.usage.output_tokens} out"
    yield f"call {call.key}: {call.kind} by {call.model}, {tokens}, {call.seconds:.3f} s"
    for message in request.pop("messages"):
        yield f"[{message['role']}]\n{message['content']}"
    yield f"asked with {_line(request)}"
    if call.kind == "complete":
        yield f"[answer, {answer['stop_reason']}]\n{answer.pop('text')}"
    yield f"answered with {_line(answer)}"


def _line(value: Any) -> str:
    return orjson.dumps(value).decode()
