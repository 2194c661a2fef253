"""Replies that a policy writes in RL, in batches sorted by length, and its weighing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from trainers.tokens import Conversation, prompt_ids

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """A prompt and one reply to it.

    Args:
        prompt: the turns, the last one the user's.
        prompt_ids: the tokens up to where the reply begins.
        reply_ids: the reply's, with the end token unless it was cut off.
        text: the reply as text.
        cut_off: whether it reached the length limit.
    """

    prompt: Conversation
    prompt_ids: list[int]
    reply_ids: list[int]
    text: str
    cut_off: bool

    @property
    def conversation(self) -> Conversation:
        """The turns, the reply's the last."""
        return [*self.prompt, {"role": "assistant", "content": self.text}]


class Weighed(NamedTuple):
    """What a model makes of the tokens of some replies, each in nats.

    Args:
        logprobs_B_T: natural log of each token's probability; anything behind a reply's end.
        entropy_B_T: of the distribution that it was drawn from, without a gradient.
        mask_B_T: 1 for tokens of the reply, 0 behind its end.
    """

    logprobs_B_T: Tensor
    entropy_B_T: Tensor
    mask_B_T: Tensor


@dataclass(frozen=True)
class Sampler:
    """How replies are drawn.

    Args:
        tokenizer: as of `load_tokenizer`.
        temperature: of sampling; probabilities are those at this temperature everywhere.
        max_length: longest reply, in tokens.
        at_once: replies drawn in one batch.
        device: where the models are.
    """

    tokenizer: Any
    temperature: float
    max_length: int
    at_once: int
    device: Any

    def sample(self, model: Any, prompts: Sequence[Conversation]) -> list[Rollout]:
        """One reply to each prompt, in order of the prompts' length."""
        encoded = [(prompt, prompt_ids(self.tokenizer, prompt)) for prompt in prompts]
        encoded.sort(key=lambda one: len(one[1]))
        rollouts: list[Rollout] = []
        for start in range(0, len(encoded), self.at_once):
            rollouts += self._batch(model, encoded[start : start + self.at_once])
        return rollouts

    def _batch(
        self, model: Any, encoded: Sequence[tuple[Conversation, list[int]]]
    ) -> list[Rollout]:
        import torch

        ids, mask = padded([ids for _, ids in encoded], self._pad, left=True)
        with torch.no_grad():
            out = model.generate(
                input_ids=ids.to(self.device),
                attention_mask=mask.to(self.device),
                generation_config=self._plain_sampling(),
            )
        replies = out[:, ids.shape[1] :].tolist()
        return [
            self._rollout(prompt, prompt_ids, reply)
            for (prompt, prompt_ids), reply in zip(encoded, replies, strict=True)
        ]

    def _plain_sampling(self) -> Any:
        """Draws from the model's own distribution; a model's folder may ask for another one."""
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=True,
            temperature=self.temperature,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            max_new_tokens=self.max_length,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self._pad,
        )

    def _rollout(self, prompt: Conversation, prompt_ids: list[int], drawn: list[int]) -> Rollout:
        end = self.tokenizer.eos_token_id
        cut_off = end not in drawn
        reply = drawn if cut_off else drawn[: drawn.index(end) + 1]
        text = self.tokenizer.decode(reply, skip_special_tokens=True)
        return Rollout(prompt, prompt_ids, reply, text, cut_off)

    @property
    def _pad(self) -> int:
        return self.tokenizer.pad_token_id


@dataclass(frozen=True)
class Weigher:
    """How replies are read again.

    Args:
        pad: the token that fills up.
        temperature: of sampling; probabilities are those at this temperature.
        columns: T, the longest reply there may be; tensors are filled up to it with zeros.
        at_once: replies read in one batch.
        device: where the models are.
    """

    pad: int
    temperature: float
    columns: int
    at_once: int
    device: Any

    def weigh(self, model: Any, rollouts: Sequence[Rollout]) -> Weighed:
        """What a causal language model makes of the replies' tokens."""
        parts = [self._weigh(model, part) for part in self._parts(rollouts)]
        return Weighed(*(self._side_by_side(one) for one in zip(*parts, strict=True)))

    def values(self, model: Any, rollouts: Sequence[Rollout]) -> Tensor:
        """What a value model expects before each token of the replies, (B, T)."""
        parts = [self._at_replies(model, part).squeeze(-1) for part in self._parts(rollouts)]
        return self._side_by_side(parts)

    def _weigh(self, model: Any, rollouts: Sequence[Rollout]) -> Weighed:
        ids_B_T, mask_B_T = self._replies(rollouts)
        logits_B_T_V = self._at_replies(model, rollouts) / self.temperature
        logprobs_B_T_V = logits_B_T_V.log_softmax(-1)
        chosen = ids_B_T.to(self.device).unsqueeze(-1)
        logprobs_B_T = logprobs_B_T_V.gather(-1, chosen).squeeze(-1)
        constant = logprobs_B_T_V.detach()
        entropy_B_T = -(constant.exp() * constant).sum(-1)
        return Weighed(logprobs_B_T, entropy_B_T, mask_B_T.to(self.device))

    def _at_replies(self, model: Any, rollouts: Sequence[Rollout]) -> Tensor:
        """What a model gives out before each token of the replies, (B, T, …).

        Prompts are filled up on the left and replies on the right, so that replies begin together.
        """
        import torch

        prompts, prompt_mask = padded([one.prompt_ids for one in rollouts], self.pad, left=True)
        replies, reply_mask = self._replies(rollouts)
        mask = torch.cat([prompt_mask, reply_mask], dim=1)
        outputs = model(
            input_ids=torch.cat([prompts, replies], dim=1).to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(self.device),
            use_cache=False,
        )
        return outputs.logits[:, -replies.shape[1] - 1 : -1].float()

    def _replies(self, rollouts: Sequence[Rollout]) -> tuple[Tensor, Tensor]:
        return padded([one.reply_ids for one in rollouts], self.pad, left=False)

    def _parts(self, rollouts: Sequence[Rollout]) -> list[Sequence[Rollout]]:
        starts = range(0, len(rollouts), self.at_once)
        return [rollouts[start : start + self.at_once] for start in starts]

    def _side_by_side(self, parts: Sequence[Tensor]) -> Tensor:
        import torch
        from torch.nn.functional import pad

        return torch.cat([pad(part, (0, self.columns - part.shape[1])) for part in parts])


def padded(ids: Sequence[Sequence[int]], pad: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Token ids side by side, and where they are none of padding (1) and where they are (0)."""
    import torch

    longest = max(map(len, ids))

    def fill(one: Sequence[int], own: Sequence[int], empty: int) -> list[int]:
        rest = [empty] * (longest - len(one))
        return [*rest, *own] if left else [*own, *rest]

    return (
        torch.tensor([fill(one, one, pad) for one in ids]),
        torch.tensor([fill(one, [1] * len(one), 0) for one in ids]),
    )
