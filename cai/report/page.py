"""Turn `ReportData` into one HTML page: no script, nothing from outside, all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cai.evaluation.intervals import Rate
from cai.records import OrderWeights
from cai.report import wording
from cai.report.contamination_wording import NOT_COMPARED, UNKNOWN
from cai.report.data import ReportData
from cai.report.drawing import inline_svg
from cai.report.plates import LEFT_OUT, plates_of, seconds_of
from cai.report.policy_metrics import TRUE_HARM, figures_of, sets_of
from cai.report.principle_lines import principle_lines
from cai.report.word_diff import Piece, word_diff
from cai.stage_titles import stage_title
from cai.stages.label_maths import preference
from cai.trust_words import DISTRUST

FOLDER = Path(__file__).parent

MOST_BYTES = 1_900_000
"""A page is under 2 MB, so that a mail takes it and a browser opens it at once."""

KNOWN = {
    "figures_of": figures_of,
    "sets_of": sets_of,
    "true_harm": TRUE_HARM,
    "distrust": DISTRUST,
}
"""What every page looks names up in."""


@dataclass(frozen=True)
class Room:
    """How much of a run a page shows; what is cut says so.

    Args:
        text: letters of one text.
        copied: letters of a text that is there to be copied: recipe, command, and what two recipes
            differ in.
        turns: turns of a conversation, at least 2.
        rows: rows from prompt to label.
        lines: lines of a table, or of a list.
        columns: models side by side in a table; and questions that a label has come from.
        figures: pictures.
    """

    text: int
    copied: int
    turns: int
    rows: int
    lines: int
    columns: int
    figures: int


ROOMS = (
    Room(4000, 400_000, 100, 20, 1000, 200, 100),
    Room(2000, 200_000, 50, 20, 400, 100, 100),
    Room(1000, 100_000, 20, 20, 200, 50, 50),
    Room(400, 50_000, 10, 20, 100, 20, 30),
    Room(100, 20_000, 5, 20, 100, 20, 20),
    Room(100, 4000, 3, 4, 40, 10, 10),
    Room(60, 4000, 3, 2, 10, 5, 5),
)
"""The first one whose page is small enough is taken; of the last one no run has too much."""


def report_page(run: ReportData) -> str:
    """The page of one run."""
    return render(
        "report.html.j2",
        run=run,
        metrics=run.metrics,
        missing=_missing(run),
        plates=[(plate, Markup(inline_svg(plate))) for plate in plates_of([run])],
        principles=principle_lines(run.metrics),
        left_out_titles=LEFT_OUT,
        contamination_unknown=UNKNOWN,
        not_compared=NOT_COMPARED,
        seconds=seconds_of(run),
        facts={name: dict(_facts(one)) for name, one in run.trained.items()},
    )


def render(template: str, **values: Any) -> str:
    """Render one of this folder's templates, with as much as the page's size allows."""
    style = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    page = ""
    for room in ROOMS:
        found = _environment(room).get_template(template)
        page = found.render(**values, room=room, style=style, **KNOWN)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _environment(room: Room) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Jinja leaves the type of its filters open.
    filters = cast("dict[str, Any]", environment.filters)  # pyright: ignore[reportUnknownMemberType]
    filters |= {
        "percent": wording.percent,
        "points": wording.points,
        "interval": wording.interval,
        "number": wording.number,
        "decimal": wording.decimal,
        "duration": wording.duration,
        "price": wording.price,
        "cost": wording.cost,
        "stage_title": partial(_title, longest=room.text),
        "result": wording.result_sentence,
        "shown": partial(_shown, longest=room.text),
        "copied": partial(_shown, longest=room.copied),
        "word_diff": partial(_word_diff, longest=room.text),
        "p_a": _p_a,
        "lines": partial(_first, most=room.lines),
        "columns": partial(_first, most=room.columns),
        "figures": partial(_first, most=room.figures),
    }
    tests = cast("dict[str, Any]", environment.tests)  # pyright: ignore[reportUnknownMemberType]
    tests |= {"measure": _is_measure, "whole": partial(_is_whole, longest=room.copied)}
    return environment


def _shown(text: str, longest: int) -> str:
    """A text as the page shows it: long ones end with how much was cut."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … [{len(text) - longest:,} more characters]"


def _first(values: Iterable[object], most: int) -> list[object]:
    """As many as there is room for."""
    return list(islice(values, most))


def _title(name: str, longest: int) -> str:
    return _shown(stage_title(name), longest)


def _word_diff(after: str, before: str, longest: int) -> list[Piece] | None:
    return word_diff(_shown(before, longest), _shown(after, longest))


def _is_measure(one: object) -> bool:
    return isinstance(one, Rate)


def _is_whole(text: str, longest: int) -> bool:
    return len(text) <= longest


def _p_a(order: OrderWeights) -> float:
    return preference(order.logprob_a, order.logprob_b)


def _missing(run: ReportData) -> list[str]:
    """Parts of a whole run that this one has not measured."""
    metrics = run.metrics
    parts = {
        "policies": metrics.stages,
        "harm by revision round": metrics.harm_by_round,
        "RL training": run.training,
        "labels": metrics.labels,
        "preference model": metrics.pm,
        "contest of policies": metrics.contest,
        "rows": run.rows,
    }
    return [name for name, part in parts.items() if not part]


def _facts(content: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    """Every text and number of a record, by its path."""
    for name, one in content.items():
        if isinstance(one, Mapping):
            yield from _facts(cast("Mapping[str, Any]", one), f"{under}{name}.")
        elif isinstance(one, str | int | float):
            yield f"{under}{name}", str(one)
