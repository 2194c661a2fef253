"""Finds the beginning that requests have in common: the few-shot examples of a template.

A provider that caches prompts has to be told up to where. The templates do not say it; the
requests show it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from cai.records import Message

SEEN = 3
"""Requests after which a beginning counts as shared: writing it to a cache costs a quarter more
than reading it plainly, so one that comes back but once would cost more than it saves."""

SHORTEST = 1500
"""Bytes of text under which no beginning is worth a mark: no provider caches less than 512
tokens."""

REMEMBERED = 8192
"""Beginnings kept in mind, the latest; of each, a hash and a number."""


class SharedPrefixes:
    """Remembers what requests began with; used from one event loop."""

    def __init__(self) -> None:
        """Begin with none seen."""
        self._times: OrderedDict[bytes, int] = OrderedDict()

    def shared(self, messages: Sequence[Message]) -> int:
        """How many leading messages at least `SEEN` earlier, different requests had too.

        The last message is never among them. Notes the request as well; one that was noted before
        (another sample of the same) counts once.

        Returns:
            0 if there are none, or their text is shorter than `SHORTEST`.
        """
        keys, sizes = _beginnings(messages)
        counts = [self._times.get(key, 0) for key in keys]
        if not counts[-1]:
            for key, count in zip(keys, counts, strict=True):
                self._times[key] = count + 1
                self._times.move_to_end(key)
            while len(self._times) > REMEMBERED:
                self._times.popitem(last=False)
        long_enough = [
            number
            for number, (count, size) in enumerate(zip(counts, sizes, strict=True), start=1)
            if count >= SEEN and size >= SHORTEST and number < len(messages)
        ]
        return max(long_enough, default=0)


def _beginnings(messages: Sequence[Message]) -> tuple[list[bytes], list[int]]:
    """Of each beginning, from one message to all: a hash of it, and the bytes of its text."""
    running = hashlib.sha256()
    keys: list[bytes] = []
    sizes: list[int] = []
    for message in messages:
        text = message.content.encode("utf-8", "surrogatepass")
        running.update(f"{message.role}:{len(text)}:".encode())
        running.update(text)
        keys.append(running.digest())
        sizes.append(len(text) + (sizes[-1] if sizes else 0))
    return keys, sizes
