"""RLOO and GRPO through TRL: each reply is measured against the others to its prompt.

RLOO (Ahmadian et al. 2024) subtracts the mean reward of the others, with the KL's price in the
reward, as RLHF and CAI have it. GRPO (Shao et al. 2024) subtracts the mean of all and divides by
their deviation, with the KL in the loss. A constant in the score changes nothing in either. A
reply without a reward is none of the others, and has no advantage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from trainers.adapters import lora_options, whole_model
from trainers.fit import Report
from trainers.reply_figures import reply_figures
from trainers.reward import Reward
from trainers.settings import RlSettings
from trainers.snapshots import kept_on_the_way
from trainers.tokens import Conversation, load_tokenizer
from trainers.trl_loop import TrlLoop, arguments
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from transformers import Trainer

OURS = "ours/"
"""Begins the names of figures that TRL logs for us."""

CLIPPED = "clip_ratio/region_mean"
"""What TRL calls the share that is clipped: of RLOO's replies, of GRPO's tokens."""


def grouped_loop(
    policy: str,
    reward: Reward,
    prompts: Sequence[Conversation],
    settings: RlSettings,
    work: WorkFolder,
) -> GroupedLoop:
    """Load the models of RLOO or GRPO.

    Args:
        policy: a folder, an adapter's too, or a name on the hub.
        reward: says what replies are worth.
        prompts: those of all rollout batches, in their order.
        settings: the recipe's section ``rl``.
        work: where checkpoints go.
    """
    from datasets import Dataset

    common = arguments(settings, work, settings.prompts_per_step * settings.generations)
    common |= {
        "save_steps": settings.save_every * settings.passes,
        "max_steps": settings.steps * settings.passes,
        "num_generations": settings.generations,
        "num_iterations": settings.passes,
        "beta": settings.beta,
        "epsilon": settings.clip,
        "max_completion_length": settings.max_completion_length,
        "temperature": settings.temperature,
        "shuffle_dataset": False,
        "disable_dropout": True,
        "chat_template_kwargs": {"sanitize_control_tokens": True},
    }
    tokenizer = load_tokenizer(policy)
    tokenizer.padding_side = "left"
    dataset = Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    options = {
        "reward_funcs": _scorer(reward),
        "train_dataset": dataset,
        "processing_class": tokenizer,
        **lora_options(settings.lora, policy, "CAUSAL_LM"),
    }
    make = _rloo if settings.algorithm == "rloo" else _grpo
    trainer = make(whole_model(policy, work.path / "base"), common, options)
    kept = kept_on_the_way(settings, work)
    return GroupedLoop(trainer, work, {step * settings.passes: kept[step] for step in kept})


class GroupedLoop(TrlLoop):
    """TRL's trainer, with one entry of the log for all passes over a rollout batch."""

    def train(self, checkpoint: Path | None, report: Report | None) -> Sequence[Mapping[str, Any]]:
        """As `trainers.fit.Loop`."""
        return of_batches(super().train(checkpoint, report))


def of_batches(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What was logged of each rollout batch; of its passes, the mean loss and share clipped.

    In the first pass alone, whose entry has the reward, no ratio of probabilities is other than 1.

    Args:
        history: TRL's log, an entry for each optimizer step.
    """
    batches: list[list[Mapping[str, Any]]] = []
    for entry in history:
        if "reward" in entry:
            batches.append([entry])
        elif "loss" in entry:
            batches[-1].append(entry)
    learned = ("loss", CLIPPED)
    return [
        {**passes[0], **{name: fmean(one[name] for one in passes) for name in learned}}
        for passes in batches
    ]


def log_figures(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The log's figures of a rollout batch.

    Args:
        entry: as of `of_batches`.
    """
    length = entry["completions/mean_length"]
    # TRL gives nats per token of the batch; per reply it is what the reward pays for.
    kl = entry["kl"] * length if "kl" in entry else None
    return {
        "step": entry["step"],
        "reward": entry["reward"],
        "reward_std": entry["reward_std"],
        "kl": kl,
        "sqrt_kl": None if kl is None else max(kl, 0.0) ** 0.5,
        "entropy": entry["entropy"],
        "length": length,
        "cut_off": entry["completions/clipped_ratio"],
        **{
            name.removeprefix(OURS): value for name, value in entry.items() if name.startswith(OURS)
        },
        "clipped": entry[CLIPPED],
        "loss": entry["loss"],
    }


def _scorer(reward: Reward) -> Callable[..., list[float | None]]:
    def reward_of_reply(
        prompts: Sequence[list[Any]],
        completions: Sequence[list[Any]],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float | None]:
        pairs = zip(prompts, completions, strict=True)
        conversations = [[*prompt, *completion] for prompt, completion in pairs]
        paid = reward.pay(conversations)
        for name, value in {**paid.figures, **reply_figures(conversations)}.items():
            log_metric(OURS + name, value)
        return paid.rewards

    return reward_of_reply


def _rloo(policy: str, common: Mapping[str, Any], options: Mapping[str, Any]) -> Trainer:
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer

    return RLOOTrainer(policy, args=RLOOConfig(**common), **options)


def _grpo(policy: str, common: Mapping[str, Any], options: Mapping[str, Any]) -> Trainer:
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    config = GRPOConfig(**common, loss_type="grpo", scale_rewards="group")
    return GRPOTrainer(policy, args=config, **options)
