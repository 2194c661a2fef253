"""`cai constitution diff`: what differs between two versions, and what a run would recompute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from cai.cli.constitution_print import print_lines
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.constitution import Constitution
    from cai.constitution.difference import Difference, FieldChange, PrincipleChange
    from cai.pipeline.change import ChangeForecast
    from cai.records import RowKey

ROWS = 5
"""Rows of a stage that are named without --json."""

SIGNS = {"added": "+", "removed": "-", "reworded": "~", "changed": "~"}


def diff(
    before: Annotated[str, typer.Argument(help="The version before: a file, or a shipped name.")],
    after: Annotated[str, typer.Argument(help="The version after.")],
    run: Annotated[
        Path | None, typer.Option(help="Say what this run would recompute with it; buys nothing.")
    ] = None,
    until: Annotated[
        Literal["revisions", "distill", "sft", "preferences", "dpo", "pm", "rl", "evaluate"] | None,
        typer.Option(
            help="With --run: the last step; else that of the last command that made data."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Say which principles were added, removed, reworded or changed, and what that would cost.

    Example: cai constitution diff microworld mine.yaml --run runs/microworld
    """
    from cai.constitution import load_constitution
    from cai.constitution.difference import difference

    if until and run is None:
        raise CaiError("--until says how far a run would go; add --run FOLDER")
    old, new = load_constitution(before), load_constitution(after)
    found = difference(old, new)
    told = _foretold(run, after, until) if run else None
    if json:
        _print_json(found, told)
        return
    print_lines(_lines(found))
    if told is not None:
        _print_forecast(told, old, before)


def _foretold(run: Path, after: str, until: Any) -> ChangeForecast:
    from cai.cli.forecast_table import counting
    from cai.pipeline.change import forecast_change

    with counting():
        return forecast_change(run, after, until)


def _lines(found: Difference) -> Iterator[str]:
    if found.is_empty:
        yield "both say the same"
    for field in found.about:
        yield f"~ {field.field}: {_shown(field.before)} → {_shown(field.after)}"
    for change in found.principles:
        yield from _principle(change)
    for field in found.few_shots:
        count = f"{len(field.before or ())} → {len(field.after or ())}"
        yield f"~ few_shots.{field.field}: changed, {count} examples"


def _principle(change: PrincipleChange) -> Iterator[str]:
    was = f", {change.was} before" if change.was else ""
    yield f"{SIGNS[change.change]} {change.id}: {change.change}{was}"
    for field in change.fields:
        yield from _field(field)


def _field(field: FieldChange) -> Iterator[str]:
    for sign, value in (("-", field.before), ("+", field.after)):
        if value is not None:
            yield f"    {sign} {field.field}: {_shown(value)}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)


def _print_forecast(told: ChangeForecast, old: Constitution, before: str) -> None:
    from cai.cli.forecast_table import print_forecast

    if told.made_with and told.made_with != old.hash:
        print_lines(
            [
                f"the run was made with the version {told.made_with}, and {before} is {old.hash}: "
                "what follows is what the run itself lacks"
            ]
        )
    for stage, rows in told.rows.items():
        named = ", ".join(_name(row) for row in rows[:ROWS])
        more = f" and {len(rows) - ROWS} more" if len(rows) > ROWS else ""
        print_lines([f"{len(rows)} rows of {stage} would be made anew: {named}{more}"])
    print_forecast(told.forecast, sampled=False)
    following = told.forecast.following
    if following:
        print_lines(
            [
                f"{following} of the calls show an answer that is not there yet: if it is the same "
                f"as before, they are not made, so at least {told.forecast.to_buy - following} are"
            ]
        )


def _name(row: RowKey) -> str:
    return f"{row.stage}/{row.prompt_id}/{row.round}/{row.sample}"


def _print_json(found: Difference, told: ChangeForecast | None) -> None:
    import orjson

    data: dict[str, Any] = asdict(found)
    if told is not None:
        forecast = told.forecast
        data["run"] = {
            "made_with": told.made_with,
            "calls": forecast.to_buy,
            "calls_at_least": forecast.to_buy - forecast.following,
            "input_tokens": _known(forecast.input_tokens),
            "output_tokens": _known(forecast.output_tokens),
            "dollars": _known(forecast.dollars),
            "to_train": list(forecast.to_train),
            "rows": {stage: [_name(row) for row in rows] for stage, rows in told.rows.items()},
        }
    typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())


def _known(total: Sequence[Any]) -> float | None:
    """A sum, or None if something of it is unknown."""
    known, complete = total
    return known if complete else None
