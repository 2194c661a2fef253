"""Measure the principles of a run from its ledger; no call is made for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from cai.constitution import Stage
from cai.engine import RowEnded
from cai.evaluation.principles import Drawn, PrincipleRows, ids_of, principle_figures
from cai.pipeline.evaluating import classifier_of, read_comparisons, truth_of
from cai.pipeline.preferences import probe_pairs
from cai.pipeline.readback import read_prompt, read_traces
from cai.pipeline.studio import Studio
from cai.records import Prompt, Row
from cai.stages.compare import ORDERS_DISAGREE

REPLIES = {"revision": "response", "comparison": "pair"}
"""The stage whose rows have the prompts of a stage's rows; probes are read from where they lie."""


def measure_principles(studio: Studio) -> Mapping[str, Any]:
    """How often each principle was drawn, what came of it, and what would be without it."""
    made = [one for one in read_comparisons(studio, "comparison") if one.source == "ai"]
    rows = PrincipleRows(
        revisions=list(_drawn(studio, "revision")),
        labels=[*_drawn(studio, "comparison"), *_drawn(studio, "label_probe")],
        last_texts=list(_last_texts(studio)),
        comparisons=[*made, *read_comparisons(studio, "label_probe")],
        drawn_alike=not _has_conditions(studio),
    )
    figures = principle_figures(rows, truth_of(studio))
    return {"principles": {name: one.to_json() for name, one in figures.items()}}


def _last_texts(studio: Studio) -> Iterator[Drawn]:
    """Of every trace of a harmful prompt the last text, under the principles of all its rounds.

    A round whose revision was not kept counts too: without its principle another would have been
    drawn, and its revision might have been kept.
    """
    classifier = classifier_of(studio)
    not_kept: defaultdict[str, list[Row]] = defaultdict(list)
    for row in studio.ledger.rows(stage="revision"):
        if row.record is None:
            not_kept[row.key.prompt_id].append(row)
    for trace in read_traces(studio.ledger):
        prompt = trace.response.prompt
        if prompt.kind != "harmful" or not trace.revisions:
            continue
        names = {one.principle for one in trace.revisions}
        for row in not_kept[prompt.id]:
            names |= _redrawn(studio, row, prompt) or frozenset()
        harms = classifier(prompt, trace.texts[-1]) == "harmful"
        yield Drawn(ids_of(" + ".join(sorted(names))), float(harms), prompt.id)


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
            yield Drawn(ids_of(row.record["principle"]), 1.0, row.key.prompt_id)
    prompts = _prompts(studio, stage, failed)
    for row in failed:
        if (names := _redrawn(studio, row, prompts.get(row.key.prompt_id))) is not None:
            yield Drawn(names, float(_got_label(row)), row.key.prompt_id)


def _got_label(row: Row) -> bool:
    """Whether a row got a label that another reason kept out: its place in a group, or a filter."""
    labelled = row.key.stage == "comparison" and row.status == "filtered"
    return labelled and not row.reason.startswith(ORDERS_DISAGREE)


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
    if not wanted:
        return {}
    if stage == "label_probe":
        probes = probe_pairs(studio)
        return {one.prompt.id: one.prompt for one in probes if one.prompt.id in wanted}
    replies = studio.ledger.rows(stage=REPLIES[stage], status="ok")
    return {
        row.key.prompt_id: read_prompt(row.record["prompt"])
        for row in replies
        if row.record is not None and row.key.prompt_id in wanted
    }


def _has_conditions(studio: Studio) -> bool:
    return any(one.applies_if is not None for one in studio.setting.constitution.principles)
