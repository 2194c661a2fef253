"""The table of the figures, with ratios to raw aiohttp."""

from __future__ import annotations

from collections.abc import Mapping

LIMIT = "aiohttp"
"""The contestant that the others are compared with."""

_HEADS = ("workload", "client", "rows", "calls/s", "of aiohttp", "CPU ms/call", "of aiohttp", "MB")


def table(
    results: Mapping[str, Mapping[str, Mapping[str, float]]],
    rows: Mapping[str, Mapping[str, int]],
) -> str:
    """A Markdown table, a line for each workload and contestant.

    The ratios are those of calls per second and of calls per CPU second; a dash where raw aiohttp
    has not run.
    """
    lines = [_line(_HEADS), _line(["---", "---", *["---:"] * (len(_HEADS) - 2)])]
    for workload, by_contestant in results.items():
        limit = by_contestant.get(LIMIT)
        for contestant, figures in by_contestant.items():
            calls, cpu = figures["calls_per_s"], figures["cpu_ms_per_call"]
            lines.append(
                _line(
                    [
                        workload,
                        contestant,
                        f"{rows[workload][contestant]:,}",
                        f"{calls:,.0f}",
                        "–" if limit is None else f"{calls / limit['calls_per_s']:.2f}",
                        f"{cpu:.2f}",
                        "–" if limit is None else f"{limit['cpu_ms_per_call'] / cpu:.2f}",
                        f"{figures['peak_mb']:.0f}",
                    ]
                )
            )
    return "\n".join(lines) + "\n"


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
