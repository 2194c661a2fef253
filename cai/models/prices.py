"""What a model's tokens cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from cai.records import Usage

MILLION = 1_000_000


class Prices(BaseModel):
    """Prices in US dollars per million tokens, as the provider's price list has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, description="Dollars per million tokens read.")
    output: float = Field(ge=0, description="Dollars per million tokens written.")

    def cost(self, usage: Usage) -> float:
        """Dollars for the tokens of some calls."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / MILLION
