"""`cai rows`: how every row of a run ended, and all that led to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cai.engine import Ledger, StoredCall
from cai.errors import CaiError, RunError
from cai.records import Row, RowKey, RowStatus

app = typer.Typer(name="rows", help="List and show the rows of a run.", no_args_is_help=True)

Run = Annotated[Path, typer.Argument(help="A run folder, or a ledger file.")]


@app.command("list")
def list_rows(
    run: Run,
    stage: Annotated[str, typer.Option(help="Only rows of this stage.")] = "",
    status: Annotated[str, typer.Option(help="Only rows that ended so, such as refused.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Most rows to list.")] = 50,
) -> None:
    """Count rows and list them with their reasons, as `cai rows list runs/demo --status error`."""
    if status and status not in get_args(RowStatus):
        raise CaiError(f"no row ends as {status!r}; choose from {', '.join(get_args(RowStatus))}")
    with _ledger(run) as ledger:
        console = Console()
        console.print(_counts(ledger))
        rows = ledger.rows(stage or None, _status(status))
        for row in islice(rows, limit):
            reason = f"  {row.reason}" if row.reason else ""
            console.print(escape(f"{_name(row.key)}  {row.status}{reason}"), soft_wrap=True)


@app.command()
def show(
    run: Run,
    row: Annotated[
        str, typer.Argument(help="stage/prompt[/round[/sample]], or the beginning of a prompt id.")
    ],
) -> None:
    """Show a row's record and calls, as `cai rows show runs/demo revision/3f9a/2`."""
    with _ledger(run) as ledger:
        found = [one for one in ledger.rows() if _is_meant(one.key, row)]
        if not found:
            raise RunError(f"{run} has no row {row!r}; `cai rows list {run}` names them")
        for one in found:
            for line in _whole(one, ledger):
                Console().print(escape(line), soft_wrap=True, highlight=False)


def _ledger(run: Path) -> Ledger:
    return Ledger.open(run / "ledger.sqlite" if run.is_dir() else run, read_only=True)


def _status(text: str) -> RowStatus | None:
    return next((status for status in get_args(RowStatus) if status == text), None)


def _counts(ledger: Ledger) -> Table:
    statuses = get_args(RowStatus)
    table = Table("stage", *statuses)
    counts = ledger.counts()
    for stage in sorted({stage for stage, _ in counts}):
        cells = (str(counts.get((stage, status), 0)) for status in statuses)
        table.add_row(escape(stage), *cells)
    return table


def _name(key: RowKey) -> str:
    """The row's name on the command line; an iteration other than 0 stands before the rest."""
    iteration = f"{key.iteration}:" if key.iteration else ""
    return f"{iteration}{key.stage}/{key.prompt_id}/{key.round}/{key.sample}"


def _is_meant(key: RowKey, name: str) -> bool:
    """Stage, round and sample must be equal where they are named; a prompt's id may be begun."""
    if "/" not in name:
        return key.prompt_id.startswith(name)
    stage, prompt_id, *numbers = name.rsplit(":", 1)[-1].split("/")
    iteration = name.rsplit(":", 1)[0] if ":" in name else str(key.iteration)
    return (
        key.stage == stage
        and key.prompt_id.startswith(prompt_id)
        and [str(key.round), str(key.sample)][: len(numbers)] == numbers
        and str(key.iteration) == iteration
    )


def _whole(row: Row, ledger: Ledger) -> Iterator[str]:
    yield f"── {_name(row.key)}: {row.status}{f', {row.reason}' if row.reason else ''}"
    if row.record is not None:
        yield _indented(row.record)
    for key in row.calls:
        call = ledger.call(key)
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


def _indented(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _line(value: Any) -> str:
    return orjson.dumps(value).decode()
