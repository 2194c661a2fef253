"""The one seam to language models: continue a conversation, and weigh given continuations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cai.records import Completion, Message, Sampling, Weighed


class LanguageModel(Protocol):
    """A language model. Many calls may be in flight at once.

    Messages that end with an assistant turn ask to go on with that turn (prefill).
    """

    @property
    def identity(self) -> str:
        """What determines the answers: provider, model and endpoint; for local files a digest."""
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply.

        Raises:
            TransientError: a second try may help.
            PermanentError: no call to this model will succeed as configured.
            RejectedRequest: this request cannot be answered (longer than the context).
        """
        ...

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Natural log of p(option | messages) of each option, and how it was had.

        Raises:
            TransientError, PermanentError, RejectedRequest: as in `complete`.
        """
        ...

    async def close(self) -> None:
        """Give back connections, threads and memory."""
        ...
