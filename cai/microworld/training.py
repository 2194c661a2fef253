"""The untrained model, its optimizers, and one step of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cai.microworld.encoding import Encoded
from cai.microworld.plan import Plan
from cai.microworld.tokenizer import CONTEXT, VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import LlamaForCausalLM


def new_model() -> LlamaForCausalLM:
    """The untrained model: about one million parameters."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, eos_token_id=2, pad_token_id=0
    )
    return model


def new_optimizers(model: LlamaForCausalLM, plan: Plan) -> tuple[Optimizer, ...]:
    """Muon for the matrices inside the blocks, AdamW for all else; each group knows its peak."""
    from torch.optim import AdamW, Muon

    inner = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and "embed" not in name
    ]
    chosen = {id(parameter) for parameter in inner}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    return (
        Muon([{"params": inner, "peak": plan.peak_muon}], weight_decay=plan.decay),
        AdamW([{"params": rest, "peak": plan.peak}], betas=(0.9, 0.98), weight_decay=0.0),
    )


def train_step(
    model: LlamaForCausalLM,
    optimizers: Sequence[Optimizer],
    batch: Sequence[Encoded],
    rate: float,
    *,
    parts: int,
    letters: tuple[int, int],
) -> float:
    """One optimizer step on a batch; its mean loss per learned token, in nats."""
    loss = learn(model, batch, parts=parts, letters=letters)
    update(model, optimizers, rate)
    return loss


def learn(
    model: LlamaForCausalLM,
    batch: Sequence[Encoded],
    *,
    parts: int,
    letters: tuple[int, int],
    weight: float = 1.0,
) -> float:
    """Add up the gradients of a batch, in parts of about equal length; its mean loss per token."""
    ordered = sorted(batch, key=lambda example: len(example.ids))
    size = math.ceil(len(ordered) / parts)
    tokens = sum(sum(example.learned) for example in ordered)
    total = 0.0
    for start in range(0, len(ordered), size):
        loss: Any = _token_losses(model, ordered[start : start + size], letters).sum() / tokens
        (weight * loss).backward()
        total += float(loss.detach())
    return total


def update(model: LlamaForCausalLM, optimizers: Sequence[Optimizer], rate: float) -> None:
    """Step with the gradients that were added up, clipped to a norm of 1, at a share of peak."""
    import torch

    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        optimizer.step()
        optimizer.zero_grad()


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Token ids in one tensor.

    Padding stands on the right, where causal attention keeps it from every learned token.
    """
    import torch

    ids_B_T = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
    for place, row in enumerate(rows):
        ids_B_T[place, : len(row)] = torch.tensor(row)
    return ids_B_T


def _token_losses(
    model: LlamaForCausalLM, batch: Sequence[Encoded], letters: tuple[int, int]
) -> Tensor:
    """Loss of every learned token of the batch, in nats; a flat tensor.

    A letter of certainty c, the share of its drawn labels, has the mean loss of those labels,
    −c log p(letter) − (1 − c) log p(other letter).
    """
    import torch
    from torch.nn import functional

    ids_B_T = padded([example.ids for example in batch])
    learned_B_T = padded([example.learned for example in batch])[:, 1:].bool()
    certainty_N = torch.tensor(
        [
            certainty
            for example in batch
            for certainty, learned in zip(example.certainties, example.learned, strict=True)
            if learned
        ]
    )
    hidden_B_T_D = model.model(input_ids=ids_B_T, use_cache=False).last_hidden_state
    logits_N_V = model.lm_head(hidden_B_T_D[:, :-1][learned_B_T])
    targets_N = ids_B_T[:, 1:][learned_B_T]
    loss_N = functional.cross_entropy(logits_N_V, targets_N, reduction="none")
    # Of a token that is sure, the other letter counts nothing; any id will do there.
    others_N = torch.where(certainty_N < 1, sum(letters) - targets_N, targets_N)
    other_N = functional.cross_entropy(logits_N_V, others_N, reduction="none")
    return certainty_N * loss_N + (1 - certainty_N) * other_N
