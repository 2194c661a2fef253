"""The section ``rl``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from cai.validation import Entry
from trainers.settings.common import LoraSettings, TrainingSettings

Algorithm = Literal["rloo", "grpo", "ppo", "reinforce"]

GROUPED: frozenset[Algorithm] = frozenset({"rloo", "grpo"})
"""Those without a value model: the other replies to a prompt say what was to be expected."""

OF_TRL = ("gradient_checkpointing", "attention")
"""Read by TRL's trainers alone."""

UNREAD: Mapping[Algorithm, tuple[str, ...]] = {
    "rloo": ("kl_estimator", "gae_decay", "normalize_advantages", "value_learning_rate"),
    "grpo": ("kl_estimator", "gae_decay", "normalize_advantages", "value_learning_rate"),
    "ppo": OF_TRL,
    "reinforce": ("passes", "clip", "gae_decay", "normalize_advantages", *OF_TRL),
}
"""Settings that an algorithm has no use for; another value than the default is refused."""


SCALED = ("subtract_mean", "divide_by_spread")
"""Settings that say what becomes of the preference model's score alone."""


class RewardSettings(Entry):
    """What a reply is paid for: a weighted sum of what is named; what is not, counts nothing."""

    preference_model: float = Field(
        default=0.0, ge=0, description="Weight of the preference model's score."
    )
    rating: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the judge's rating, in [-1, 1]: direct RLAIF (Lee et al. 2023, "
        "§2.2.2).",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.preference_model or self.rating):
            raise ValueError("nothing is paid for; give preference_model or rating a weight")
        return self


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
    reward: RewardSettings = Field(
        default=RewardSettings(preference_model=1.0),
        description="What a reply is paid for; without the preference model none is trained.",
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
        description="Price of a nat of KL from the SFT model: in the reward, on the score's "
        "scale; for grpo in the loss, beside advantages that are divided by their deviation, so "
        "that it is β of these deviations. For reinforce the score counts 1 − β (Lee et al. 2023, "
        "A.3). At 0 rloo and grpo measure no KL.",
    )
    snapshots: int | None = Field(
        default=None,
        ge=1,
        description="Policies that are kept, evenly spaced over the steps, the last among them; "
        "earlier ones lie in its folder, snapshots/step-N (HH-RLHF, §4.5). None: 3 if the recipe "
        "has iterations, else 1.",
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
        default=0.2,
        gt=0,
        description="ε of the clipped objective (HH-RLHF, §4.1), of the ratio of each token's "
        "probability; for rloo of the whole reply's, so that from the second pass on the same ε "
        "is far tighter; not reinforce.",
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
    lora: LoraSettings | None = Field(
        default=None, description="Train a LoRA; without it all weights learn."
    )

    @property
    def logs_kl(self) -> bool:
        """Whether the log has the KL; at no price, TRL loads no model to measure it from."""
        return self.beta > 0 or self.algorithm not in GROUPED

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
        self._refuse_others(self.algorithm, UNREAD[self.algorithm])
        return self

    @model_validator(mode="after")
    def _read_by_the_reward(self) -> Self:
        if not self.reward.preference_model:
            self._refuse_others("a reward without the preference model", SCALED)
        return self

    @model_validator(mode="after")
    def _no_dropout(self) -> Self:
        if self.lora is not None and self.lora.dropout:
            raise ValueError(
                "rl draws and weighs replies with all of the model, so it has no dropout; leave "
                "lora.dropout out"
            )
        return self

    def _refuse_others(self, reader: str, names: Sequence[str]) -> None:
        """Refuse other values than the defaults of settings that are not read."""
        defaults = type(self).model_fields
        unread = [name for name in names if getattr(self, name) != defaults[name].default]
        if unread:
            raise ValueError(f"{reader} does not read {', '.join(unread)}; leave it out")
