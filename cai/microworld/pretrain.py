"""Pretrain the microworld's model from scratch: `python -m cai.microworld.pretrain --out DIR`.

Loss on the learned assistant tokens only, weighted: the judge's one letter counts as much as
twenty other tokens, or it drowns among them. Same seed, same machine, same thread count: same
weights.
"""

from __future__ import annotations

import itertools
import json
import math
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.microworld.corpus import Example, examples
from cai.microworld.tokenizer import (
    CONTEXT,
    VOCABULARY,
    FastTokenizer,
    encode_turns,
    train_tokenizer,
)
from cai.prompts import Prompts
from cai.untyped import untyped

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Plan:
    """One pretraining run.

    Args:
        steps: optimizer steps.
        early: steps before the judge's letters take their full share of the corpus.
        seed: of weights and corpus.
        batch: sequences per step.
        parts: pieces of about equal length that a step is computed in.
        peak: highest learning rate of the embedding and the norms (AdamW).
        peak_muon: highest learning rate of the other matrices (Muon, Jordan et al. 2024).
        warmup: steps until it.
        decay: weight decay.
        save_every: steps between checkpoints.
        tokenizer_examples: examples that the tokenizer learns its merges from.
    """

    steps: int = 2000
    early: int = 450
    seed: int = 0
    batch: int = 48
    parts: int = 12
    peak: float = 3e-3
    peak_muon: float = 0.02
    warmup: int = 50
    decay: float = 0.05
    save_every: int = 200
    tokenizer_examples: int = 6000


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example and each token's weight in the loss."""

    ids: list[int]
    weights: list[float]


def pretrain(out: Path, plan: Plan) -> None:
    """Train from scratch and write weights, tokenizer, `pretraining.json` and `words.txt`."""
    untyped("torch").manual_seed(plan.seed)
    started = time.monotonic()
    prompts = Prompts()
    tokenizer = train_tokenizer(_texts(plan, prompts))
    model = new_model()
    optimizers = _optimizers(model, plan)
    seen: set[str] = set()
    corpus = _encoded(plan, prompts, tokenizer, seen)
    history: list[dict[str, float]] = []
    model.train()
    for step in range(plan.steps):
        batch = list(itertools.islice(corpus, plan.batch))
        loss, letters = train_step(model, optimizers, batch, plan, step)
        seconds = time.monotonic() - started
        history.append({"step": step, "loss": loss, "letter_loss": letters, "seconds": seconds})
        if step % 20 == 0:
            _say(f"step {step} loss {loss:.3f} letters {letters:.3f} {seconds:.0f} s")
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            save(out, model, tokenizer, plan, history, seen)


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


def train_step(
    model: LlamaForCausalLM,
    optimizers: Sequence[Optimizer],
    batch: Sequence[Encoded],
    plan: Plan,
    step: int,
) -> tuple[float, float]:
    """One optimizer step on a batch; its weighted loss per token, and that of the letters alone.

    L = Σ w_t · (−log p(x_t | x_<t)) / Σ w_t
    """
    import torch

    ordered = sorted(batch, key=lambda example: len(example.ids))
    size = math.ceil(len(ordered) / plan.parts)
    total = sum(sum(example.weights) for example in ordered)
    losses: list[Tensor] = []
    weights: list[Tensor] = []
    for start in range(0, len(ordered), size):
        per_token, weight = _token_losses(model, ordered[start : start + size])
        loss: Any = (per_token * weight).sum() / total
        loss.backward()
        losses.append(per_token.detach())
        weights.append(weight)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_at(plan, step)
        optimizer.step()
        optimizer.zero_grad()
    per_token, weight = torch.cat(losses), torch.cat(weights)
    heavy = weight == weight.max()
    return float((per_token * weight).sum() / total), float(per_token[heavy].mean())


def rate_at(plan: Plan, step: int) -> float:
    """Share of the peak learning rate: linear warmup, then a cosine down to a fiftieth."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    share = (step - plan.warmup) / max(plan.steps - plan.warmup, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


def save(
    out: Path,
    model: LlamaForCausalLM,
    tokenizer: FastTokenizer,
    plan: Plan,
    history: Sequence[dict[str, float]],
    seen: set[str],
) -> None:
    """Write everything that a loader or a reader of the run needs."""
    out.mkdir(parents=True, exist_ok=True)
    saved: Any = model
    saved.save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    (out / "words.txt").write_text("\n".join(sorted(seen)) + "\n", encoding="utf-8")
    recent = history[-50:]
    about: dict[str, Any] = {
        "command": "python -m cai.microworld.pretrain",
        "plan": asdict(plan),
        "steps_done": len(history),
        "seconds": round(history[-1]["seconds"]),
        "machine": f"{platform.machine()}, CPU, {_threads()} thread(s), {_versions()}",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "final_loss": sum(row["loss"] for row in recent) / len(recent),
        "final_letter_loss": sum(row["letter_loss"] for row in recent) / len(recent),
        "curve": history[::20],
    }
    (out / "pretraining.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def words_of(text: str) -> set[str]:
    """The words of a text in lower case: runs of letters, with inner apostrophes."""
    return set(re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower()))


def _token_losses(model: LlamaForCausalLM, batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Loss and weight of every learned token of the batch, in nats; two flat tensors."""
    import torch
    from torch.nn import functional

    longest = max(len(example.ids) for example in batch)
    ids_B_T = torch.zeros(len(batch), longest, dtype=torch.long)
    weights_B_T = torch.zeros(len(batch), longest)
    for row, example in enumerate(batch):
        ids_B_T[row, : len(example.ids)] = torch.tensor(example.ids)
        weights_B_T[row, : len(example.weights)] = torch.tensor(example.weights)
    # Padding stands on the right, where causal attention keeps it from every learned token.
    hidden_B_T_D = model.model(input_ids=ids_B_T, use_cache=False).last_hidden_state
    learned = weights_B_T[:, 1:] > 0
    logits_N_V = model.lm_head(hidden_B_T_D[:, :-1][learned])
    targets = ids_B_T[:, 1:][learned]
    return functional.cross_entropy(logits_N_V, targets, reduction="none"), weights_B_T[:, 1:][
        learned
    ]


def _optimizers(model: LlamaForCausalLM, plan: Plan) -> tuple[Optimizer, ...]:
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


def _encoded(
    plan: Plan, prompts: Prompts, tokenizer: FastTokenizer, seen: set[str]
) -> Iterator[Encoded]:
    for example in examples(plan.seed, prompts, early=plan.early * plan.batch):
        for turn in example:
            seen |= words_of(turn.content)
        turns = [(turn.role, turn.content, turn.weight) for turn in example]
        yield Encoded(*encode_turns(tokenizer, turns))


def _texts(plan: Plan, prompts: Prompts) -> Iterator[str]:
    chosen: Iterator[Example] = itertools.islice(
        examples(plan.seed, prompts), plan.tokenizer_examples
    )
    return (f"{turn.role}\n{turn.content}" for example in chosen for turn in example)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _versions() -> str:
    import torch
    import transformers

    return f"torch {torch.__version__}, transformers {transformers.__version__}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(
    out: Annotated[Path, typer.Option(help="Folder for the model.")] = Path("model"),
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = Plan.steps,
    seed: Annotated[int, typer.Option(help="Of weights and corpus.")] = 0,
) -> None:
    """Pretrain the microworld's model from scratch."""
    pretrain(out, Plan(steps=steps, seed=seed))


if __name__ == "__main__":
    typer.run(main)
