"""Bring the figures of a run up to date after some of its rows were made again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cai.datasets.preferences import count_by_source
from cai.pipeline.contamination import measure_contamination
from cai.pipeline.evaluating import (
    classifier_of,
    measure_iterations,
    measure_labels,
    measure_policy,
    measure_revisions,
)
from cai.pipeline.judged import judged_figures, passes_of_judges
from cai.pipeline.model_cards import write_model_cards
from cai.pipeline.policies import BEST_OF, policies
from cai.pipeline.principles import measure_principles
from cai.pipeline.run import filter_counts, left_out_counts, row_counts
from cai.pipeline.studio import Studio
from cai.report import write_cards, write_report

REVISIONS = frozenset({"response", "revision", "revision_check", "revision_over_initial"})
"""Stages whose rows are made together with an SL-CAI response."""

PAIRS = frozenset({"pair", "comparison", "canned_refusal", "contrast"})
"""Stages whose rows are made with the pairs."""


def measure_again(studio: Studio, stages: Collection[str]) -> None:
    """Bring a run's figures, cards and report up to date, if it has any.

    Args:
        studio: of the run; it is left at the last iteration.
        stages: whose rows were made again.
    """
    metrics = studio.folder.read_metrics()
    if not metrics:
        return
    studio.begin_iteration(studio.recipe.iterations - 1)
    if not (REVISIONS | PAIRS | {"label_probe"}).isdisjoint(stages):
        metrics |= {**measure_revisions(studio), **measure_labels(studio)}
        metrics |= measure_principles(studio)
    every = list(policies(studio))
    asked = [one for one in every if one.row_stage in stages]
    measured: dict[str, Any] = metrics.setdefault("stages", {})
    measured |= {one.stage: measure_policy(studio, one) for one in asked if one.name != BEST_OF}
    if asked:
        # The preference model is measured on pairs of these replies.
        figures, best = measure_iterations(studio)
        measured |= best.get("stages", {})
        metrics |= {**figures, **best, "stages": measured}
    if "contamination" in metrics:
        metrics |= measure_contamination(studio)
    judging = {one.stage for one in passes_of_judges(studio.recipe, every)}
    if asked or not judging.isdisjoint(stages):
        metrics |= judged_figures(studio, every, classifier_of(studio))
    metrics |= {"rows": row_counts(studio.ledger), "filtered": filter_counts(studio.ledger)}
    metrics["pairs"] = count_by_source(studio.ledger, studio.iteration)
    metrics["mix"] = {**metrics.get("mix", {}), **studio.mixed}
    metrics["by_fallback"] = studio.ledger.counts_by_fallback()
    metrics.setdefault("run", {})["rows_with_rerun_settings"] = len(studio.rows_with_settings)
    metrics |= left_out_counts(studio, metrics)
    studio.folder.write_metrics(metrics)
    write_cards(studio.folder.path, metrics)
    write_model_cards(studio.folder, metrics)
    write_report(studio.folder.path)
