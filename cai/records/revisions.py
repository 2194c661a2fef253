"""A reply, and what became of it by critique and revision (Bai et al. 2022, §3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from cai.records.answers import Refusal
from cai.records.prompts import Prompt


@dataclass(frozen=True)
class Response:
    """One sampled reply to a prompt; `sample` tells replies to the same prompt apart."""

    prompt: Prompt
    text: str
    sample: int
    model: str
    call: str
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Revision:
    """One critique and rewrite (Bai et al. 2022, §3.1); `critique` is None if it was skipped."""

    round: int
    principle: str
    critique: str | None
    text: str
    model: str
    calls: tuple[str, ...]
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class RevisionTrace:
    """A first response and all rounds that followed it; round 0 is the response itself."""

    response: Response
    revisions: tuple[Revision, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The response, then each revision."""
        return (self.response.text, *(revision.text for revision in self.revisions))
