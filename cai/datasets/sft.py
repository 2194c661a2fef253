"""The supervised data set: revisions of red-team replies, mixed with helpful replies.

One row per (prompt, revision) with `messages` ending in the reply to learn (Bai et al. 2022,
§3.1, §3.2). Rows come from the ledger, in the order of their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cai.datasets.mix_plan import MixPlan, content_hash
from cai.datasets.mixing import Example, LeftOut, Mixed
from cai.datasets.parquet import SplitWriter
from cai.datasets.refusals import refusal_features
from cai.engine import Ledger
from cai.mix_settings import SFT_ORIGINS, SftOrigin
from cai.movable import movable
from cai.records import Row, RowKey, digest
from cai.revision_settings import last_round
from cai.sources.mixed_rows import Conversation
from cai.splits import Split, purpose_of, split_of
from cai.untyped import untyped


@dataclass(frozen=True)
class SftPlan:
    """What goes in, and the hashes that every row carries.

    Args:
        revisions: "all" rounds, the "last" one of each prompt, or "upto:N", rounds 1 to N
            (SL-CAI-N of Bai et al. 2022, §3.4).
        test_share: share of prompts held out, in [0, 1).
        provenance: constitution hash, template hash and seed.
        sft_share: share of red-team prompts that are for this data set, in (0, 1]; revisions of
            others were made for pairs.
        smallest: where prompts that are near others go; see `cai.splits`.
        own_smallest: as `smallest`, of the prompts of the run alone: what is mixed in must not
            change what they are for.
    """

    revisions: str
    test_share: float
    provenance: Mapping[str, Any]
    sft_share: float = 1.0
    smallest: Mapping[str, str] = field(default_factory=dict[str, str])
    own_smallest: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def last_round(self) -> int | None:
        """The N of "upto:N"."""
        return last_round(self.revisions)


def sft_features() -> Any:
    """The columns of the supervised data set, a `datasets.Features`."""
    datasets = untyped("datasets")
    text = datasets.Value("string")
    return datasets.Features(
        {
            "messages": datasets.List({"role": text, "content": text}),
            "iteration": datasets.Value("int64"),
            "prompt_id": text,
            "source": text,
            "kind": text,
            "origin": text,
            "round": datasets.Value("int32"),
            "principle": text,
            "model": text,
            "constitution": text,
            "template": text,
            "seed": datasets.Value("int64"),
            "calls": datasets.List(text),
            "refusals": refusal_features(),
        }
    )


def write_sft(
    ledger: Ledger, folder: Path, plan: SftPlan, mix: MixPlan[Conversation] | None = None
) -> Mixed:
    """Write ``train`` and ``test``.

    Args:
        ledger: of the run.
        folder: ``datasets/sft``.
        plan: what goes in of the run's own rows.
        mix: what they are mixed with, and how; None: all of them, and nothing else.

    Raises:
        CaiError: a source is to have a share, and has no row to train on.
    """
    mix = mix or MixPlan[Conversation]()
    own = {origin: partial(_own, ledger, origin, plan, mix) for origin in SFT_ORIGINS}

    def all_own() -> Iterator[Example | LeftOut]:
        for read in own.values():
            yield from read()

    mixture = mix.mixture(own, all_own, partial(_mixed, plan=plan, mix=mix))
    SplitWriter(folder, sft_features()).write(mixture.rows())
    return mixture.mixed


def _own(
    ledger: Ledger, origin: SftOrigin, plan: SftPlan, mix: MixPlan[Conversation]
) -> Iterator[Example | LeftOut]:
    rows = _revisions(ledger, plan) if origin == "revision" else ledger.rows("helpful", "ok")
    for row in rows:
        assert row.record is not None, "a row with status ok has a record"
        rank = digest([row.key.prompt_id, row.key.stage, row.key.round, row.key.sample])
        once = mix.once(row.record["prompt"]["messages"], [row.record["text"]])
        fields = {**_fields(row), "origin": origin, **plan.provenance}
        yield Example(origin, rank, once, _split(row, plan), fields)


def _mixed(
    conversation: Conversation, source: str, plan: SftPlan, mix: MixPlan[Conversation]
) -> Example:
    """The example of a conversation that this run has not made."""
    prompt, reply = conversation.prompt, conversation.reply
    record = {"prompt": asdict(prompt), "text": reply, "model": ""}
    row = Row(RowKey("mixed", prompt.id), "ok", "", record)
    nothing = {**dict.fromkeys(plan.provenance, ""), "seed": None}
    fields = {**_fields(row), "origin": "mixed", **nothing}
    rank = content_hash(prompt.messages, [reply])
    once = mix.once(prompt.messages, [reply])
    return Example(source, rank, once, _split(row, plan), fields)


def _revisions(ledger: Ledger, plan: SftPlan) -> Iterator[Row]:
    last: Row | None = None
    for row in ledger.rows(stage="revision", status="ok"):
        if not _is_for_sft(row, plan):
            continue
        done = last is not None and last.key.prompt_id != row.key.prompt_id
        if last is not None and (plan.revisions != "last" or done):
            yield last
        last = row
    if last is not None:
        yield last


def _is_for_sft(row: Row, plan: SftPlan) -> bool:
    assert row.record is not None, "a row with status ok has a record"
    if plan.last_round is not None and row.key.round > plan.last_round:
        return False
    messages = row.record["prompt"]["messages"]
    return purpose_of(messages, plan.sft_share, plan.own_smallest) == "sft"


def _split(row: Row, plan: SftPlan) -> Split:
    assert row.record is not None, "a row with status ok has a record"
    return split_of(row.record["prompt"]["messages"], plan.test_share, plan.smallest)


def _fields(row: Row) -> dict[str, Any]:
    record = row.record
    assert record is not None, "a row with status ok has a record"
    prompt = record["prompt"]
    reply = {"role": "assistant", "content": record["text"]}
    return {
        "messages": [*prompt["messages"], reply],
        "iteration": row.key.iteration,
        "prompt_id": row.key.prompt_id,
        "source": movable(prompt["source"]),
        "kind": prompt["kind"],
        "round": row.key.round,
        "principle": record.get("principle", ""),
        "model": movable(record["model"]),
        "calls": list(row.calls),
        "refusals": movable(list(record.get("refusals", ()))),
    }
