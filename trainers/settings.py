"""What a recipe says about training: the sections ``sft``, ``preference_model``, ``dpo``, ``rl``.

The papers' learning rates are fractions of their own pretraining's; the defaults here are meant
for models of about a million parameters. For models of billions, divide them by about a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from cai.validation import Entry
from trainers import presets
from trainers.presets import Preset, with_preset

Scheduler = Literal["constant", "linear", "cosine"]
Algorithm = Literal["rloo", "grpo", "ppo", "reinforce"]

GROUPED: frozenset[Algorithm] = frozenset({"rloo", "grpo"})
"""Those without a value model: the other replies to a prompt say what was to be expected."""

UNREAD: Mapping[Algorithm, tuple[str, ...]] = {
    "rloo": ("kl_estimator", "gae_decay", "normalize_advantages", "value_learning_rate"),
    "grpo": ("kl_estimator", "gae_decay", "normalize_advantages", "value_learning_rate"),
    "ppo": (),
    "reinforce": ("passes", "clip", "gae_decay", "normalize_advantages"),
}
"""Settings that an algorithm has no use for; another value than the default is refused."""


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
    seed: int = Field(default=0, ge=0, description="Of new weights, order of rows and sampling.")
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
        "another; batch_size then counts these rows.",
    )
    group_by_length: bool = Field(
        default=False,
        description="Rows of about one length in a step: less padding. Refusals are shorter than "
        "help, so such a step teaches either the one or the other.",
    )


class PairSettings(EpochSettings):
    """A training of a preference model, on whatever pairs."""

    pretraining_learning_rate: float | None = Field(
        default=None, gt=0, description="Of the base model; presets' rates may be shares of it."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Highest learning rate.")
    over_length: Literal["drop", "truncate"] = Field(
        default="drop",
        description="Pairs longer than max_length: left out, or their prompt cut from the left. "
        "Both are counted.",
    )
    harmless_weight: float = Field(
        default=1.0,
        ge=0,
        description="λ: what pairs of kind harmful (red-team prompts) count for, beside 1 of all "
        "others (HH-RLHF §5.1.2, where 2 to 3 is best).",
    )


class PreferenceModelSettings(PairSettings):
    """Preference model (Bai et al. 2022, §4.1): one epoch, as in HH-RLHF, A.2."""

    presets = presets.PREFERENCE_MODEL

    preset: (
        Literal["cai", "hh_rlhf", "hh_rlhf_online", "rlaif_summaries", "rlaif_dialogue"] | None
    ) = Field(default=None, description="A paper's settings; what is given beside it wins.")


class PreferencePretrainingSettings(PairSettings):
    """Preference-model pretraining: on what people have voted on, before feedback (HH-RLHF, A.2).

    It starts from the base model, and the preference model from what it makes.
    """

    presets = presets.PREFERENCE_PRETRAINING

    votes: Path = Field(
        description="Questions with answers and votes: JSON lines, JSON or Parquet."
    )
    preset: Literal["hh_rlhf"] | None = Field(
        default=None, description="A paper's settings; what is given beside it wins."
    )
    pairs_per_question: int = Field(
        default=1, ge=1, description="Most pairs of answers to one question, of different scores."
    )


class DpoSettings(EpochSettings):
    """DPO (Rafailov et al. 2023) on the soft labels that the preference model learns from."""

    learning_rate: float = Field(default=2e-4, gt=0, description="Highest learning rate, of AdamW.")
    beta: float = Field(
        default=0.1, gt=0, description="How dear it is to leave the SFT model (τ of IPO)."
    )
    loss: Literal["dpo", "ipo"] = Field(
        default="dpo",
        description="ipo: Azar et al. (2023), which sure labels drive to no infinite distance.",
    )


class RlSettings(TrainingSettings):
    """RL-CAI (Bai et al. 2022, §4.2): the preference model's score, less the KL at a price.

    HH-RLHF has a β of 0.001 on a PM of billions of parameters, RLAIF 0.05 (Lee et al. 2023,
    App. G). The default is higher: a PM of a million parameters is fooled within a few nats.
    """

    algorithm: Algorithm = Field(
        default="rloo",
        description="rloo (Ahmadian et al. 2024) and grpo (Shao et al. 2024) measure a reply "
        "against the others to its prompt; ppo (HH-RLHF, §4.1) and reinforce (Lee et al. 2023, "
        "App. F) against a learned value.",
    )
    learning_rate: float = Field(default=5e-4, gt=0, description="Highest learning rate, of AdamW.")
    steps: int = Field(default=40, ge=1, description="Rollout batches.")
    prompts_per_step: int = Field(default=16, ge=1, description="Prompts of one rollout batch.")
    generations: int = Field(default=4, ge=1, description="Replies per prompt.")
    passes: int = Field(
        default=1, ge=1, description="Optimizer steps on each rollout batch (K of HH-RLHF, B.1)."
    )
    beta: float = Field(
        default=0.1,
        ge=0,
        description="Price of a nat of KL from the SFT model: in the reward, or for grpo in the "
        "loss. For reinforce the score counts 1 − β (Lee et al. 2023, A.3).",
    )
    max_completion_length: int = Field(default=64, ge=1, description="Longest reply, in tokens.")
    temperature: float = Field(default=1.0, gt=0, description="Of the sampled replies.")
    subtract_mean: bool = Field(
        default=True,
        description="Subtract the preference model's mean score of held-out replies (HH-RLHF, "
        "B.2); nothing is subtracted where no pairs are held out.",
    )
    divide_by_spread: bool = Field(
        default=False,
        description="Divide by the standard deviation of those scores; it rescales β too.",
    )
    clip: float = Field(
        default=0.2, gt=0, description="ε of the clipped objective (HH-RLHF, §4.1); not reinforce."
    )
    kl_estimator: Literal["k1", "k2", "k3"] = Field(
        default="k1",
        description="Of each token's KL in the reward (Schulman 2020); ppo, reinforce.",
    )
    gae_decay: float = Field(
        default=0.95, ge=0, le=1, description="λ of generalized advantages; ppo. reinforce has 1."
    )
    normalize_advantages: bool = Field(
        default=True, description="To mean 0 and deviation 1 in each rollout batch; ppo."
    )
    value_learning_rate: float | None = Field(
        default=None, gt=0, description="Of the value model; None for the policy's; ppo, reinforce."
    )

    @model_validator(mode="after")
    def _even_parts(self) -> Self:
        self.part(self.prompts_per_step * self.generations, processes=1)
        return self

    @model_validator(mode="after")
    def _read_by_the_algorithm(self) -> Self:
        if self.algorithm in GROUPED and self.generations < 2:
            raise ValueError(
                f"{self.algorithm} measures a reply against others to its prompt: generations must "
                "be 2 or more; or take ppo or reinforce"
            )
        if self.algorithm == "reinforce" and self.beta > 1:
            raise ValueError("reinforce pays the score with 1 − β: beta must not be above 1")
        unread = [
            name
            for name in UNREAD[self.algorithm]
            if getattr(self, name) != type(self).model_fields[name].default
        ]
        if unread:
            raise ValueError(f"{self.algorithm} does not read {', '.join(unread)}; leave it out")
        return self
