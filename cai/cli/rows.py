"""`cai rows`: how every row of a run ended, all that led to it, and rows made again."""

from __future__ import annotations

import heapq
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cai.cli import rows_show
from cai.cli.options import MaxCalls, MaxCost, countable
from cai.cli.row_names import open_run, row_name
from cai.errors import CaiError
from cai.records import Row, RowKey, RowStatus
from cai.terminal import say

if TYPE_CHECKING:
    from cai.engine import Ledger
    from cai.pipeline.rerunning import Redone

app = typer.Typer(
    name="rows", help="List and show the rows of a run, and make some again.", no_args_is_help=True
)

LISTED = 50

FALLBACK = "fallback"
"""Stands among statuses for the rows that are ok only because the fallback answered."""

Run = Annotated[Path, typer.Argument(help="A run folder, or a ledger file.")]


@app.command("list")
def list_rows(
    run: Run,
    stage: Annotated[str, typer.Option(help="Only rows of this stage.")] = "",
    status: Annotated[
        str, typer.Option(help="Only rows that ended so: refused,truncated; or fallback.")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, callback=countable, help=f"Most rows to list; {LISTED}, or all as JSON."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Each row whole, as a JSON line.")] = False,
) -> None:
    """Count rows and list them with their reasons, as `cai rows list runs/demo --status error`."""
    every: tuple[RowStatus, ...] = get_args(RowStatus)
    ends = _ends(status) or Ends(every)
    with open_run(run) as ledger:
        chosen = _chosen(ledger, stage, ends)
        rows = _rows(ledger, stage, ends)
        if json:
            for row in islice(rows, limit):
                typer.echo(orjson.dumps({**asdict(row.key), **_end_of(row)}))
            return
        Console(emoji=False).print(_table(ledger))
        most = LISTED if limit is None else limit
        for row in islice(rows, most):
            reason = f"  {row.reason}" if row.reason else ""
            say(f"{row_name(row.key)}  {row.status}{reason}")
        if chosen > most:
            say(f"{chosen - most} more are not listed; --limit N lists N, --json all")


app.command()(rows_show.show)


@app.command()
def rerun(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    status: Annotated[
        str, typer.Option(help="Rows that ended so: error,truncated; or fallback.")
    ] = "",
    stage: Annotated[str, typer.Option(help="Only rows of this stage.")] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="For these rows: --set revisions.sampling.max_tokens=512"),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop what --set gave to rows, and make none.")
    ] = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
) -> None:
    """Make rows again by how they ended, as `cai rows rerun runs/demo --status error,truncated`.

    What --set gives holds for these rows and what follows from them, in every later run too.
    """
    from cai.engine.budget import Budget
    from cai.pipeline import existing_run, rerunning

    folder = existing_run(run)
    if forget == bool(status) or (forget and set_):
        raise CaiError("name the rows (--status error,truncated), or drop settings with --forget")
    if forget:
        dropped = rerunning.forget(folder, stage)
        say(f"settings of {dropped} rows dropped; the next `cai run` makes them without")
        return
    ends = _ends(status) or Ends(())
    wanted = rerunning.Wanted(ends.statuses, stage, tuple(set_ or ()), ends.by_fallback)
    command = shlex.join(["cai", *sys.argv[1:]])
    budget = Budget(max_cost, max_calls)
    _tell(rerunning.rerun(folder, wanted, command=command, budget=budget), run, status)


class Ends(NamedTuple):
    """Ways for rows to end; `by_fallback` are "ok" rows that only the fallback has answered."""

    statuses: tuple[RowStatus, ...]
    by_fallback: bool = False


def _ends(text: str) -> Ends | None:
    """The ways in a list with commas; None of an empty one."""
    if not text:
        return None
    named = [part.strip() for part in text.split(",")]
    known: tuple[RowStatus, ...] = get_args(RowStatus)
    for one in named:
        if one not in (*known, FALLBACK):
            raise CaiError(f"no row ends as {one!r}; choose from {', '.join((*known, FALLBACK))}")
    statuses: list[RowStatus] = [status for status in known if status in named]
    return Ends(tuple(statuses), FALLBACK in named and "ok" not in statuses)


def _chosen(ledger: Ledger, stage: str, ends: Ends) -> int:
    """How many rows of a stage, or of all, ended in one of these ways."""
    counts = ledger.counts()
    stages = sorted({stage for stage, _ in counts})
    if stage and stages and stage not in stages:
        raise CaiError(f"there are no rows of stage {stage!r}; choose from {', '.join(stages)}")
    fallback = ledger.counts_by_fallback() if ends.by_fallback else {}
    return sum(
        n for (of, status), n in counts.items() if stage in ("", of) and status in ends.statuses
    ) + sum(n for of, n in fallback.items() if stage in ("", of))


def _rows(ledger: Ledger, stage: str, ends: Ends) -> Iterator[Row]:
    """Stream rows in the ledger's order, whatever their statuses."""
    if len(ends.statuses) == len(get_args(RowStatus)):
        return ledger.rows(stage or None)
    streams = [ledger.rows(stage or None, status) for status in ends.statuses]
    if ends.by_fallback:
        streams.append(row for row in ledger.rows(stage or None, "ok") if row.by_fallback)
    return heapq.merge(*streams, key=lambda row: _order(row.key))


def _order(key: RowKey) -> tuple[str, int, str, int, int]:
    return key.stage, key.iteration, key.prompt_id, key.round, key.sample


def _end_of(row: Row) -> dict[str, Any]:
    ended = {"status": row.status, "reason": row.reason, "record": row.record}
    return {"name": row_name(row.key), **ended, "calls": row.calls}


def _table(ledger: Ledger) -> Table:
    statuses, fallback = get_args(RowStatus), ledger.counts_by_fallback()
    table = Table("stage", *statuses, *([FALLBACK] if fallback else []))
    counts = ledger.counts()
    for stage in sorted({stage for stage, _ in counts}):
        cells = [str(counts.get((stage, status), 0)) for status in statuses]
        last = [str(fallback.get(stage, 0))] if fallback else []
        table.add_row(escape(stage), *cells, *last)
    return table


def _tell(redone: Redone, run: Path, status: str) -> None:
    """Say what a rerun did: rows before and after, data sets, and what is now out of date."""
    if not (redone.rows or redone.continued):
        say(f"no row of {run} ended as {status}; nothing to make again")
        return
    if redone.continued:
        say(f"{redone.continued} of the rows were left by a rerun that was stopped")
    table = Table("stage", "status", "before", "after")
    for key in sorted({*redone.before, *redone.after}):
        table.add_row(*key, str(redone.before.get(key, 0)), str(redone.after.get(key, 0)))
    Console(emoji=False).print(table)
    say(
        f"{redone.rows + redone.continued - redone.lost} rows made again, {redone.calls} calls made"
    )
    if not redone.calls and redone.before == redone.after:
        say("the ledger has the answers to these very calls; --set changes what is asked")
    if redone.lost:
        say(
            f"{redone.lost} rows left as they were: the recipe has lost their prompts, "
            "or the run their model"
        )
    for name, changed in redone.datasets.items():
        say(f"datasets/{name} {'written anew' if changed else 'is as it was'}")
    for name in redone.outdated:
        say(
            f"models/{name} learned from the data as it was; "
            f"`cai run {run}/recipe.yaml --run {run}` trains it anew"
        )
