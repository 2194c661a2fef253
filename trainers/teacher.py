"""What a teacher that sees a context makes of conversations: stored once, learned from often.

HH-RLHF, A.1: the teacher's 50 likeliest tokens at each place and their log-probabilities are
written to disk, so that the large model reads every text once. Rows are read, weighed and written
in parts: memory holds one part, however many rows there are, a pass that was killed goes on behind
the parts that are written, and several processes share them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cai.datasets.parquet import folder_hash
from cai.errors import Fault, InputError
from cai.models.weights import NO_CODE
from cai.records import digest
from cai.whole import write_whole
from trainers.adapters import load_policy
from trainers.conversations import READ, conversation_of
from trainers.environment import main_process_first
from trainers.fit import model_digest
from trainers.rollouts import padded
from trainers.rows import (
    ROWS_PER_BATCH,
    BadRow,
    Dropped,
    EncodedRows,
    Row,
    encoded_batches,
)
from trainers.settings import DistillationSettings
from trainers.tokens import Conversation, ReplySpans, reply_spans

AT_ONCE = 16
"""Conversations that the teacher reads in one batch."""

ROWS_OF_A_PART = 256
"""What a kill costs a process at most; rows of about one length are read together within it."""

LEFT_OUT = "left_out.json"
"""Says which rows are not in the parts beside it; it is there once all parts are."""

View = Callable[[Conversation], Conversation]
"""The turns that a teacher sees for those of a prompt."""


@dataclass(frozen=True)
class Teacher:
    """A model with a context.

    Args:
        model: a folder, or a name on the hub, with the student's tokenizer.
        view: gives what it sees before a reply.
        context: hash of the view.
    """

    model: str
    view: View
    context: str


def teacher_rows(
    files: Sequence[Path],
    teacher: Teacher,
    tokenizer: Any,
    place: Path,
    settings: DistillationSettings,
) -> EncodedRows:
    """The rows to learn from, of an earlier pass with the same inputs if there was one.

    Several processes share the reading, through a disk that is all's.

    Args:
        files: with the columns of `trainers.conversations`.
        teacher: reads them.
        tokenizer: the student's.
        place: holds a folder of stored rows, named by a hash of all that they depend on.
        settings: the recipe's section.

    Raises:
        InputError: rows are bad, none is left, or the teacher has another tokenizer.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    named = [
        *(folder_hash(file) for file in files),
        model_digest(teacher.model),
        sorted(tokenizer.get_vocab().items()),
        [tokenizer.chat_template, teacher.context],
        [settings.learned, settings.max_length, settings.top_k, ROWS_OF_A_PART, ROWS_PER_BATCH],
    ]
    folder = place / digest(named)
    if not (folder / LEFT_OUT).is_file():
        _write(folder, files, teacher, tokenizer, settings)
    left_out = orjson.loads((folder / LEFT_OUT).read_bytes())
    with main_process_first():
        # Mapped from disk, so that memory does not grow with the rows.
        parts: list[Any] = [str(part) for part in stored_parts(folder)]
        rows: Any = Dataset.from_parquet(parts, cache_dir=str(place / "read"))
    return EncodedRows(rows.with_format("numpy"), left_out["dropped"], left_out["truncated"], files)


def stored_parts(folder: Path) -> list[Path]:
    """The parts that a teacher has written so far, in the order of their rows."""
    return sorted(folder.glob("*.parquet"))


def _write(
    folder: Path,
    files: Sequence[Path],
    teacher: Teacher,
    tokenizer: Any,
    settings: DistillationSettings,
) -> None:
    """Let the teacher read all rows that are not in a part yet."""
    from accelerate import PartialState

    model, state = _load(teacher.model, tokenizer), PartialState()
    dropped, truncated, missing = Counter[str](), 0, 0

    def encode(row: Row) -> Mapping[str, Any]:
        return encode_both(tokenizer, row, teacher.view, settings, model.positions)

    folder.mkdir(parents=True, exist_ok=True)
    there = set(stored_parts(folder))
    # No part may appear before all have seen which ones are missing: those they share out.
    state.wait_for_everyone()
    written: list[Path] = []
    for rows in _parts(encoded_batches(files, READ, encode, dropped)):
        truncated += sum(row.pop("truncated") for row in rows)
        written.append(folder / f"{len(written):08}.parquet")
        if written[-1] not in there:
            if missing % state.num_processes == state.process_index:
                _write_part(written[-1], rows, model, settings.top_k)
            missing += 1
    if not written:
        why = ", ".join(f"{reason}: {count}" for reason, count in dropped.items()) or "it is empty"
        raise InputError(files[0].parent, [Fault(f"has no row left to learn from ({why})")])
    state.wait_for_everyone()
    if state.is_main_process:
        left_out = {"dropped": dict(dropped), "truncated": truncated}
        write_whole(folder / LEFT_OUT, orjson.dumps(left_out))
    state.wait_for_everyone()


def _parts(batches: Iterable[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    for rows in batches:
        for start in range(0, len(rows), ROWS_OF_A_PART):
            yield rows[start : start + ROWS_OF_A_PART]


def _write_part(file: Path, rows: Sequence[Mapping[str, Any]], reader: _Reader, top_k: int) -> None:
    """What the teacher makes of some rows; the file appears when it is whole."""
    import pyarrow.parquet as parquet

    new = file.with_suffix(".new")
    parquet.write_table(_table(rows, reader, top_k), new)
    new.replace(file)


def encode_both(
    tokenizer: Any, row: Row, view: View, settings: DistillationSettings, positions: int
) -> dict[str, Any]:
    """Token ids of a conversation as student and as teacher see it, and where its replies are.

    Args:
        tokenizer: of both.
        row: with the columns of `trainers.conversations`.
        view: what the teacher sees for a prompt.
        settings: which replies, and the length past which the student's tokens are cut off.
        positions: tokens that the teacher reads at most.

    Raises:
        BadRow: the messages are no conversation that ends with a reply, or the chat template
            writes a reply otherwise behind the context.
        Dropped: the prompt fills the length, or the teacher cannot read so much.
    """
    turns = conversation_of(row)
    every = settings.learned == "all_replies"
    own = reply_spans(tokenizer, turns, every=every)
    seen = reply_spans(tokenizer, [*view(turns[:-1]), turns[-1]], every=every)
    cut = max(0, len(own.ids) - settings.max_length)
    if own.spans[0].start >= settings.max_length:
        raise Dropped("the prompt alone is longer than max_length")
    if len(seen.ids) - cut > positions:
        raise Dropped("context and conversation are longer than the teacher reads")
    places, teacher_places = _places(own, cut), _places(seen, cut)[-len(_places(own, cut)) :]
    if [own.ids[at] for at in places] != [seen.ids[at] for at in teacher_places]:
        raise BadRow("the chat template writes a reply differently behind the teacher's context")
    return {
        "input_ids": own.ids[: len(own.ids) - cut],
        "places": places,
        "teacher_ids": seen.ids[: len(seen.ids) - cut],
        "teacher_places": teacher_places,
        "truncated": cut > 0,
    }


def _places(replies: ReplySpans, cut: int) -> list[int]:
    """Places of the replies' tokens that are not cut off."""
    end = len(replies.ids) - cut
    return [at for span in replies.spans for at in range(span.start, min(span.stop, end))]


@dataclass(frozen=True)
class _Reader:
    """A loaded teacher.

    Args:
        model: in memory.
        positions: tokens that it reads at most.
        pad: the token that fills up.
        device: where it is.
    """

    model: Any
    positions: int
    pad: int
    device: Any


def _load(name: str, tokenizer: Any) -> _Reader:
    from accelerate import PartialState
    from transformers import AutoTokenizer

    other: Any = AutoTokenizer.from_pretrained(name, **NO_CODE)
    if other.get_vocab() != tokenizer.get_vocab():
        fault = Fault("has another tokenizer than the student; a teacher must share its tokens")
        raise InputError(name, [fault])
    model = load_policy(name)
    device = PartialState().device
    positions = getattr(model.config, "max_position_embeddings", 0) or 1 << 62
    return _Reader(model.to(device).eval(), positions, tokenizer.pad_token_id, device)


def _table(rows: Sequence[Mapping[str, Any]], reader: _Reader, top_k: int) -> Any:
    """What the teacher makes of some rows, in their order."""
    import pyarrow

    by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]["teacher_ids"]))
    read: list[Mapping[str, Any]] = [{}] * len(rows)
    for start in range(0, len(by_length), AT_ONCE):
        places = by_length[start : start + AT_ONCE]
        for place, found in zip(
            places, _read([rows[p] for p in places], reader, top_k), strict=True
        ):
            read[place] = {
                "input_ids": rows[place]["input_ids"],
                "places": rows[place]["places"],
                **found,
            }
    return pyarrow.Table.from_pylist(read, _schema())


def _read(
    rows: Sequence[Mapping[str, Any]], reader: _Reader, top_k: int
) -> Iterator[Mapping[str, Any]]:
    """The teacher's likeliest tokens before each token of the replies, flat: top_k of each."""
    import torch

    ids, mask = padded([row["teacher_ids"] for row in rows], reader.pad, left=False)
    with torch.inference_mode():
        outputs = reader.model(
            input_ids=ids.to(reader.device), attention_mask=mask.to(reader.device), use_cache=False
        )
    for row, logits_T_V in zip(rows, outputs.logits, strict=True):
        before = torch.tensor(row["teacher_places"], device=logits_T_V.device) - 1
        logprobs = logits_T_V[before].float().log_softmax(-1)
        top = logprobs.topk(min(top_k, logprobs.shape[-1]), dim=-1)
        yield {
            "top_ids": top.indices.int().flatten().cpu().numpy(),
            "top_logprobs": top.values.flatten().cpu().numpy(),
        }


def _schema() -> Any:
    """Columns: a student's row, and the teacher's tokens and log-probabilities, flat."""
    import pyarrow

    whole = pyarrow.list_(pyarrow.int32())
    return pyarrow.schema(
        {
            "input_ids": whole,
            "places": whole,
            "top_ids": whole,
            "top_logprobs": pyarrow.list_(pyarrow.float32()),
        }
    )
