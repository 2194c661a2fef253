"""Conversations to learn the replies of, as SFT and context distillation read them.

Rows of the run's own data set have turns. Those of other tools may have a prompt and its reply, or
a pair of replies, of which the chosen one is learned.
"""

from __future__ import annotations

from trainers.pairs import reply_after
from trainers.rows import Row, checked_turns, turns_of

COLUMNS = ("messages",)
REPLIES = ("completion", "chosen")
OTHERS = tuple(("prompt", reply) for reply in REPLIES)
"""Columns that other tools have in place of `messages`; of a pair, the chosen reply is learned."""

READ = (*COLUMNS, "prompt", *REPLIES)
"""All columns that `conversation_of` reads, of those that there are."""


def conversation_of(row: Row) -> list[dict[str, str]]:
    """The turns of a row; of one with other columns, the prompt's and those of its reply.

    Args:
        row: with `COLUMNS`, or some of `OTHERS`; turns win over a prompt beside them.

    Raises:
        BadRow: they are no conversation that ends with a reply.
    """
    column = next((name for name in REPLIES if name in row), None)
    if "messages" in row or column is None:
        return checked_turns(row["messages"], "messages", "assistant")
    prompt = turns_of(row["prompt"], "prompt", "user")
    return [*prompt, *reply_after(prompt, row[column], column)]
