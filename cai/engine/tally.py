"""What a run has asked of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cai.models.prices import Prices
from cai.records import Usage


@dataclass
class ModelTally:
    """Calls of one model: `made` were paid for now, `cached` came from a ledger.

    Tokens and cost are those of calls made; `retries` counts tries after the first. The cost in
    dollars is None once a call was made at an unknown price.
    """

    made: int = 0
    cached: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0

    def note_made(self, usage: Usage, prices: Prices | None = None) -> None:
        """Count a call that was answered now."""
        self.made += 1
        if self.cost is not None:
            self.cost = None if prices is None else self.cost + prices.cost(usage)
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
                so_far: float | None = getattr(total, name)
                summed = None if so_far is None or number is None else so_far + number
                setattr(total, name, summed)
        return total

    def to_json(self) -> Mapping[str, Any]:
        """Counts of all models together, and of each under ``models``."""
        each = {name: asdict(counts) for name, counts in sorted(self.models.items())}
        return {**asdict(self.total), "models": each}
