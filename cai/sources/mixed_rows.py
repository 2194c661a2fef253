"""Rows of other people's data to be mixed in: conversations to imitate, and judged pairs.

They are read as the trainers read them: `messages`, or `prompt` with `completion` or `chosen`;
`prompt`, `chosen` and `rejected`, with `p_chosen` where a label is a probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar, cast

from cai.mix_settings import MixedSource, MixSettings
from cai.records import Comparison, Prompt
from cai.sources.files import BrokenLine, read_rows
from cai.sources.hub import read_hub
from cai.sources.pairs import judged_pair
from cai.sources.prompt_sets import Unreadable
from cai.sources.transcripts import as_prompt, to_messages, with_reply

Read = TypeVar("Read")

REPLIES = ("completion", "chosen")
"""Columns of the reply to learn, where there is no column `messages`."""


@dataclass(frozen=True)
class Conversation:
    """A prompt with the reply to learn."""

    prompt: Prompt
    reply: str


def read_conversations(source: MixedSource) -> Iterator[Conversation | Unreadable]:
    """Stream the conversations of a file or data set; other rows come with their reason.

    Raises:
        InputError: it is not there, or is no file of rows.
    """
    return _read(source, conversation_of)


def read_labelled_pairs(source: MixedSource) -> Iterator[Comparison | Unreadable]:
    """Stream the pairs of a file or data set, `chosen` first; other rows come with their reason.

    Raises:
        InputError: it is not there, or is no file of rows.
    """
    return _read(source, labelled_pair)


def mixed_prompts(mix: MixSettings) -> Iterator[Prompt]:
    """The prompts of all files and data sets of a mix, as far as their rows can be read."""
    for source in mix.sft:
        for one in read_conversations(source) if source.origin is None else ():
            if isinstance(one, Conversation):
                yield one.prompt
    for source in mix.preferences:
        for pair in read_labelled_pairs(source) if source.origin is None else ():
            if isinstance(pair, Comparison):
                yield pair.prompt


def _read(
    source: MixedSource, of_row: Callable[[Any, str, str], Read]
) -> Iterator[Read | Unreadable]:
    title = source.title
    rows = read_hub(source) if source.file is None else read_rows(source.file, over_broken=True)
    for number, row in islice(rows, source.limit):
        if isinstance(row, BrokenLine):
            yield Unreadable(title, number, row.reason)
            continue
        try:
            yield of_row(row, title, source.kind)
        except ValueError as error:
            yield Unreadable(title, number, str(error))


def conversation_of(row: Any, source: str, kind: str) -> Conversation:
    """The conversation of a row.

    Args:
        row: of a file.
        source: what the rows are called.
        kind: what their prompts are taken to be.

    Raises:
        ValueError: it is none that ends with a reply to somebody; says why.
    """
    fields = _fields(row)
    column = next((name for name in REPLIES if name in fields), None)
    if "messages" in fields:
        turns = to_messages(fields["messages"])
    elif "prompt" in fields and column is not None:
        turns = with_reply(to_messages(fields["prompt"]), fields[column])
    else:
        raise ValueError("has neither messages, nor prompt with completion or chosen")
    if not turns or turns[-1].role != "assistant":
        raise ValueError("does not end with a turn of the assistant")
    asked = as_prompt(turns[:-1])
    if len(asked) < len(turns) - 1:
        raise ValueError("ends with two turns of the assistant")
    if not turns[-1].content.strip():
        raise ValueError("ends with a blank reply")
    return Conversation(Prompt(asked, source, kind), turns[-1].content)


def labelled_pair(row: Any, source: str, kind: str) -> Comparison:
    """The pair of a row, with its `p_chosen` if it has one; without, `chosen` has won.

    Args:
        row: of a file; so too the others, as of `conversation_of`.
        source: what the rows are called.
        kind: what their prompts are taken to be.

    Raises:
        ValueError: it is no pair, or its label no probability; says why.
    """
    pair = judged_pair(row, source, kind)
    p_chosen = _fields(row).get("p_chosen")
    label = 1.0 if p_chosen is None else p_chosen
    if not isinstance(label, int | float) or isinstance(label, bool) or not 0 <= label <= 1:
        raise ValueError("has a p_chosen that is no probability, from 0 to 1")
    return replace(pair, p_a=float(label), source=source)


def _fields(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise ValueError("is no object with named fields")
    return cast("Mapping[str, Any]", row)
