"""How one output of one stage is named, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

RowStatus = Literal["ok", "refused", "unparsed", "truncated", "error", "filtered"]

BY_FALLBACK = "the model declined, and the fallback answered"
"""The reason of a row that is there only because another model was asked."""


@dataclass(frozen=True)
class RowKey:
    """Names one output of one stage; two rows with the same key are the same row."""

    stage: str
    prompt_id: str
    round: int = 0
    sample: int = 0
    iteration: int = 0


@dataclass(frozen=True)
class Row:
    """How one row ended: its status, its record as JSON data, and the reason.

    An "ok" row has a reason only if the fallback answered: `BY_FALLBACK`.
    """

    key: RowKey
    status: RowStatus
    reason: str = ""
    record: Mapping[str, Any] | None = None
    calls: Sequence[str] = ()

    @property
    def by_fallback(self) -> bool:
        """Whether the row is there only because the fallback answered."""
        return self.status == "ok" and self.reason == BY_FALLBACK
