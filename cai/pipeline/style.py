"""How the policies of a run word their replies to the evaluation prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cai.evaluation.goodhart import style_of
from cai.pipeline.policies import BEST_OF, StagePolicy
from cai.pipeline.studio import Studio
from cai.wording import shipped_wording


def measure_style(studio: Studio, policies: Sequence[StagePolicy]) -> Mapping[str, Any]:
    """Signs of a gamed reward in each policy's replies, under ``style``; see the ledger for them.

    What wording tells is left out where no patterns are shipped for the constitution's language.

    Args:
        studio: of the run.
        policies: that have answered; the best of several replies is another one's.
    """
    wording = shipped_wording(studio.setting.constitution.language)
    found: dict[str, Any] = {}
    for policy in policies:
        groups = _replies(studio, policy) if policy.name != BEST_OF else []
        if groups:
            found[policy.stage] = style_of(groups, [wording] if wording else []).to_json()
    return {"style": found} if found else {}


def _replies(studio: Studio, policy: StagePolicy) -> list[list[str]]:
    """What a policy said, by prompt."""
    groups: dict[str, list[str]] = {}
    for row in studio.ledger.rows(stage=policy.row_stage, status="ok"):
        if row.record is None or row.record["stop_reason"] == "refusal":
            continue  # What the provider declined has no wording.
        if row.key.iteration == policy.iteration:
            groups.setdefault(row.key.prompt_id, []).append(row.record["text"])
    return list(groups.values())
