"""Two runs side by side: what B does differently from A, and what was different in its making."""

from __future__ import annotations

import difflib

from markupsafe import Markup

from cai.constitution.difference import PrincipleChange, principle_changes
from cai.report.data import ReportData
from cai.report.drawing import inline_svg
from cai.report.metrics import Metrics
from cai.report.page import render
from cai.report.plates import plates_of
from cai.report.policy_metrics import StageMetrics
from cai.report.side_by_side import groups_of
from cai.report.wording import by_method, change
from cai.stage_titles import own_stages, stage_title


def comparison_page(run_a: ReportData, run_b: ReportData) -> str:
    """The page of two runs, B measured against A."""
    return render(
        "comparison.html.j2",
        a=run_a,
        b=run_b,
        groups=groups_of(run_a, run_b),
        result=comparison_sentence(run_a.metrics, run_b.metrics),
        plates=[(plate, Markup(inline_svg(plate))) for plate in plates_of([run_a, run_b])],
        principles=changed_principles(run_a.metrics, run_b.metrics),
        recipe=_recipe_difference(run_a, run_b),
    )


def comparison_sentence(a: Metrics, b: Metrics) -> str:
    """What B's latest stage does differently, of those that both runs measured in the same way."""
    own = own_stages(a.stages)
    others = [name for name in a.stages if name not in own]
    common = False
    for name in (*reversed(own), *reversed(others)):
        before, after = a.stages[name], b.stages.get(name, StageMetrics())
        harm = before.harmful_compliance, after.harmful_compliance
        if not (harm[0] and harm[1]):
            continue
        common = True
        if before.method == after.method:
            figure = f"{stage_title(name)}'s harmful compliance{by_method(before.method)}"
            return f"From A to B, {figure} {change(harm[0], harm[1])}."
    if a.harm_by_round and b.harm_by_round:
        common = True
        if a.method_of_harm == b.method_of_harm:
            moved = change(a.harm_by_round[-1], b.harm_by_round[-1])
            figure = f"the share of harmful texts{by_method(a.method_of_harm)}"
            return f"From A to B, {figure} after the last revision round {moved}."
    if common:
        return "The two runs have measured the same figures, but not in the same way."
    return "The two runs have measured nothing in common."


def changed_principles(a: Metrics, b: Metrics) -> list[PrincipleChange] | None:
    """Principles that differ; None where a run has not kept its constitution's texts."""
    before, after = a.run.constitution.principles, b.run.constitution.principles
    return list(principle_changes(before, after)) if before and after else None


def _recipe_difference(a: ReportData, b: ReportData) -> str:
    lines = difflib.unified_diff(
        a.recipe.splitlines(), b.recipe.splitlines(), "A/recipe.yaml", "B/recipe.yaml", lineterm=""
    )
    return "\n".join(lines)
