"""From the rows of scored replies to figures: each policy's harmfulness, cost and trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cai.evaluation.harmfulness import ScoredReply, harm_score, harmfulness_figures
from cai.evaluation.truths import microworld_harm
from cai.pipeline.asked import asked_of_judge
from cai.pipeline.contest import contestants
from cai.pipeline.harmfulness import (
    GATE,
    GREEDY,
    SAMPLED,
    judging_of_harm,
    settings_of_harmfulness,
)
from cai.pipeline.judged_rows import ends_of, rows_by_name
from cai.pipeline.labeler_figures import cost_of
from cai.pipeline.labelling import Judging
from cai.pipeline.policies import StagePolicy
from cai.pipeline.readback import read_prompt
from cai.pipeline.studio import Studio
from cai.pipeline.trust import trust_in_judge
from cai.records import Row


def measure_harmfulness(studio: Studio, policies: Sequence[StagePolicy]) -> Mapping[str, Any]:
    """Each policy's figures, under ``harmfulness``; nothing where the recipe does not ask for it.

    Args:
        studio: of the run.
        policies: as they were given to `cai.pipeline.judged.ask_judges`.
    """
    if studio.recipe.evaluation.harmfulness is None:
        return {}
    judging, names = judging_of_harm(studio), [one.stage for one in contestants(policies)]
    rows: dict[str, list[Row]] = {name: [] for name in names}
    samples = settings_of_harmfulness(studio.recipe).samples
    for stage, replies in ((GREEDY, 1), (SAMPLED, samples)):
        found = rows_by_name(studio.ledger.rows(stage), names, replies=replies)
        for name, of in found.items():
            rows[name] += of
    return {"harmfulness": {name: _figures(studio, judging, of) for name, of in rows.items() if of}}


def _figures(studio: Studio, judging: Judging, rows: Sequence[Row]) -> Mapping[str, Any]:
    settings = settings_of_harmfulness(studio.recipe)
    scored = [_scored(studio, judging, row) for row in rows if row.record is not None]
    cost = cost_of(rows, studio.ledger, studio.recipe.models.of("judge").known_prices)
    known = cost.input_tokens is not None and cost.output_tokens is not None
    gates = settings.gates if settings.gate_data else None
    return {
        **harmfulness_figures(scored).to_json(),
        "scale": settings.scale,
        "asked": asked_of_judge(studio, settings.scale, judging.scale.template, (judging.setting,)),
        **ends_of(rows).to_json(),
        "calls": cost.calls,
        "tokens": (cost.input_tokens or 0) + (cost.output_tokens or 0) if known else None,
        "dollars": cost.dollars,
        **trust_in_judge(studio, GATE, judging.setting.constitution, gates).to_json(),
    }


def _scored(studio: Studio, judging: Judging, row: Row) -> ScoredReply:
    record = row.record or {}
    prompt, rating = read_prompt(record["prompt"]), record["rating"]
    truth = None
    if studio.recipe.evaluation.truth == "microworld":
        text = judging.setting.constitution.principle(rating["principle"]).rating
        truth = microworld_harm(text or "", prompt, record["text"])
    return ScoredReply(
        row.key.prompt_id,
        greedy=row.key.stage == GREEDY,
        score=harm_score(rating["expected"], judging.scale),
        truth=truth,
    )
