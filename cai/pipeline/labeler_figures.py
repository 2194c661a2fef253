"""From the rows of a judge to its figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from pydantic import TypeAdapter

from cai.constitution import Constitution
from cai.engine import Ledger
from cai.evaluation.agreement import Item
from cai.evaluation.judge import JudgeFigures, LabelCost, judge_figures
from cai.evaluation.observation import Observation, observe, observe_answer
from cai.models import ModelSettings
from cai.models.prices import Prices
from cai.pipeline.judged_rows import ends_of
from cai.pipeline.readback import read_comparison
from cai.pipeline.studio import Studio
from cai.records import Row, Usage
from cai.stages.answer import Answer

_ANSWER = TypeAdapter(Answer)


def figures_from(
    studio: Studio,
    settings: ModelSettings,
    stages: Sequence[str],
    constitution: Constitution | None = None,
) -> JudgeFigures:
    """What one judge's rows say of it.

    Args:
        studio: that made them.
        settings: of the judge.
        stages: of its rows.
        constitution: whose principles it was asked under; None for the run's.
    """
    asked = constitution or studio.setting.constitution
    rows = [row for stage in stages for row in studio.ledger.rows(stage)]
    observed = [_observed(row.record) for row in rows if row.record is not None]
    return judge_figures(
        settings.name,
        studio.model_of(settings).identity,
        observed,
        ends_of(rows),
        principle_tags={one.id: one.tags for one in asked.principles},
        cost=cost_of(rows, studio.ledger, settings.known_prices),
    )


def sides(ledger: Ledger, stages: Sequence[str]) -> dict[str, dict[Item, str]]:
    """What was chosen of each question, near-ties left out.

    Returns:
        By the principle that was asked under ("" if it was drawn), and by the question.
    """
    found: dict[str, dict[Item, str]] = {}
    for stage in stages:
        chosen = found.setdefault(stage.partition(".")[2], {})
        for row in ledger.rows(stage, "ok"):
            seen = None if row.record is None else _observed(row.record)
            if seen is not None and seen.decided:
                chosen[Item(row.key.prompt_id, str(row.key.sample))] = seen.choice
    return found


def _observed(record: Mapping[str, Any]) -> Observation:
    tags = {f"tag:{tag}" for tag in record.get("tags", ())}
    if "question" in record:
        answer = _ANSWER.validate_python(record)
        return observe_answer(answer, frozenset({*tags, f"data:{answer.question.source}"}))
    label = read_comparison(record)
    tags |= {f"tag:{tag}" for tag in label.provenance["tags"]}
    groups = frozenset({*tags, f"data:{label.prompt.source}"})
    return observe(label, label.provenance["truth"], groups)


def cost_of(rows: Iterable[Row], ledger: Ledger, prices: Prices | None) -> LabelCost:
    """What rows of a judge took.

    Args:
        rows: with the calls that led to them.
        ledger: has the calls.
        prices: of the judge; None if they are not known.
    """
    listed = list(rows)
    labels = sum(row.status == "ok" for row in listed)
    calls, usage = 0, Usage()
    known = True
    for replies, used in _calls(listed, ledger):
        calls += replies
        known = known and used is not None
        usage += used or Usage()
    if not known:
        return LabelCost(labels, calls, None, None, None)
    dollars = None if prices is None else prices.cost(usage)
    return LabelCost(labels, calls, usage.input_tokens, usage.output_tokens, dollars)


def _calls(rows: Iterable[Row], ledger: Ledger) -> Iterator[tuple[int, Usage | None]]:
    """Each call once: how many replies it stands for, and its tokens.

    A label that was estimated from replies keeps their number, and not their tokens.
    """
    for key in dict.fromkeys(key for row in rows for key in row.calls):
        call = ledger.call(key)
        if call is not None:
            sampled = orjson.loads(call.response).get("samples")
            yield (sampled, None) if sampled else (1, call.usage)
