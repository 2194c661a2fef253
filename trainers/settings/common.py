"""What every training is told, and every one that goes through its rows in epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from cai.validation import Entry
from trainers.presets import Preset, with_preset

Scheduler = Literal["constant", "linear", "cosine"]
Attention = Literal["sdpa", "flash_attention_2", "eager"]


class TrainingSettings(Entry):
    """What every training has. All its numbers are of the whole step, over all processes."""

    learning_rate: float = Field(gt=0, description="Highest learning rate, of AdamW.")
    scheduler: Scheduler = Field(
        default="constant",
        description="How the learning rate goes on after warmup (constant: Bai et al. 2022, §3.2).",
    )
    warmup: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps in which it rises from 0."
    )
    gradient_accumulation: int = Field(
        default=1, ge=1, description="Parts that a step's batch is computed in, to save memory."
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations again in the backward pass: slower, in less memory.",
    )
    attention: Attention | None = Field(
        default=None,
        description="How attention is computed; without it sdpa, where the model has it. "
        "flash_attention_2 needs a GPU and the package flash-attn.",
    )
    # The run's seed is added to it, and numpy's end at 2**32.
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Of new weights, order of rows and sampling."
    )
    save_every: int = Field(default=200, ge=1, description="Steps from checkpoint to checkpoint.")

    def part(self, rows: int, processes: int) -> int:
        """Rows of one part of a step on one process.

        Args:
            rows: rows of the whole step.
            processes: how many share it.

        Raises:
            ValueError: the rows cannot be shared out evenly.
        """
        parts = self.gradient_accumulation * processes
        if rows % parts:
            raise ValueError(
                f"{rows} rows a step cannot be shared out evenly over {processes} process(es) × "
                f"gradient_accumulation {self.gradient_accumulation}; change one of them"
            )
        return rows // parts


class LoraSettings(Entry):
    """LoRA (Hu et al. 2021): small matrices beside the base's learn, the base stays as it is."""

    rank: int = Field(default=16, ge=1, description="Of the matrices that learn.")
    alpha: float = Field(
        default=32.0, gt=0, description="What they learn counts alpha / rank times."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Of what they read.")
    modules: Literal["all-linear"] | tuple[str, ...] = Field(
        default="all-linear",
        description="Names of the layers that get them; all-linear: all but the head.",
    )
    quantization: Literal["4bit"] | None = Field(
        default=None,
        description="Round the base to 4 bits while it learns (QLoRA, Dettmers et al. 2023).",
    )
    merge: bool = Field(
        default=True,
        description="Put what was learned into the base's weights; false: write it as an adapter.",
    )


class EpochSettings(TrainingSettings):
    """A training that goes through its rows in epochs."""

    presets: ClassVar[Mapping[str, Preset]] = {}

    epochs: float = Field(default=1.0, gt=0, description="Times that each row is seen.")
    max_steps: int | None = Field(default=None, ge=1, description="Stop after so many steps.")
    batch_size: int = Field(default=32, ge=1, description="Rows per optimizer step.")
    max_length: int = Field(default=1024, ge=2, description="Longest conversation, in tokens.")
    optimizer: Literal["adamw", "adafactor"] = Field(
        default="adamw", description="adafactor: at a fixed rate, as Lee et al. (2023), App. G."
    )
    lora: LoraSettings | None = Field(
        default=None, description="Train a LoRA; without it all weights learn."
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return with_preset(cast("dict[str, Any]", given), cls.presets)

    @model_validator(mode="after")
    def _even_parts(self) -> Self:
        self.part(self.batch_size, processes=1)
        return self
