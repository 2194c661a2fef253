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
) -> tuple[float, float]:
    """One optimizer step on a batch; its weighted loss per token, and that of the letters alone.

    L = Σ w_t · (−log p(x_t | x_<t)) / Σ w_t
    """
    import torch

    ordered = sorted(batch, key=lambda example: len(example.ids))
    size = math.ceil(len(ordered) / parts)
    total = sum(sum(example.weights) for example in ordered)
    losses: list[Tensor] = []
    weights: list[Tensor] = []
    for start in range(0, len(ordered), size):
        per_token, weight = _token_losses(model, ordered[start : start + size], letters)
        loss: Any = (per_token * weight).sum() / total
        loss.backward()
        losses.append(per_token.detach())
        weights.append(weight)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        optimizer.step()
        optimizer.zero_grad()
    per_token, weight = torch.cat(losses), torch.cat(weights)
    heavy = weight == weight.max()
    return float((per_token * weight).sum() / total), float(per_token[heavy].mean())


def _token_losses(
    model: LlamaForCausalLM, batch: Sequence[Encoded], letters: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Loss and weight of every learned token of the batch, in nats; two flat tensors.

    A letter of certainty c, the share of its drawn labels, has the mean loss of those labels,
    −c log p(letter) − (1 − c) log p(other letter).
    """
    import torch
    from torch.nn import functional

    longest = max(len(example.ids) for example in batch)
    ids_B_T = torch.zeros(len(batch), longest, dtype=torch.long)
    weights_B_T = torch.zeros(len(batch), longest)
    certainties_B_T = torch.ones(len(batch), longest)
    for row, example in enumerate(batch):
        size = len(example.ids)
        ids_B_T[row, :size] = torch.tensor(example.ids)
        weights_B_T[row, :size] = torch.tensor(example.weights)
        certainties_B_T[row, :size] = torch.tensor(example.certainties)
    # Padding stands on the right, where causal attention keeps it from every learned token.
    hidden_B_T_D = model.model(input_ids=ids_B_T, use_cache=False).last_hidden_state
    learned = weights_B_T[:, 1:] > 0
    logits_N_V = model.lm_head(hidden_B_T_D[:, :-1][learned])
    targets_N, certainty_N = ids_B_T[:, 1:][learned], certainties_B_T[:, 1:][learned]
    loss_N = functional.cross_entropy(logits_N_V, targets_N, reduction="none")
    # Of a token that is sure, the other letter counts nothing; any id will do there.
    others_N = torch.where(certainty_N < 1, sum(letters) - targets_N, targets_N)
    other_N = functional.cross_entropy(logits_N_V, others_N, reduction="none")
    mean_N = certainty_N * loss_N + (1 - certainty_N) * other_N
    return mean_N, weights_B_T[:, 1:][learned]
