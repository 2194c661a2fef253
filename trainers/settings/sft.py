"""The section ``sft``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from trainers import presets
from trainers.settings.common import EpochSettings


class SftSettings(EpochSettings):
    """SL-CAI (Bai et al. 2022, §3.2): one epoch at a constant learning rate."""

    presets = presets.SFT

    preset: Literal["cai", "rlaif"] | None = Field(
        default=None, description="A paper's settings; what is given beside it wins."
    )
    pretraining_learning_rate: float | None = Field(
        default=None, gt=0, description="Of the base model; presets' rates may be shares of it."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Highest learning rate.")
    learned: Literal["last_reply", "all_replies"] = Field(
        default="last_reply",
        description="Whose tokens count: the reply that was revised, or every assistant turn.",
    )
    packing: bool = Field(
        default=False,
        description="Fill rows of max_length with several conversations, none of which sees "
        "another; batch_size then counts these rows. Models that let them see each other, and "
        "flash_attention_2, are refused.",
    )
    group_by_length: bool = Field(
        default=False,
        description="Rows of about one length in a step: less padding. Refusals are shorter than "
        "help, so such a step teaches either the one or the other.",
    )

    @model_validator(mode="after")
    def _kept_apart(self) -> Self:
        if self.packing and self.attention == "flash_attention_2":
            # transformers tells packed conversations apart in it where a batch is a single row.
            raise ValueError(
                "packing: true: with flash_attention_2 packed conversations see each other as soon "
                "as a batch has two rows; leave attention out for sdpa, or set packing: false"
            )
        return self
