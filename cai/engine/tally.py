"""What a run has asked of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cai.records import Usage


@dataclass
class ModelTally:
    """Calls of one model: `made` were paid for now, `cached` came from a ledger.

    Tokens are those of calls made; `retries` counts tries after the first.
    """

    made: int = 0
    cached: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def note_made(self, usage: Usage) -> None:
        """Count a call that was answered now."""
        self.made += 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens


@dataclass
class Tally:
    """The calls of a run, by the identity of the model asked."""

    models: dict[str, ModelTally] = field(default_factory=dict[str, ModelTally])

    def of(self, model: str) -> ModelTally:
        """The counts of one model, to be added to."""
        return self.models.setdefault(model, ModelTally())

    @property
    def total(self) -> ModelTally:
        """All models together, at this moment."""
        total = ModelTally()
        for one in self.models.values():
            for name, number in asdict(one).items():
                setattr(total, name, getattr(total, name) + number)
        return total

    def to_json(self) -> Mapping[str, Any]:
        """Counts of all models together, and of each under ``models``."""
        each = {name: asdict(counts) for name, counts in sorted(self.models.items())}
        return {**asdict(self.total), "models": each}
