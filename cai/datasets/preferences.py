"""The preference data set: prompt, chosen, rejected, and the probability that chosen is better.

`chosen` is the likelier of the two replies, so `p_chosen` lies in [0.5, 1] and stays a
probability: the preference model learns from it as it is (Bai et al. 2022, §4.1, §4.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from cai.datasets.mix_plan import MixPlan, content_hash
from cai.datasets.mixing import Example, LeftOut, Mixed
from cai.datasets.parquet import SplitWriter
from cai.datasets.refusals import refusal_features
from cai.engine import Ledger
from cai.mix_settings import PAIR_ORIGINS, PairOrigin
from cai.movable import movable
from cai.records import Comparison, Row, RowKey, digest
from cai.splits import Split, split_of
from cai.stages.baseline_pairs import BASELINES
from cai.untyped import untyped


@dataclass(frozen=True)
class PreferencePlan:
    """What every row carries, and how prompts are held out.

    Args:
        test_share: share of prompts held out, in [0, 1).
        sampling: how replies were drawn.
        sampling_of: and those replies that were drawn in another way, by their row.
        smallest: where prompts that are near others go; see `cai.splits`.
        iteration: the last one whose pairs are taken; all earlier ones are mixed in.
        later_sampling: as `sampling`, of the iterations after the first.
    """

    test_share: float
    sampling: Mapping[str, Any]
    sampling_of: Mapping[RowKey, Mapping[str, Any]] = field(
        default_factory=dict[RowKey, Mapping[str, Any]]
    )
    smallest: Mapping[str, str] = field(default_factory=dict[str, str])
    iteration: int = 0
    later_sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])


def preference_features() -> Any:
    """The columns of the preference data set; log-probabilities are null for human labels.

    `logprob_chosen_first` is the judge's for chosen where chosen stood at (A), and so on; `votes`
    are all that it said, of every principle and chain of thought, and `rating_chosen` is from 1 to
    10 where replies were rated.
    """
    datasets = untyped("datasets")
    text, number = datasets.Value("string"), datasets.Value("float64")
    messages = datasets.List({"role": text, "content": text})
    return datasets.Features(
        {
            "prompt": messages,
            "chosen": messages,
            "rejected": messages,
            "p_chosen": number,
            "logprob_chosen_first": number,
            "logprob_rejected_second": number,
            "logprob_chosen_second": number,
            "logprob_rejected_first": number,
            "votes": datasets.List(
                {
                    "principle": text,
                    "chain": datasets.Value("int64"),
                    "first": text,
                    "logprob_chosen": number,
                    "logprob_rejected": number,
                    "mass": number,
                    "method": text,
                    "standard_error": number,
                    "reasoning": text,
                }
            ),
            "rating_chosen": number,
            "rating_rejected": number,
            "iteration": datasets.Value("int64"),
            "prompt_id": text,
            "source": text,
            "prompt_source": text,
            "kind": text,
            "principle": text,
            "constitution": text,
            "template": text,
            "model": text,
            "sampling": text,
            "seed": datasets.Value("int64"),
            "calls": datasets.List(text),
            "refusals": refusal_features(),
        }
    )


def write_preferences(
    ledger: Ledger, folder: Path, plan: PreferencePlan, mix: MixPlan[Comparison] | None = None
) -> Mixed:
    """Write ``train`` and ``test``.

    Args:
        ledger: of the run.
        folder: ``datasets/preferences``.
        plan: what every row carries, and how prompts are held out.
        mix: what the run's pairs are mixed with, and how; None: all of them, and nothing else.

    Raises:
        CaiError: a source is to have a share, and has no row to train on.
    """
    mix = mix or MixPlan[Comparison]()
    own = {source: partial(_own, ledger, source, plan, mix) for source in PAIR_ORIGINS}
    all_own = partial(_own, ledger, None, plan, mix)
    mixture = mix.mixture(own, all_own, partial(_mixed, plan=plan, mix=mix))
    SplitWriter(folder, preference_features()).write(mixture.rows())
    return mixture.mixed


def count_by_source(ledger: Ledger, iteration: int) -> Mapping[str, int]:
    """Pairs by where their label comes from: "ai", "human", or the name of a baseline.

    Args:
        ledger: of the run.
        iteration: the last one whose pairs count.
    """
    counted = (row for row in _pairs(ledger) if row.key.iteration <= iteration)
    return Counter(row.record["source"] for row in counted if row.record is not None)


def _pairs(ledger: Ledger, source: PairOrigin | None = None) -> Iterator[Row]:
    """Pairs of the stages that have some of a source, or of all stages."""
    of_one = (source,) if source in BASELINES else ("comparison",)
    for stage in of_one if source else ("comparison", *BASELINES):
        yield from ledger.rows(stage=stage, status="ok")


def _own(
    ledger: Ledger, source: PairOrigin | None, plan: PreferencePlan, mix: MixPlan[Comparison]
) -> Iterator[Example | LeftOut]:
    """The run's pairs of one source, or of all."""
    for row in _pairs(ledger, source):
        record = row.record
        assert record is not None, "a row with status ok has a record"
        if row.key.iteration > plan.iteration or (source and record["source"] != source):
            continue
        rank = digest([row.key.prompt_id, row.key.stage, row.key.iteration, row.key.sample])
        yield _example(row, rank, plan, mix)


def _mixed(
    pair: Comparison, source: str, plan: PreferencePlan, mix: MixPlan[Comparison]
) -> Example:
    """The example of a pair that this run has not labelled."""
    unknown: dict[str, Any] = {"sampling": {}}
    key = RowKey("mixed", pair.prompt.id)
    row = Row(key, "ok", "", {**asdict(pair), "source": source, "provenance": unknown})
    rank = content_hash(pair.prompt.messages, (pair.response_a, pair.response_b))
    return _example(row, rank, plan, mix)


def _example(row: Row, rank: str, plan: PreferencePlan, mix: MixPlan[Comparison]) -> Example:
    record = row.record
    assert record is not None, "a row with status ok has a record"
    replies = (record["response_a"], record["response_b"])
    split, fields = _preference_row(row, plan)
    once = mix.once(record["prompt"]["messages"], replies)
    return Example(record["source"], rank, once, split, fields)


def _preference_row(row: Row, plan: PreferencePlan) -> tuple[Split, dict[str, Any]]:
    record = row.record
    assert record is not None, "a row with status ok has a record"
    prompt, provenance = record["prompt"], record["provenance"]
    chosen, rejected = ("a", "b") if record["p_a"] >= 0.5 else ("b", "a")
    fields = {
        "prompt": prompt["messages"],
        "chosen": [{"role": "assistant", "content": record[f"response_{chosen}"]}],
        "rejected": [{"role": "assistant", "content": record[f"response_{rejected}"]}],
        "p_chosen": record["p_a"] if chosen == "a" else 1 - record["p_a"],
        **_order_weights(record["orders"], chosen, rejected),
        "votes": [_vote(order, chosen, rejected) for order in record["orders"]],
        "rating_chosen": _mean_rating(record, chosen),
        "rating_rejected": _mean_rating(record, rejected),
        "iteration": row.key.iteration,
        "prompt_id": row.key.prompt_id,
        "source": record["source"],
        "prompt_source": movable(prompt["source"]),
        "kind": prompt["kind"],
        "principle": record["principle"],
        "constitution": provenance.get("constitution", ""),
        "template": provenance.get("template", ""),
        "model": movable(record["model"]),
        "sampling": orjson.dumps(_sampling(row.key, provenance, chosen, plan)).decode(),
        "seed": provenance.get("seed"),
        "calls": list(row.calls),
        "refusals": movable([*provenance.get("refusals", ()), *record.get("refusals", ())]),
    }
    return split_of(prompt["messages"], plan.test_share, plan.smallest), fields


def _sampling(
    key: RowKey, provenance: Mapping[str, Any], chosen: str, plan: PreferencePlan
) -> Mapping[str, Any]:
    """How both replies were drawn, or each of them where they were not drawn alike."""
    if "sampling" in provenance:
        return provenance["sampling"]
    usual = plan.later_sampling if key.iteration else plan.sampling
    a, b = (
        plan.sampling_of.get(
            RowKey("pair", key.prompt_id, sample=sample, iteration=key.iteration), usual
        )
        for sample in _samples(key, provenance)
    )
    if a == b:
        return a
    return {"chosen": a, "rejected": b} if chosen == "a" else {"chosen": b, "rejected": a}


def _samples(key: RowKey, provenance: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of the two replies; rows of earlier versions, always of two, do not say them."""
    first = provenance.get("sample_a", 2 * key.sample)
    return first, provenance.get("sample_b", 2 * key.sample + 1)


def _order_weights(
    orders: list[Mapping[str, Any]], chosen: str, rejected: str
) -> dict[str, float | None]:
    """The log-probabilities of a label of one vote; null where there were several, or none."""
    by_first = {order["first"]: order for order in orders} if len(orders) <= 2 else {}
    first, second = by_first.get(chosen, {}), by_first.get(rejected, {})
    return {
        "logprob_chosen_first": first.get(f"logprob_{chosen}"),
        "logprob_rejected_second": first.get(f"logprob_{rejected}"),
        "logprob_chosen_second": second.get(f"logprob_{chosen}"),
        "logprob_rejected_first": second.get(f"logprob_{rejected}"),
    }


def _vote(order: Mapping[str, Any], chosen: str, rejected: str) -> dict[str, Any]:
    """What the judge said in one order, under one principle, in one chain of thought."""
    same = ("principle", "chain", "mass", "method", "standard_error", "reasoning")
    return {
        **{name: order.get(name) for name in same},
        "first": "chosen" if order["first"] == chosen else "rejected",
        "logprob_chosen": order[f"logprob_{chosen}"],
        "logprob_rejected": order[f"logprob_{rejected}"],
    }


def _mean_rating(record: Mapping[str, Any], of: str) -> float | None:
    expected = [one["expected"] for one in record.get("ratings", ()) if one["of"] == of]
    return sum(expected) / len(expected) if expected else None
