"""The columns and splits of Hugging Face's own CAI data sets, which llm-swarm has made.

``HuggingFaceH4/cai-conversation-harmless`` and its recipe in the alignment handbook have one data
set of four splits, ``train_sft``, ``test_sft``, ``train_prefs`` and ``test_prefs``, all of the same
columns: three questions and answers (the prompt, the critique, the revision), and what SFT and DPO
make of them. A pair is the revision against the first answer; no model has judged it (llm-swarm,
``examples/constitutional-ai/generate_dataset.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cai.datasets.parquet import SPLITS
from cai.engine import Ledger
from cai.errors import CaiError
from cai.export.files import write_rows
from cai.export.source import Source, Written
from cai.movable import movable
from cai.pipeline.readback import read_traces
from cai.records import Message, Revision, RevisionTrace
from cai.splits import position

SWARM_SPLITS = ("train_sft", "test_sft", "train_prefs", "test_prefs")

COLUMNS = (
    *("init_prompt", "init_response", "critic_prompt", "critic_response"),
    *("revision_prompt", "revision_response", "prompt", "messages", "chosen", "rejected"),
)
"""As in their data sets; ours follow: prompt_id, source, principle, model, round."""

HOLDS = (
    "Answers with a critique and a revision each, half of the prompts for supervised finetuning "
    "(column `messages`), half as pairs of a revision and the first answer (columns `chosen` and "
    "`rejected`), which no model has judged; columns as of llm-swarm's data sets."
)

HELPFUL = "helpful replies, which nothing has revised"
MIXED = "rows mixed in from elsewhere, without a critique"
UNKNOWN = "revisions that the run's ledger does not have"
SEVERAL = "revisions of several turns, where a row has one question"
NO_PRINCIPLE = "revisions under a principle whose text metrics.json does not have"
UNCHANGED = "pairs whose revision is the first answer"

Texts = Mapping[str, Mapping[str, Any]]
"""Texts of the principles, by id."""


class _Place(NamedTuple):
    prompt_id: str
    round: int


def write_llm_swarm(source: Source, out: Path) -> Sequence[Written]:
    """Write the revisions that SFT learns from, half of the prompts as pairs.

    A prompt's hash says whether it is for SFT or for pairs, and whether it is held out.

    Args:
        source: the run.
        out: the new folder.

    Raises:
        CaiError: the run has no conversations, or a margin is asked for.
    """
    source.refuse_margin("llm-swarm", "has pairs without labels: a revision and the first answer")
    if not source.has("sft"):
        raise CaiError(
            f"{source.run.path} has no datasets/sft; make it first, as with "
            "`cai run RECIPE --until revisions`"
        )
    places, texts = _places(source), _principles(source)
    unmet = set(places)
    splits = {
        split: write_rows(_rows(source, split, places, texts, unmet), out / split, source.file_type)
        for split in SWARM_SPLITS
    }
    if unmet:
        source.left_out[UNKNOWN] = len(unmet)
    return [Written("conversations", HOLDS, "sft", ".", splits, source.file_type)]


def _places(source: Source) -> Mapping[_Place, str]:
    """The split of each revision that SFT learns from."""
    places: dict[_Place, str] = {}
    for split in SPLITS:
        for row in source.rows("sft", split):
            if row["origin"] == "revision":
                places[_Place(row["prompt_id"], row["round"])] = split
            else:
                source.left_out[HELPFUL if row["origin"] == "helpful" else MIXED] += 1
    return places


def _principles(source: Source) -> Texts:
    run: Mapping[str, Any] = source.run.read_metrics().get("run", {})
    return run.get("constitution", {}).get("principles", {})


def _rows(
    source: Source, split: str, places: Mapping[_Place, str], texts: Texts, unmet: set[_Place]
) -> Iterator[dict[str, Any]]:
    """The rows of a split; takes the revisions that it meets out of `unmet`."""
    with Ledger.open(source.run.ledger, read_only=True) as ledger:
        for trace in read_traces(ledger):
            half = _half(trace)
            for number, revision in enumerate(trace.revisions):
                place = _Place(trace.response.prompt.id, revision.round)
                if place not in places or f"{places[place]}_{half}" != split:
                    continue
                unmet.discard(place)
                if reason := _no_place(trace, revision, texts, is_pair=half == "prefs"):
                    source.left_out[reason] += 1
                else:
                    yield _row(trace, number, texts[revision.principle])


def _half(trace: RevisionTrace) -> Literal["sft", "prefs"]:
    drawn = position(trace.response.prompt.messages, "sft or prefs")
    return "sft" if drawn < 0.5 else "prefs"


def _no_place(
    trace: RevisionTrace, revision: Revision, texts: Texts, *, is_pair: bool
) -> str | None:
    if len(trace.response.prompt.messages) != 1:
        return SEVERAL
    if revision.principle not in texts:
        return NO_PRINCIPLE
    if is_pair and revision.text == trace.response.text:
        return UNCHANGED
    return None


def _row(trace: RevisionTrace, number: int, texts: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a revision: its critique is of the answer before it, which stands beside it."""
    first, prompt = trace.response, trace.response.prompt
    revision = trace.revisions[number]
    before = trace.revisions[number - 1].text if number else first.text
    (asked,) = prompt.messages
    revised = [_turn(asked), {"role": "assistant", "content": revision.text}]
    critique = ("", "") if revision.critique is None else (texts["critique"], revision.critique)
    values = (
        *(asked.content, before, *critique),
        *(texts["revision"], revision.text, asked.content, revised, revised),
        [_turn(asked), {"role": "assistant", "content": first.text}],
    )
    return {
        **dict(zip(COLUMNS, values, strict=True)),
        "prompt_id": prompt.id,
        "source": prompt.source,
        "principle": revision.principle,
        "model": movable(revision.model),
        "round": revision.round,
    }


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}
