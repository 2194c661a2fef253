"""The standing of runs as tables for people: on a terminal, in a pipe or in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, get_args

from cai.engine.standing import brief, clock, dollars, rate
from cai.engine.tally import Counts
from cai.evaluation.intervals import Rate
from cai.pipeline.batch_tables import batches_in_words
from cai.pipeline.run_log import PartLog
from cai.pipeline.status import RunStatus, harm_of
from cai.pipeline.tables import add_row, page, table_of
from cai.records import RowStatus
from cai.report.contest_table import points
from cai.report.wording import interval, percent
from cai.stage_titles import stage_title
from cai.terminal import printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

SIGNALS = {"KeyboardInterrupt": "Ctrl-C", "Terminated": "SIGTERM"}
"""Errors that are none, with what a person knows them by."""


def print_status(status: RunStatus) -> None:
    """Print how a run stands to standard output, tables after the facts."""
    from rich.text import Text

    console = page()
    for name, text in _facts(status):
        console.print(Text(printable(f"{name:<10}{text}"), overflow="fold"))
    for table in _tables(status):
        console.print()
        console.print(table)
    if status.notes:
        console.print()
    for note in status.notes:
        console.print(Text(printable(f"note: {note}")))


def print_runs(runs: Iterable[RunStatus]) -> None:
    """Print one line for each run, with its state and its headline figures."""
    table = table_of(["run", "state", "came to", "harmful compliance", "other figures"], words=5)
    for status in runs:
        came_to = _progress(status.log.parts[-1]) if status.log.parts else ""
        headline = _headline(status) or "not evaluated yet"
        noted = f" ({len(status.notes)} notes)" if status.notes else ""
        state = status.state + noted
        add_row(table, [str(status.path), state, came_to, headline, _others(status)])
    page().print(table)


def _facts(status: RunStatus) -> list[tuple[str, str]]:
    log = status.log
    facts = [("run", str(status.path)), ("state", _state(status))]
    if log.error:
        facts.append(("error", SIGNALS.get(log.error, log.error)))
    if log.command:
        facts.append(("command", log.command))
    if log.steps:
        facts.append(("steps", ", ".join(log.steps)))
    attempts = f"{log.attempts} attempt{'' if log.attempts == 1 else 's'}, {clock(log.seconds)}"
    facts.append(("in all", f"{attempts}, {_bought(log.calls)}"))
    if status.calls is not None:
        facts.append(("ledger", f"{status.calls:,} calls"))
    if words := batches_in_words(status.batches):
        facts.append(("batches", words))
    trained = [name for name, done in status.models.items() if done]
    facts.append(("models", f"trained: {', '.join(trained)}" if trained else "none trained yet"))
    headline = _headline(status)
    measured = f"harmful compliance: {headline}" if headline else "not evaluated yet"
    facts.append(("policies", measured))
    if status.figures:
        facts.append(("figures", _others(status)))
    if status.report is not None:
        facts.append(("report", str(status.report)))
    return facts


def _state(status: RunStatus) -> str:
    when = _time(status.log.latest)
    match status.state:
        case "running":
            return f"running, in process {status.process}; last noted {when}"
        case "finished":
            return f"finished {when}"
        case "stopped":
            return f"stopped {when}; the same command goes on from there"
        case "died":
            process = f"process {status.log.process}" if status.log.process else "its process"
            return f"died: {process} is gone, last noted {when}; the same command goes on"
        case "unknown":
            return "unknown: log.jsonl tells of no process that worked on it"


def _tables(status: RunStatus) -> list[RenderableType]:
    tables: list[RenderableType] = []
    if status.log.parts:
        tables.append(_parts(status))
    stages = [part for part in status.log.parts if part.standing.calls is not None]
    if stages:
        tables.append(_calls(stages))
    if status.rows:
        tables.append(_rows(status))
    if status.mix:
        tables.append(_mix(status))
    return tables


def _parts(status: RunStatus) -> Table:
    table = table_of(["part", "state", "done", "ok", "refused", "failed", "time"], words=2)
    for part in status.log.parts:
        standing, state = part.standing, str(status.part_state(part))
        if part.attempt != status.log.attempts:
            state += f" in attempt {part.attempt}"
        ended = ["", "", "" if standing.loss is None else f"loss {standing.loss:.4f}"]
        if standing.calls is not None:
            failed = "".join(f"\n{n:,} {name}" for name, n in standing.failures.items())
            failed = f"{sum(standing.failures.values()):,}{failed}"
            ended = [f"{standing.rows.get('ok', 0):,}", f"{standing.refused:,}", failed]
        add_row(table, [standing.title, state, _count(part), *ended, clock(standing.seconds)])
    return table


def _calls(stages: Sequence[PartLog]) -> Table:
    columns = ["calls of", "made", "cached", "retries", "tokens in", "out", "cost", "per s"]
    table = table_of(columns)
    for part in stages:
        standing, calls = part.standing, part.standing.calls or Counts()
        cells = [f"{calls.made:,}", f"{calls.cached:,}", f"{calls.retries:,}"]
        cells += [brief(calls.input_tokens), brief(calls.output_tokens), _cost(calls)]
        add_row(table, [standing.title, *cells, rate(standing.calls_per_second)])
    return table


def _rows(status: RunStatus) -> Table:
    statuses, fallback = get_args(RowStatus), status.by_fallback
    table = table_of(["rows in ledger", *statuses, *(["fallback"] if fallback else [])])
    for stage, counts in status.rows.items():
        last = [f"{fallback.get(stage, 0):,}"] if fallback else []
        add_row(table, [stage, *(f"{counts.get(name, 0):,}" for name in statuses), *last])
    return table


def _mix(status: RunStatus) -> Table:
    """Rows to learn from and rows held out, by data set and source, and how many were left out."""
    table = table_of(["rows in data sets", "train", "test", "left out"])
    for data, sources in status.mix.items():
        for name, counts in sources.items():
            numbers = (counts.train, counts.test, sum(counts.left_out.values()))
            add_row(table, [f"{data}, {name}", *(f"{number:,}" for number in numbers)])
    return table


def _progress(part: PartLog) -> str:
    return f"{part.standing.title} {_count(part)}"


def _count(part: PartLog) -> str:
    total = part.standing.total
    return f"{part.standing.done:,}" + ("" if total is None else f"/{total:,}")


def _bought(calls: Counts) -> str:
    tokens = f"{brief(calls.input_tokens)} tokens in, {brief(calls.output_tokens)} out"
    made = f"{calls.made:,} calls made, {tokens}, {calls.retries:,} retries"
    return f"{made}, {_cost(calls)}" if calls.cost != 0 else made


def _cost(calls: Counts) -> str:
    if calls.cost is None:
        return "cost unknown"
    return dollars(calls.cost) if calls.cost else ""


def _headline(status: RunStatus) -> str:
    return ", ".join(
        f"{stage_title(name)} {_share(one)}{_why(status, harm_of(name))}"
        for name, one in status.headline.items()
    )


def _others(status: RunStatus) -> str:
    return ", ".join(_figure(status, name) for name in status.figures)


def _figure(status: RunStatus, name: str) -> str:
    one = status.figures[name]
    told = points(one) if name.endswith("elo") else _share(one)
    return f"{name} {told}{_why(status, name)}"


def _share(one: Rate) -> str:
    return f"{percent(one.value)} ({interval(one)})"


def _why(status: RunStatus, name: str) -> str:
    why = status.distrust.get(name)
    return f" ({why})" if why else ""


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
