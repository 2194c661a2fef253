"""The options of a command as the fields of a record, where there are many."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from cai.cli.run import DryRun, MaxCalls, MaxCost, Sample, check_dry_run

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


def taking(
    record: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Let a command that takes a record have the record's fields as its options.

    typer reads a command's parameters and their `Annotated` types; it is shown those of the record.

    Args:
        record: a dataclass of keyword fields; inherited ones are listed last.
    """
    hints = get_type_hints(record, include_extras=True)
    fields = inspect.signature(record).parameters.values()
    own = inspect.get_annotations(record)
    shown = [
        field.replace(annotation=hints[field.name])
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
