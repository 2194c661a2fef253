"""Turn `ReportData` into one HTML page: no script, nothing from outside, all text escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cai.evaluation.intervals import Rate
from cai.records import OrderWeights
from cai.report import wording
from cai.report.contamination_wording import UNKNOWN
from cai.report.data import ReportData
from cai.report.drawing import inline_svg
from cai.report.plates import LEFT_OUT, plates_of, seconds_of
from cai.report.policy_metrics import FIGURES
from cai.report.principle_lines import principle_lines
from cai.report.word_diff import Piece, word_diff
from cai.stage_titles import stage_title
from cai.stages.label_maths import preference

FOLDER = Path(__file__).parent

MOST_BYTES = 1_900_000
"""A page is under 2 MB, so that a mail takes it and a browser opens it at once."""

LONGEST_TEXTS = (4000, 2000, 1000, 400, 100)
"""Texts are cut here, visibly; the first length whose page is small enough is taken."""


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
        seconds=seconds_of(run),
        facts={name: dict(_facts(one)) for name, one in run.trained.items()},
    )


def render(template: str, **values: Any) -> str:
    """Render one of this folder's templates, its texts as long as the page's size allows."""
    style = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    page = ""
    for longest in LONGEST_TEXTS:
        found = _environment(longest).get_template(template)
        page = found.render(**values, style=style, figures=FIGURES)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def _environment(longest: int) -> Environment:
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
        "measured": wording.measured,
        "decimal": wording.decimal,
        "signed": wording.signed,
        "duration": wording.duration,
        "price": wording.price,
        "cost": wording.cost,
        "stage_title": stage_title,
        "result": wording.result_sentence,
        "shown": partial(_shown, longest=longest),
        "word_diff": partial(_word_diff, longest=longest),
        "p_a": _p_a,
    }
    tests = cast("dict[str, Any]", environment.tests)  # pyright: ignore[reportUnknownMemberType]
    tests["measure"] = _is_measure
    return environment


def _shown(text: str, longest: int) -> str:
    """A text as the page shows it: long ones end with how much was cut."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … [{len(text) - longest:,} more characters]"


def _word_diff(after: str, before: str, longest: int) -> list[Piece] | None:
    return word_diff(_shown(before, longest), _shown(after, longest))


def _is_measure(one: object) -> bool:
    return isinstance(one, Rate)


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
