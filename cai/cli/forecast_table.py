"""`cai run --dry-run`: the forecast as a table, and how to make it tell more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from cai.terminal import shown

if TYPE_CHECKING:
    from rich.table import Table

    from cai.pipeline.forecast_parts import Forecast, PartForecast, Sum

UNKNOWN = "unknown"

EXAMPLE = "{input: 300, output: 60}"

WIDTH = 120
"""Columns of a file or pipe; there is no terminal to ask for its own."""

SHOWN_REASONS = 10
"""Reasons for which rows are left out that are listed one by one."""

COLUMNS = ("calls", "bought", "to buy", "tokens in", "tokens out", "dollars", "tokens from")


CAPTION = (
    "Tokens and dollars are those of the calls to buy. Calls are counted as if every row goes "
    "well; one that ends early (refused, cut off) makes fewer."
)


def print_forecast(
    forecast: Forecast, *, sampled: bool, samples: bool = True, states: bool = True
) -> None:
    """Print the table and the advice to standard output.

    Args:
        forecast: what is known.
        sampled: whether calls were bought to know more.
        samples: whether the command can buy some.
        states: whether a recipe can state means of its parts.
    """
    from rich.console import Console

    console = Console(emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(forecast_table(forecast))
    for line in advice(forecast, sampled=sampled, samples=samples, states=states):
        console.print(shown(line), markup=False, highlight=False, soft_wrap=True)


def counting(*, shown: bool = True) -> AbstractContextManager[object]:
    """Shows that something goes on, where standard error is a terminal; a sample has its bars."""
    from rich.console import Console

    return (
        Console(stderr=True, emoji=False).status("counting the calls") if shown else nullcontext()
    )


def forecast_table(forecast: Forecast) -> Table:
    """One row for each part of the run under its model's name, and the sums."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="What the run would buy", box=box.SIMPLE, title_justify="left")
    table.padding, table.pad_edge = (0, 1), False
    table.caption, table.caption_justify = CAPTION, "left"
    for index, column in enumerate(("", *COLUMNS)):
        table.add_column(column, justify="right" if index else "left", no_wrap=index > 0)
    for model in dict.fromkeys(part.model for part in forecast.parts):
        table.add_row(escape(model), style="bold")
        for part in (part for part in forecast.parts if part.model == model):
            table.add_row(f"  {part.part}", *_cells(part))
    table.add_section()
    table.add_row("in all", *_sums(forecast), style="bold")
    return table


def advice(forecast: Forecast, *, sampled: bool, samples: bool, states: bool) -> Iterator[str]:
    """What else the run does, and how to get at what is unknown; a line for each.

    Args:
        forecast: as in `print_forecast`.
        sampled: as there.
        samples: as there.
        states: as there.
    """
    yield from _left_out(forecast)
    if not forecast.to_buy and not forecast.bought:
        yield "No call would be made: nothing is left to work on, or no step makes any."
    elif not forecast.to_buy:
        yield "Every call is in the ledger: nothing would be bought."
    if forecast.to_train:
        yield f"The run would train {', '.join(forecast.to_train)}."
    if forecast.rates:
        yield f"Warning: {forecast.rates}."
    unknown = [part.part for part in forecast.parts if part.input_tokens is None]
    stated = f"state means in the recipe, as forecast: {{{''.join(unknown[:1])}: {EXAMPLE}}}"
    if unknown and samples and not sampled:
        yield (
            "Tokens unknown: --sample 16 buys the calls of 16 items of each stage, which the run "
            f"then does not buy again{f'; or {stated}' if states else ''}"
        )
    elif unknown and states:
        yield f"No sample could be had of {', '.join(unknown)} before training: {stated}"
    if forecast.fallback and forecast.to_buy:
        yield (
            f"Calls to the fallback {forecast.fallback} are foretold for refusals in the ledger "
            "alone: how many of the calls to buy will be declined is not foretold."
        )
    unpriced = sorted({part.model for part in forecast.parts if part.to_buy and not part.prices})
    if unpriced:
        yield (
            f"Prices unknown of {', '.join(unpriced)}: give them with the model, in dollars per "
            "million tokens, as prices: {input: 0.5, output: 2}"
        )


def _left_out(forecast: Forecast) -> Iterator[str]:
    """What of the recipe's sets is not worked on; of many reasons the commonest."""
    counts = sorted(forecast.left_out.items(), key=lambda item: (-item[1], item[0]))
    for reason, number in counts[:SHOWN_REASONS]:
        yield f"Left out: {number:,} × {reason}"
    if rest := sum(number for _, number in counts[SHOWN_REASONS:]):
        yield f"Left out: {rest:,} more, for {len(counts) - SHOWN_REASONS:,} other reasons"


def _cells(part: PartForecast) -> tuple[str, ...]:
    counts = (part.bought + part.to_buy, part.bought, part.to_buy)
    tokens = (_number(part.input_tokens), _number(part.output_tokens))
    source = part.tokens.source if part.tokens else UNKNOWN
    return (
        *(f"{count:,}" for count in counts),
        *tokens,
        _dollars(part.dollars),
        source if part.to_buy else "",
    )


def _sums(forecast: Forecast) -> tuple[str, ...]:
    counts = (forecast.bought + forecast.to_buy, forecast.bought, forecast.to_buy)
    return (
        *(f"{count:,}" for count in counts),
        _at_least(forecast.input_tokens, _number),
        _at_least(forecast.output_tokens, _number),
        _at_least(forecast.dollars, _dollars),
        "",
    )


def _at_least(total: Sum, shown: Callable[[float | None], str]) -> str:
    """A sum; what is not known of it is said, not taken for nothing."""
    if total.complete:
        return shown(total.known)
    return f"> {shown(total.known)}" if total.known else UNKNOWN


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _dollars(value: float | None) -> str:
    """Cents, or for less than a dollar the first digits that are not 0."""
    if value is None:
        return UNKNOWN
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.2g}"
