"""What a revision changed, word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

LEAST_KEPT = 0.25
"""A text that keeps less of the other is shown whole: a patchwork of single words says nothing."""

Change = Literal["kept", "removed", "added"]


class Piece(NamedTuple):
    """Some neighbouring words and spaces that share one fate."""

    change: Change
    text: str


def word_diff(before: str, after: str) -> list[Piece] | None:
    """From one text to the next, in the order of reading; removed words stand before added ones.

    Returns:
        Pieces that give `before` without the added ones, and `after` without the removed ones; None
        if both have too few words in common.
    """
    was, now = _words(before), _words(after)
    # Long texts are matched by their rarer words: one word repeated would take minutes otherwise.
    matcher = difflib.SequenceMatcher(None, was, now)
    pieces = list(_pieces(matcher, was, now))
    if before != after and _kept(pieces) < LEAST_KEPT:
        return None
    runs = _runs(pieces)
    groups = (groupby(run, key=_change) for run in runs)
    return [
        Piece(change, "".join(one.text for one in g)) for group in groups for change, g in group
    ]


def _change(piece: Piece) -> Change:
    return piece.change


def _kept(pieces: Sequence[Piece]) -> float:
    """Share of the words of both texts that are the same; spaces are no words."""
    words = [(one.change, len(one.text.split())) for one in pieces]
    kept = 2 * sum(n for change, n in words if change == "kept")
    changed = sum(n for change, n in words if change != "kept")
    return kept / (kept + changed) if kept + changed else 1.0


def _words(text: str) -> list[str]:
    return re.findall(r"\s+|[^\s]+", text)


def _pieces(
    matcher: difflib.SequenceMatcher[str], was: Sequence[str], now: Sequence[str]
) -> Iterator[Piece]:
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            yield Piece("kept", "".join(was[a:b]))
            continue
        if a < b:
            yield Piece("removed", "".join(was[a:b]))
        if c < d:
            yield Piece("added", "".join(now[c:d]))


def _runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Changes that only a space parts become one: first all that was removed, then all added."""
    pending: list[Piece] = []
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1
        if piece.change == "kept" and (piece.text.strip() or last or not pending):
            yield _sorted(pending)
            yield [piece]
            pending = []
        elif piece.change == "kept":
            pending += [Piece("removed", piece.text), Piece("added", piece.text)]
        else:
            pending.append(piece)
    yield _sorted(pending)


def _sorted(pieces: Sequence[Piece]) -> list[Piece]:
    return sorted(pieces, key=lambda one: one.change == "added")
