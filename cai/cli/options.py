"""The options of a command as the fields of a record, where there are many."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from cai.errors import CaiError

MaxCost = Annotated[
    float | None,
    typer.Option(min=0, metavar="DOLLARS", help="Stop before this command's calls cost more."),
]
MaxCalls = Annotated[
    int | None, typer.Option(min=0, help="Stop before this command makes more calls.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what calls, tokens and dollars it takes; buy none.")
]
Sample = Annotated[
    int | None,
    typer.Option(min=1, help="With --dry-run: buy the calls of so many items of each stage."),
]

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What may be bought: options that every command with calls of its own has.

    Args:
        max_cost: dollars that may be spent; None for any amount.
        max_calls: calls that may be made; None for any number.
        dry_run: True to be told what would be bought, and to buy nothing.
        sample: items of each stage whose calls are bought to know more; None for none.
    """

    max_cost: MaxCost = None
    max_calls: MaxCalls = None
    dry_run: DryRun = False
    sample: Sample = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense together."""
        limited = self.max_cost is not None or self.max_calls is not None
        check_dry_run(self.dry_run, self.sample, limited=limited)


def countable(number: int | None) -> int | None:
    """Refuse a number of rows that no file can have; a callback of an option."""
    if number is not None and number > sys.maxsize:
        raise typer.BadParameter(f"is {number}; leave it out for all")
    return number


def check_dry_run(dry_run: bool, sample: int | None, *, limited: bool) -> None:
    """Refuse options that make no sense together.

    Args:
        dry_run: whether a forecast is asked for.
        sample: how much to buy for it.
        limited: whether a limit of calls or dollars is given.

    Raises:
        CaiError: a sample is for a forecast alone, a limit for a run alone.
    """
    if sample and not dry_run:
        raise CaiError("--sample says how much to buy for a forecast; add --dry-run")
    if dry_run and limited:
        raise CaiError(
            "--max-cost and --max-calls stop a run; with --dry-run, --sample says how much to buy"
        )


def taking(
    record: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Let a command that takes a record have the record's fields as its options.

    typer reads a command's parameters and their `Annotated` types; it is shown those of the record.

    Args:
        record: a dataclass; inherited fields are listed last.
    """
    hints = get_type_hints(record, include_extras=True)
    fields = inspect.signature(record).parameters.values()
    own = inspect.get_annotations(record)
    shown = [
        field.replace(annotation=hints[field.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for field in sorted(fields, key=lambda field: field.name not in own)
    ]

    def wrap(command: Callable[[Options], None]) -> Callable[..., None]:
        @wraps(command)
        def call(**given: Any) -> None:
            command(record(**given))

        call.__dict__["__signature__"] = inspect.Signature(shown)
        call.__annotations__ = hints
        return call

    return wrap
