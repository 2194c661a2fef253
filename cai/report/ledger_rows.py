"""What the report shows of a ledger's rows: how they ended, and some of them whole."""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from pydantic import TypeAdapter

from cai.engine.ledger import Ledger
from cai.records import (
    BY_FALLBACK,
    Comparison,
    Prompt,
    Response,
    Revision,
    RevisionTrace,
    Row,
    digest,
)
from cai.report.data import EndedRows, SampledRow

REASONS = 3


def sample_rows(ledger: Ledger, count: int) -> list[SampledRow]:
    """Some prompts with their way to data, the same ones at every reading.

    They are drawn by a hash of the prompt's id, not by their looks: half from the revised
    prompts and half from those that a model has labelled, which are disjoint; where one half has
    fewer, the other fills up.
    """
    revised = _drawn(ledger.rows("revision", "ok"), count)
    labelled = (row for row in ledger.rows("comparison", "ok") if _is_by_model(row))
    compared = _drawn(labelled, count)
    half = max(count - len(compared), count - count // 2)
    chosen = dict.fromkeys([*revised[:half], *compared])
    ids = list(chosen)[:count]
    traces = _traces(ledger, frozenset(ids))
    comparisons = _comparisons(ledger, frozenset(ids))
    return [SampledRow(name, traces.get(name), comparisons.get(name)) for name in ids]


def count_rows(ledger: Ledger) -> list[EndedRows]:
    """How many rows of each stage ended how, and the commonest reasons.

    Reasons that differ only in a number are counted as one.
    """
    reasons: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    counts = ledger.counts()
    for stage, number in ledger.counts_by_fallback().items():
        reasons[stage, "ok"][BY_FALLBACK] = number
    for stage, status in counts:
        if status != "ok":
            for row in ledger.rows(stage, status):
                reasons[stage, status][re.sub(r"\d+(\.\d+)?", "N", row.reason)] += 1
    return [
        EndedRows(stage, status, n, reasons[stage, status].most_common(REASONS))
        for (stage, status), n in sorted(counts.items())
    ]


def _drawn(rows: Iterable[Row], count: int) -> list[str]:
    ids = {row.key.prompt_id for row in rows}
    return heapq.nsmallest(count, ids, key=digest)


def _is_by_model(row: Row) -> bool:
    return row.record is not None and row.record["source"] == "ai"


def _traces(ledger: Ledger, ids: frozenset[str]) -> dict[str, RevisionTrace]:
    revisions: defaultdict[str, list[Revision]] = defaultdict(list)
    for row in _chosen(ledger.rows("revision", "ok"), ids):
        revisions[row.key.prompt_id].append(_revision(row))
    traces: dict[str, RevisionTrace] = {}
    for row in _chosen(ledger.rows("response", "ok"), ids):
        name = row.key.prompt_id
        if name in revisions and name not in traces:
            ordered = sorted(revisions[name], key=lambda revision: revision.round)
            traces[name] = RevisionTrace(_response(row), tuple(ordered))
    return traces


def _comparisons(ledger: Ledger, ids: frozenset[str]) -> dict[str, Comparison]:
    read = TypeAdapter(Comparison).validate_python
    found: dict[str, Comparison] = {}
    for row in _chosen(ledger.rows("comparison", "ok"), ids):
        found.setdefault(row.key.prompt_id, read(row.record))
    return found


def _chosen(rows: Iterable[Row], ids: frozenset[str]) -> Iterator[Row]:
    return (row for row in rows if row.key.prompt_id in ids and row.record is not None)


def _response(row: Row) -> Response:
    record = row.record or {}
    prompt = TypeAdapter(Prompt).validate_python(record["prompt"])
    call = row.calls[0] if row.calls else ""
    return Response(prompt, record["text"], row.key.sample, record["model"], call)


def _revision(row: Row) -> Revision:
    record = row.record or {}
    return Revision(
        round=row.key.round,
        principle=record["principle"],
        critique=record["critique"],
        text=record["text"],
        model=record.get("model", ""),
        calls=tuple(row.calls),
    )
