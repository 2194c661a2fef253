"""A prompt set of a recipe: where its prompts come from and what they are taken to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from pydantic import Field, model_validator

from cai.records import Prompt
from cai.sources.files import read_rows, value_of
from cai.sources.hub import HubSource, read_hub
from cai.sources.transcripts import as_prompt, to_messages

PromptKind = Literal["harmful", "harmless", "borderline"]
KINDS: tuple[PromptKind, ...] = get_args(PromptKind)


class PromptSet(HubSource):
    """One source of prompts; exactly one of `microworld`, `file` and `dataset` is given."""

    kind: PromptKind | None = Field(
        default=None, description="What the prompts are taken to be; or give kind_column."
    )
    kind_column: str | None = Field(
        default=None, description="Which column says what each prompt is taken to be."
    )
    kinds: dict[str, PromptKind] = Field(
        default_factory=dict[str, PromptKind],
        description="What that column says of a kind, where it is not named harmful, harmless or "
        "borderline: {safe: harmless, unsafe: harmful}.",
    )
    microworld: Literal["train", "heldout"] | None = Field(
        default=None, description="Requests of the microworld, of this part."
    )
    file: Path | None = Field(
        default=None, description="A .txt, .json, .jsonl, .csv or .parquet file."
    )
    column: str | None = Field(default=None, description="Which column holds the prompt.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("microworld", "file", "dataset") if getattr(self, name)]
        if len(given) != 1:
            met = " and ".join(given) or "none"
            raise ValueError(f"give exactly one of microworld, file and dataset; met {met}")
        if self.microworld and self.limit is None:
            raise ValueError("say how many microworld requests to take with limit")
        return self

    @model_validator(mode="after")
    def _one_way_to_a_kind(self) -> Self:
        if (self.kind is None) == (self.kind_column is None):
            raise ValueError("give either kind, of all its prompts, or kind_column")
        if self.microworld and self.kind is None:
            raise ValueError("microworld requests have no columns; give kind")
        if self.kinds and self.kind_column is None:
            raise ValueError("kinds says what values of kind_column mean; give kind_column too")
        return self

    @property
    def name(self) -> str:
        """Short name for provenance and counts; it never holds a folder of this machine."""
        return self.short_name or f"microworld-{self.microworld}"


@dataclass(frozen=True)
class Unreadable:
    """A row of a prompt file that is no prompt, and why."""

    source: str
    row: int
    reason: str


def read_prompts(prompt_set: PromptSet, seed: int) -> Iterator[Prompt | Unreadable]:
    """Stream the prompts of a set in its own order; rows that are none come with their reason.

    Args:
        prompt_set: what to read.
        seed: which microworld requests are drawn; files are read as they are.

    Raises:
        InputError: the file is not there, is broken, or lacks the column.
    """
    name = prompt_set.name
    for number, row in islice(_rows(prompt_set, seed), prompt_set.limit):
        value = value_of(prompt_set.file or name, number, row, prompt_set.column)
        try:
            messages = as_prompt(to_messages(value))
            yield Prompt(messages, name, _kind(prompt_set, row))
        except ValueError as error:
            yield Unreadable(name, number, str(error))


def _kind(prompt_set: PromptSet, row: Any) -> PromptKind:
    """What a row's prompt is taken to be.

    Raises:
        ValueError: its column says nothing that is known to be a kind.
    """
    if prompt_set.kind is not None:
        return prompt_set.kind
    column = prompt_set.kind_column
    said = cast("Mapping[str, Any]", row).get(column or "") if isinstance(row, Mapping) else None
    known: dict[str, PromptKind] = {**dict(zip(KINDS, KINDS, strict=True)), **prompt_set.kinds}
    if not isinstance(said, str) or said not in known:
        raise ValueError(f"{column} is {said!r}, none of {', '.join(known)}; name it under kinds")
    return known[said]


def _rows(prompt_set: PromptSet, seed: int) -> Iterator[tuple[int, Any]]:
    if prompt_set.file is not None:
        yield from read_rows(prompt_set.file)
    elif prompt_set.dataset is not None:
        yield from read_hub(prompt_set)
    else:
        yield from _microworld(prompt_set, seed)


def _microworld(prompt_set: PromptSet, seed: int) -> Iterator[tuple[int, Any]]:
    from cai.microworld import sample_requests

    kind, limit = prompt_set.kind, prompt_set.limit
    assert kind is not None and limit is not None and prompt_set.microworld is not None
    requests = sample_requests(kind, prompt_set.microworld, limit, seed=seed)
    for number, request in enumerate(requests, 1):
        yield number, [{"role": "user", "content": request.text}]
