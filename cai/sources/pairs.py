"""Pairs that people (or the microworld's ground truth) have judged: chosen and rejected replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, cast

from pydantic import Field, model_validator

from cai.records import Comparison, Message, Prompt
from cai.sources.files import read_rows
from cai.sources.hub import HubSource, read_hub
from cai.sources.prompt_sets import Unreadable
from cai.sources.transcripts import as_prompt, to_messages, with_reply

PairKind = Literal["harmful", "harmless"]


class PairSet(HubSource):
    """A source of judged pairs; exactly one of `microworld`, `file` and `dataset` is given.

    Rows hold `chosen` and `rejected`, and optionally `prompt`: texts, message lists, or
    HH-RLHF transcripts that share all but the last turn.
    """

    kind: PairKind = Field(default="harmless", description="What the prompts are taken to be.")
    microworld: Literal["train", "heldout"] | None = Field(
        default=None, description="Pairs of the microworld, labelled by its ground truth."
    )
    file: Path | None = Field(default=None, description="A JSON-lines, JSON or Parquet file.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("microworld", "file", "dataset") if getattr(self, name)]
        if len(given) != 1:
            met = " and ".join(given) or "none"
            raise ValueError(f"give exactly one of microworld, file and dataset; met {met}")
        if self.microworld and self.limit is None:
            raise ValueError("say how many microworld pairs to take with limit")
        return self

    @property
    def name(self) -> str:
        """Short name for provenance and counts; it never holds a folder of this machine."""
        return self.short_name or f"microworld-pairs-{self.microworld}"


def read_pairs(pair_set: PairSet, seed: int) -> Iterator[Comparison | Unreadable]:
    """Stream the judged pairs of a set; rows that are none come with their reason.

    Raises:
        InputError: the file is not there or is broken, or the data set cannot be read.
    """
    if pair_set.microworld is not None:
        yield from _microworld(pair_set, seed)
        return
    rows = read_hub(pair_set) if pair_set.file is None else read_rows(pair_set.file)
    for number, row in islice(rows, pair_set.limit):
        try:
            yield judged_pair(row, pair_set.name, pair_set.kind)
        except ValueError as error:
            yield Unreadable(pair_set.name, number, str(error))


def judged_pair(row: Any, source: str, kind: str) -> Comparison:
    """The pair of a row with `chosen` and `rejected`, chosen first, as `PairSet` describes it.

    Args:
        row: of a file.
        source: name of the file.
        kind: what its prompts are taken to be.

    Raises:
        ValueError: it is no such row; says why.
    """
    if not isinstance(row, Mapping):
        raise ValueError("is not an object with chosen and rejected")
    fields = cast("Mapping[str, Any]", row)
    absent = [name for name in ("chosen", "rejected") if name not in fields]
    if absent:
        raise ValueError(f"has no {' and no '.join(absent)}; its fields are {', '.join(fields)}")
    shared = fields.get("prompt")
    context = () if shared is None else to_messages(shared)
    chosen = with_reply(context, fields["chosen"])
    rejected = with_reply(context, fields["rejected"])
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("chosen and rejected differ before the last turn")
    if chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        raise ValueError("chosen and rejected do not both end with the assistant")
    prompt = Prompt(as_prompt(chosen[:-1]), source, kind)
    return Comparison(prompt, chosen[-1].content, rejected[-1].content, p_a=1.0, source="human")


def _microworld(pair_set: PairSet, seed: int) -> Iterator[Comparison]:
    from cai.microworld import sample_pairs

    assert pair_set.limit is not None and pair_set.microworld is not None
    drawn = sample_pairs(pair_set.kind, pair_set.microworld, pair_set.limit, seed=seed)
    for request, reply_a, reply_b, p_a in drawn:
        prompt = Prompt((Message("user", request),), pair_set.name, pair_set.kind)
        yield Comparison(prompt, reply_a, reply_b, p_a, source="human")
