"""Measure the principles of a run from its ledger; no call is made for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cai.constitution import Stage
from cai.engine import RowEnded
from cai.evaluation.principles import Drawn, PrincipleRows, ids_of, principle_figures
from cai.pipeline.evaluating import classifier_of, read_comparisons, truth_of
from cai.pipeline.readback import read_prompt, read_traces
from cai.pipeline.studio import Studio
from cai.records import Prompt, Row

REPLIES = {"revision": "response", "comparison": "pair"}
"""The stage whose rows have the prompts of a stage's rows."""


def measure_principles(studio: Studio) -> Mapping[str, Any]:
    """How often each principle was drawn, what came of it, and what would be without it."""
    classifier = classifier_of(studio)
    harmful = (one for one in read_traces(studio.ledger) if one.response.prompt.kind == "harmful")
    last_texts = [
        Drawn(
            ids_of(" + ".join(sorted({one.principle for one in trace.revisions}))),
            float(classifier(trace.response.prompt, trace.texts[-1]) == "harmful"),
        )
        for trace in harmful
        if trace.revisions
    ]
    made = [one for one in read_comparisons(studio, "comparison") if one.source == "ai"]
    rows = PrincipleRows(
        revisions=list(_drawn(studio, "revision")),
        labels=[*_drawn(studio, "comparison"), *_drawn(studio, "label_probe")],
        last_texts=last_texts,
        comparisons=[*made, *read_comparisons(studio, "label_probe")],
        drawn_alike=not _has_conditions(studio),
    )
    figures = principle_figures(rows, truth_of(studio))
    return {"principles": {name: one.to_json() for name, one in figures.items()}}


def _drawn(studio: Studio, stage: str) -> Iterator[Drawn]:
    """The rows of a stage for which a model was asked under drawn principles.

    A row that ended early has kept no principles: they are drawn again. Where they depend on the
    prompt, and this is not at hand, the row is left out.
    """
    failed: list[Row] = []
    for row in studio.ledger.rows(stage=stage):
        if row.key.iteration > studio.iteration:
            continue
        if row.record is None and row.calls:
            failed.append(row)
        elif row.record is not None and row.record.get("source", "ai") == "ai":
            yield Drawn(ids_of(row.record["principle"]), 1.0)
    prompts = _prompts(studio, stage, failed)
    for row in failed:
        if (names := _redrawn(studio, row, prompts.get(row.key.prompt_id))) is not None:
            yield Drawn(names, 0.0)


def _redrawn(studio: Studio, row: Row, prompt: Prompt | None) -> frozenset[str] | None:
    if prompt is None:
        return None
    label = studio.recipe_for(row.key).comparisons.label
    stage: Stage = "rating" if label.way == "rating" else "comparison"
    count, place = label.principles, row.key.sample
    if row.key.stage == "revision":
        stage, count, place = "revision", 1, row.key.round
    try:
        drawn = studio.setting.draw_many(stage, count, prompt, row.key, place)
    except RowEnded:
        return None
    return frozenset(one.id for one in drawn)


def _prompts(studio: Studio, stage: str, failed: list[Row]) -> dict[str, Prompt]:
    wanted = {row.key.prompt_id for row in failed}
    if not wanted or stage not in REPLIES:
        return {}
    replies = studio.ledger.rows(stage=REPLIES[stage], status="ok")
    return {
        row.key.prompt_id: read_prompt(row.record["prompt"])
        for row in replies
        if row.record is not None and row.key.prompt_id in wanted
    }


def _has_conditions(studio: Studio) -> bool:
    return any(one.applies_if is not None for one in studio.setting.constitution.principles)
