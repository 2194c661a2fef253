"""What a row of a data set is, for its card: its columns, and one row as an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

import orjson

from cai.movable import movable
from cai.sources.files import read_rows

COLUMNS: Mapping[str, str] = {
    "messages": "the conversation; its last turn is the reply to learn",
    "prompt": "the conversation that both replies answer",
    "chosen": "the reply that is the better one by its label",
    "rejected": "the other reply",
    "p_chosen": "probability that `chosen` is the better one, from 0.5 to 1",
    "logprob_chosen_first": "the judge's log-probability of `chosen`, placed first; of one vote",
    "logprob_rejected_second": "and of `rejected`, placed second",
    "logprob_chosen_second": "of `chosen`, placed second",
    "logprob_rejected_first": "and of `rejected`, placed first",
    "votes": "all that the judge said, by principle, chain of thought and order of the replies",
    "rating_chosen": "mean rating of `chosen`, from 1 to 10, where replies were rated",
    "rating_rejected": "and of `rejected`",
    "iteration": "of online training, from 0",
    "prompt_id": "hash of the prompt and its source",
    "source": "where the prompt comes from",
    "prompt_source": "where the prompt comes from",
    "kind": "what the prompt is taken to be: harmful, harmless or borderline",
    "origin": "whether the reply is a revision, a helpful reply, or mixed in from elsewhere",
    "round": "round of revision, from 1; 0 for other replies",
    "principle": "the principle that it was made under, by its id",
    "model": "the model that wrote the reply",
    "constitution": "hash of the constitution",
    "template": "hash of the template, or of all of them, that it was made with",
    "sampling": "how the replies were drawn, as JSON",
    "seed": "of the run",
    "calls": "the calls that it was made by, as the run's ledger names them",
    "refusals": "models that declined before another one answered",
    "score": "of the reply, by the preference model",
    "best": "number of the reply among those that were drawn",
    "replies": "all replies that were drawn, with their scores",
    "policy": "what the replies were drawn from",
    "preference_model": "what scored them",
    "input": "what stands before the reply",
    "output": "the reply to learn",
    "system": "the system turn; empty without one",
    "init_prompt": "the question",
    "init_response": "the answer before the revision",
    "critic_prompt": "the request for a critique",
    "critic_response": "the critique",
    "revision_prompt": "the request for a revision",
    "revision_response": "the revision",
}
"""What the columns of a run's data sets and of its exports hold."""

OF_PAIRS = {
    "messages": "the conversation that both replies answer",
    "source": "who labelled the pair: ai, human, a baseline, or what it was mixed from",
    "principle": "the principle that it was judged under, by its id",
    "model": "the model that judged it",
}
OF_WHOLE_PAIRS = {
    "chosen": "the conversation with the reply that is the better one by its label",
    "rejected": "the conversation with the other reply",
}
OF_REVISIONS = {
    "prompt": "the question",
    "messages": "the question and the revision",
    "chosen": "the question and the revision",
    "rejected": "the question and the first answer",
}
"""As of `cai.export.llm_swarm`."""

NAMING = ("model", "source", "prompt_source", "refusals", "policy", "preference_model")
"""Columns that may name folders and servers, in rows of earlier versions."""

LONGEST_TEXT, LONGEST_LIST = 300, 6
"""Of an example, in characters and parts."""

LOOKED_THROUGH = 1000
"""Rows among which an example is looked for."""

Row = Mapping[str, Any]


def example_row(file: Path) -> Row:
    """A row of a file that has some, as others may see it: the first one that a model has made.

    What was mixed in says nothing of how the others came about.
    """
    begun = [cast("Row", row) for _, row in islice(read_rows(file), LOOKED_THROUGH)]
    row = next((one for one in begun if one.get("model")), begun[0])
    return {name: movable(part) if name in NAMING else part for name, part in row.items()}


def is_of_pairs(row: Row) -> bool:
    """Whether a data set has pairs to prefer by."""
    return "chosen" in row and "rejected" in row


def row_lines(rows: Mapping[str, Row]) -> Iterator[str]:
    """The Markdown of columns and examples.

    Args:
        rows: one of each data set, by its name.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, row in rows.items():
        alike.setdefault(tuple(row), []).append(name)
    for columns, names in alike.items():
        of = f" of {', '.join(names)}" if len(rows) > 1 else ""
        meanings = _meanings(columns)
        yield from ("", f"## Columns{of}", "")
        yield from (f"- `{name}`: {meanings.get(name, '')}".rstrip(": ") for name in columns)
    for name, row in rows.items():
        yield from _example(f" of {name}" if len(rows) > 1 else "", row)


def _meanings(columns: tuple[str, ...]) -> Mapping[str, str]:
    if "critic_prompt" in columns:
        return {**COLUMNS, **OF_REVISIONS}
    if "rejected" not in columns:
        return COLUMNS
    is_whole = not {"prompt", "messages", "input"} & {*columns}
    return {**COLUMNS, **OF_PAIRS, **(OF_WHOLE_PAIRS if is_whole else {})}


def _example(of: str, row: Row) -> Iterator[str]:
    """A row as JSON, folded: it may be one that nobody wants to meet unasked."""
    written = orjson.dumps(_short(row), option=orjson.OPT_INDENT_2).decode()
    yield from ("", f"## Example{of}", "")
    yield from ("<details><summary>One row; it may be harmful. Long texts are cut.</summary>", "")
    # Four spaces: whatever is in it is shown as it is.
    yield from (f"    {line}" for line in written.splitlines())
    yield from ("", "</details>")


def _short(value: Any) -> Any:
    """A value with long texts and lists cut, and a word on how much is left out."""
    if isinstance(value, str):
        more = len(value) - LONGEST_TEXT
        return f"{value[:LONGEST_TEXT]}… [{more:,} more characters]" if more > 0 else value
    if isinstance(value, Mapping):
        return {name: _short(part) for name, part in cast("Row", value).items()}
    if isinstance(value, list):
        parts = cast("list[Any]", value)
        more = len(parts) - LONGEST_LIST
        short = [_short(part) for part in parts[:LONGEST_LIST]]
        return [*short, f"… [{more:,} more]"] if more > 0 else short
    return value
