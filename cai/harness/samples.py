"""Prompts as another harness wants them: each once, with a reference reply where one is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cai.errors import CaiError, Fault, InputError
from cai.recipe import Recipe
from cai.records import Prompt
from cai.sources import Unreadable, read_prompts
from cai.sources.files import read_rows, value_of
from cai.sources.prompt_sets import PromptKind
from cai.sources.seen import Seen
from cai.sources.transcripts import as_prompt, to_messages


@dataclass(frozen=True)
class PromptFile:
    """A file of prompts.

    Args:
        path: .txt, .json, .jsonl, .csv or .parquet.
        kind: what the prompts are taken to be.
        column: which column holds the prompt; None for the first usual name.
        reference: which column holds the reply to compare with; None if there is none.
    """

    path: Path
    kind: PromptKind
    column: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class AskedPrompt:
    """A prompt, and the reply that others are compared with; empty if there is none."""

    prompt: Prompt
    reference: str = ""


@dataclass(frozen=True)
class AskedPrompts:
    """What a policy is asked.

    Args:
        prompts: each once, in the order of their source.
        left_out: rows that are no prompts, or repeated ones, by source and reason.
    """

    prompts: Sequence[AskedPrompt]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


def asked_prompts(recipe: Recipe, file: PromptFile | None) -> AskedPrompts:
    """The prompts of a file, or the evaluation prompts of the recipe.

    Raises:
        CaiError: the file is not there, is broken or lacks a column; or there is no prompt.
    """
    left_out, prompts = Counter[str](), list[AskedPrompt]()
    with Seen() as seen:
        for one in _evaluation_prompts(recipe) if file is None else _of_file(file):
            if isinstance(one, Unreadable):
                left_out[f"{one.source}: {one.reason}"] += 1
            elif not seen.add(one.prompt.text_hash):
                left_out[f"{one.prompt.source}: is a repeated prompt"] += 1
            else:
                prompts.append(one)
    if not prompts:
        source = file.path if file else "prompts.evaluation of the recipe"
        raise CaiError(f"{source} has no prompt; name a file with some")
    return AskedPrompts(prompts, dict(left_out))


def _evaluation_prompts(recipe: Recipe) -> Iterator[AskedPrompt | Unreadable]:
    for prompt_set in recipe.prompts.evaluation:
        for prompt in read_prompts(prompt_set, recipe.seed):
            yield prompt if isinstance(prompt, Unreadable) else AskedPrompt(prompt)


def _of_file(file: PromptFile) -> Iterator[AskedPrompt | Unreadable]:
    for number, row in read_rows(file.path):
        try:
            messages = as_prompt(to_messages(value_of(file.path, number, row, file.column)))
        except ValueError as error:
            yield Unreadable(file.path.name, number, str(error))
        else:
            reference = _reference(file, number, row)
            yield AskedPrompt(Prompt(messages, file.path.name, file.kind), reference)


def _reference(file: PromptFile, number: int, row: Any) -> str:
    if file.reference is None:
        return ""
    value = value_of(file.path, number, row, file.reference)
    if not isinstance(row, Mapping) or not isinstance(value, str) or not value.strip():
        fault = Fault("has no reply to compare with; give a text", f"row {number}.{file.reference}")
        raise InputError(file.path, [fault])
    return value
