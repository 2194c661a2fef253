"""PPO with a learned value, as HH-RLHF has it (Bai et al. 2022b, §4.1, B.1), which CAI took over.

    R = r_PM − β · KL(π ‖ π_SFT),   L = −min(ρ A, clamp(ρ, 1 − ε, 1 + ε) A)

A_t are generalized advantages, K optimizer steps are made on each batch of replies, and there is
no entropy bonus. REINFORCE with a learned baseline, RLAIF's (Lee et al. 2023, App. F), is its
case of one step a batch, no clipping, λ = 1 and advantages as they are, on (1 − β) r − β · KL.
Unlike TRL's former PPO the value starts from the policy with a head of zeros, so that any reward
will do; probabilities are those at the sampling temperature everywhere.

The loop is here, and each of its parts in a file of its own: `trainers.ppo_models` loads what
learns, `trainers.value_model` makes the value model, `trainers.rollouts` draws replies and weighs
them, and `trainers.losses` has the equations.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from cai.errors import RunError
from trainers.environment import of_all_processes, require_whole_models
from trainers.fit import Report
from trainers.losses import (
    clipped_objective,
    generalized_advantages,
    is_clipped,
    kl_estimate,
    normalized,
    token_rewards,
    value_loss,
)
from trainers.ppo_models import load_models
from trainers.reply_figures import reply_figures
from trainers.reward import Reward
from trainers.rollouts import Rollout, Sampler, Weigher
from trainers.settings import RlSettings
from trainers.snapshots import kept_on_the_way, write_snapshot
from trainers.tokens import Conversation
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from torch import Tensor

AT_ONCE = 128
"""Replies drawn in one batch."""

MAX_GRADIENT = 1.0
"""Longest gradient of either model; a longer one is shortened to it, as TRL's trainers do."""

KEPT_CHECKPOINTS = 2


class Rules(NamedTuple):
    """What tells PPO and REINFORCE apart.

    Args:
        score_weight: what the score counts beside β · KL.
        clip: ε; None for no clipping.
        decay: λ of the advantages.
        normalizes: whether advantages are brought to mean 0 and deviation 1.
    """

    score_weight: float
    clip: float | None
    decay: float
    normalizes: bool


def rules_of(settings: RlSettings) -> Rules:
    """What the settings' algorithm goes by."""
    if settings.algorithm == "reinforce":
        return Rules(1 - settings.beta, None, 1.0, False)
    return Rules(1.0, settings.clip, settings.gae_decay, settings.normalize_advantages)


@dataclass(frozen=True)
class Experience:
    """A batch of replies and what there is to learn from it; all that teaches nothing is 0.

    Args:
        rollouts: shortest conversation first.
        logprobs_B_T: by the policy that drew them.
        advantages_B_T: of each token.
        returns_B_T: rewards that were still to come.
        mask_B_T: 1 for tokens of a reply that has a reward.
        tokens: how many these are, the mean of all processes.
        figures: for the log.
    """

    rollouts: Sequence[Rollout]
    logprobs_B_T: Tensor
    advantages_B_T: Tensor
    returns_B_T: Tensor
    mask_B_T: Tensor
    tokens: Tensor
    figures: Mapping[str, float]


class PpoLoop:
    """Owns the models of a training, and rolls out and learns in turns.

    Args:
        policy: a folder, an adapter's too, or a name on the hub.
        tokenizer: as of `load_tokenizer`.
        reward: says what replies are worth.
        prompts: those of all rollout batches in their order, each as often as it is answered.
        settings: the recipe's section ``rl``.
        work: where checkpoints go.
    """

    def __init__(
        self,
        policy: str,
        tokenizer: Any,
        reward: Reward,
        prompts: Sequence[Conversation],
        settings: RlSettings,
        work: WorkFolder,
    ) -> None:
        """Load the models.

        Raises:
            RunError: the policy has no value model, its adapter cannot bear another, or the
                processes cannot share out rows.
        """
        import torch
        from accelerate import Accelerator

        require_whole_models(f"rl.algorithm {settings.algorithm}", "rloo or grpo")
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self._accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no")
        self._settings, self._rules, self._work = settings, rules_of(settings), work
        self._reward, self._prompts, self._tokenizer = reward, prompts, tokenizer
        self._rows = settings.prompts_per_step * settings.generations
        try:
            self._part = settings.part(self._rows, self._accelerator.num_processes)
        except ValueError as error:
            raise RunError(str(error)) from error
        device = self._accelerator.device
        longest, pad = settings.max_completion_length, tokenizer.pad_token_id
        self._sampler = Sampler(tokenizer, settings.temperature, longest, AT_ONCE, device)
        self._weigher = Weigher(pad, settings.temperature, longest, self._part, device)
        self._models = load_models(policy, settings, self._accelerator, work.path / "base")
        self._history: list[Mapping[str, Any]] = []

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return len(self._history) * self._settings.passes

    def train(self, checkpoint: Path | None, report: Report | None) -> Sequence[Mapping[str, Any]]:
        """As `trainers.fit.Loop`."""
        if checkpoint is not None:
            self._accelerator.load_state(str(checkpoint))
            lines = (checkpoint / "history.jsonl").read_bytes().splitlines()
            self._history = [orjson.loads(line) for line in lines]
        settings, kept = self._settings, kept_on_the_way(self._settings, self._work)
        for step in range(len(self._history) + 1, settings.steps + 1):
            experience = self._roll_out(step)
            learned = self._learn(experience)
            rate = self._models.scheduler.get_last_lr()[0]
            figures = self._mean({**experience.figures, **learned})
            figures["sqrt_kl"] = max(figures["kl"], 0.0) ** 0.5
            self._history.append({"step": step, **figures, "learning_rate": rate})
            if report is not None:
                report(step, settings.steps, figures["loss"])
            if step in kept:
                write_snapshot(kept[step], self.save)
            if step % settings.save_every == 0:
                self._save_checkpoint(step)
        return self._history

    def save(self, folder: Path) -> None:
        """Write the policy and its tokenizer; the value model has served."""
        if self._accelerator.is_main_process:
            self._models.bare_policy.save_pretrained(folder)
            self._tokenizer.save_pretrained(folder)

    def _roll_out(self, step: int) -> Experience:
        """Draw replies, score them, and find what each token was worth."""
        import torch

        rank, processes = self._accelerator.process_index, self._accelerator.num_processes
        # Seeded anew at each step, so that a resumed training draws what it would have drawn.
        seed = random.Random(f"{self._settings.seed}:rollouts:{step}:{rank}").getrandbits(63)
        torch.manual_seed(seed)
        first = (step - 1) * self._rows
        mine = self._prompts[first : first + self._rows][rank::processes]
        rollouts = self._sampler.sample(self._models.bare_policy, mine)
        rollouts.sort(key=lambda one: len(one.prompt_ids) + len(one.reply_ids))
        paid = self._reward.pay([one.conversation for one in rollouts])
        with torch.no_grad(), self._accelerator.autocast():
            drawn, entropy, mask = self._weigher.weigh(self._models.policy, rollouts)
            with self._models.before() as start:
                before = self._weigher.weigh(start, rollouts).logprobs_B_T
            values = self._weigher.values(self._models.value, rollouts)
        # Without a reward there is nothing that a reply could teach: it is all behind its end.
        known = torch.tensor([one is not None for one in paid.rewards], device=mask.device)
        scores = torch.tensor([one or 0.0 for one in paid.rewards], device=mask.device)
        learned = mask * known.unsqueeze(1)
        kl = kl_estimate(drawn, before, self._settings.kl_estimator)
        rewards = token_rewards(
            scores, kl, mask, score_weight=self._rules.score_weight, beta=self._settings.beta
        )
        advantages = generalized_advantages(rewards, values, learned, self._rules.decay)
        returns = advantages + values * learned
        # Of all processes: means of theirs are no deviation, no interval and no mean of a token.
        earned = [one for one in of_all_processes(paid.rewards) if one is not None]
        earned = torch.tensor(earned, device=mask.device)
        sums = torch.stack([(entropy * mask).sum(), mask.sum(), learned.sum()])
        nats, tokens, taught = self._accelerator.reduce(sums, reduction="mean")
        figures = {
            "reward": earned.mean().item(),
            "reward_std": earned.std(correction=0).item(),
            "kl": ((drawn - before) * mask).sum(1).mean().item(),
            "entropy": (nats / tokens).item(),
            "length": (tokens / len(rollouts)).item(),
            "cut_off": sum(one.cut_off for one in rollouts) / len(rollouts),
            **paid.figures,
            **reply_figures([one.conversation for one in rollouts]),
        }
        if self._rules.normalizes:
            everyone: Any = self._accelerator.gather((advantages, learned))
            advantages = normalized(advantages, learned, everyone)
        return Experience(rollouts, drawn, advantages, returns, learned, taught, figures)

    def _learn(self, batch: Experience) -> dict[str, float]:
        """Make K optimizer steps on a batch; gives their mean figures."""
        import torch

        sums = torch.zeros(3, device=self._accelerator.device)
        for _ in range(self._settings.passes):
            for start in range(0, len(batch.rollouts), self._part):
                losses = self._losses(batch, slice(start, start + self._part))
                self._accelerator.backward(losses[0] + losses[1])
                sums += losses.detach()
            for model in (self._models.policy, self._models.value):
                self._accelerator.clip_grad_norm_(model.parameters(), MAX_GRADIENT)
            self._models.optimizer.step()
            self._models.scheduler.step()
            self._models.optimizer.zero_grad()
        loss, values, clipped = (sums / self._settings.passes).tolist()
        return {"loss": loss, "value_loss": values, "clipped": clipped}

    def _losses(self, batch: Experience, part: slice) -> Tensor:
        """Loss of the policy, loss of the value model, share of clipped tokens.

        Each is of the whole replies of a part, and a share of the mean over the batch's replies.
        """
        import torch

        rollouts = batch.rollouts[part]
        new = self._weigher.weigh(self._models.policy, rollouts).logprobs_B_T
        old, advantages = batch.logprobs_B_T[part], batch.advantages_B_T[part]
        values, mask = self._weigher.values(self._models.value, rollouts), batch.mask_B_T[part]
        policy = clipped_objective(new, old, advantages, self._rules.clip) * mask
        value = value_loss(values, batch.returns_B_T[part]) * mask
        clipped = torch.zeros((), device=policy.device)
        if self._rules.clip is not None:
            found = is_clipped(new, old, advantages, self._rules.clip)
            clipped = (found * mask).sum() / batch.tokens
        count = len(batch.rollouts)
        return torch.stack([policy.sum() / count, value.sum() / count, clipped])

    def _mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Mean over the processes."""
        import torch

        values = torch.tensor([*figures.values()], device=self._accelerator.device)
        means: Any = self._accelerator.reduce(values, reduction="mean")
        return dict(zip(figures, means.tolist(), strict=True))

    def _save_checkpoint(self, step: int) -> None:
        folder = self._work.checkpoints / f"checkpoint-{step}"
        self._accelerator.save_state(str(folder))
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            lines = [orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in self._history]
            (folder / "history.jsonl").write_bytes(b"".join(lines))
            self._work.mark_complete(step)
            old = step - KEPT_CHECKPOINTS * self._settings.save_every
            shutil.rmtree(self._work.checkpoints / f"checkpoint-{old}", ignore_errors=True)
        self._accelerator.wait_for_everyone()
