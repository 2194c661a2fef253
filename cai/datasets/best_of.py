"""The best-of-N data set: prompts with every reply that was drawn, and the best to learn from.

One row per prompt; `messages` ends with the reply of the highest score, so that SFT reads the data
set as it is (HH-RLHF §2.3 collected data so).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cai.evaluation.best_of import Draws, best_place
from cai.movable import movable
from cai.records import Row
from cai.untyped import untyped


def best_of_features() -> Any:
    """The columns of the data set, a `datasets.Features`."""
    datasets = untyped("datasets")
    text, score, place = (datasets.Value(kind) for kind in ("string", "float64", "int32"))
    return datasets.Features(
        {
            "messages": datasets.List({"role": text, "content": text}),
            "prompt_id": text,
            "source": text,
            "kind": text,
            "score": score,
            "best": place,
            "replies": datasets.List({"text": text, "score": score, "sample": place, "call": text}),
            "model": text,
            "policy": text,
            "preference_model": text,
            "template": text,
            "seed": datasets.Value("int64"),
        }
    )


def best_of_row(draws: Draws, rows: Sequence[Row], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the data set.

    Args:
        draws: the replies to a prompt with their scores.
        rows: the ledger's, of the same replies in the same order.
        provenance: the columns that all rows share: policy, preference_model, template, seed.
    """
    prompt, best = draws.prompt, best_place(draws.scores)
    reply = {"role": "assistant", "content": draws.replies[best].text}
    return {
        "messages": [*(asdict(turn) for turn in prompt.messages), reply],
        "prompt_id": prompt.id,
        "source": movable(prompt.source),
        "kind": prompt.kind,
        "score": draws.scores[best],
        "best": rows[best].key.sample,
        "replies": [
            {"text": text, "score": score, "sample": row.key.sample, "call": row.calls[0]}
            for (text, score), row in zip(draws.replies, rows, strict=True)
        ],
        "model": movable((rows[best].record or {})["model"]),
        **provenance,
    }
