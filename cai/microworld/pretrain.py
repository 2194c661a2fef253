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

from cai.microworld.corpus import CONFUSED, Example, examples
from cai.microworld.inference import load
from cai.microworld.phases import Phase, Plan, rate_at
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
class Encoded:
    """Token ids of one example and each token's weight in the loss."""

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Run:
    """What a run owns while it goes on: the model, its curve, every word it has seen.

    `before` is the thinned curve of the phases that an earlier process did.
    """

    model: LlamaForCausalLM
    tokenizer: FastTokenizer
    history: list[dict[str, float]]
    seen: set[str]
    before: list[dict[str, float]]


def pretrain(out: Path, plan: Plan, *, done: int = 0) -> None:
    """Train and write weights, tokenizer, `pretraining.json` and `words.txt`.

    Args:
        out: folder of the model; of an unfinished one, if phases are done.
        plan: the run.
        done: phases that the model in `out` has behind it. 0 starts from scratch.
    """
    torch = untyped("torch")
    torch.manual_seed(plan.seed)
    prompts = Prompts()
    run = _resume(out) if done else _begin(plan, prompts)
    started = time.monotonic() - (run.before[-1]["seconds"] if run.before else 0)
    run.model.train()
    for number, phase in enumerate(plan.phases):
        if number < done:
            continue
        optimizers = _optimizers(run.model, phase, plan)
        corpus = _encoded(plan, phase, plan.seed + number, prompts, run)
        for step in range(phase.steps):
            batch = list(itertools.islice(corpus, plan.batch))
            loss, letters = train_step(run.model, optimizers, batch, rate_at(phase, step), plan)
            seconds = time.monotonic() - started
            run.history.append(
                {
                    "phase": number,
                    "step": step,
                    "loss": loss,
                    "letters": letters,
                    "seconds": seconds,
                }
            )
            if step % 20 == 0:
                place = f"phase {number} step {step}"
                _say(f"{place} loss {loss:.3f} letters {letters:.3f} {seconds:.0f} s")
            if (step + 1) % plan.save_every == 0 or step + 1 == phase.steps:
                save(out, run, plan)


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
    rate: float,
    plan: Plan,
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
            group["lr"] = group["peak"] * rate
        optimizer.step()
        optimizer.zero_grad()
    per_token, weight = torch.cat(losses), torch.cat(weights)
    heavy = weight == weight.max()
    return float((per_token * weight).sum() / total), float(per_token[heavy].mean())


def save(out: Path, run: Run, plan: Plan) -> None:
    """Write everything that a loader or a reader of the run needs."""
    out.mkdir(parents=True, exist_ok=True)
    model: Any = run.model
    model.save_pretrained(out)
    run.tokenizer.save_pretrained(out)
    (out / "words.txt").write_text("\n".join(sorted(run.seen)) + "\n", encoding="utf-8")
    recent = run.history[-50:]
    about: dict[str, Any] = {
        "command": "python -m cai.microworld.pretrain",
        "plan": asdict(plan),
        "seconds": round(run.history[-1]["seconds"]),
        "machine": f"{platform.machine()}, CPU, {_threads()} thread(s), {_versions()}",
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "final_loss": sum(row["loss"] for row in recent) / len(recent),
        "final_letter_loss": sum(row["letters"] for row in recent) / len(recent),
        "curve": [*run.before, *run.history[::20]],
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


def _begin(plan: Plan, prompts: Prompts) -> Run:
    return Run(new_model(), train_tokenizer(_texts(plan, prompts)), [], set(), [])


def _resume(out: Path) -> Run:
    tiny = load(out)
    about = json.loads((out / "pretraining.json").read_text(encoding="utf-8"))
    seen = set((out / "words.txt").read_text(encoding="utf-8").split())
    return Run(tiny.model, tiny.tokenizer, [], seen, about["curve"])


def _optimizers(model: LlamaForCausalLM, phase: Phase, plan: Plan) -> tuple[Optimizer, ...]:
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
        Muon([{"params": inner, "peak": phase.peak_muon}], weight_decay=plan.decay),
        AdamW([{"params": rest, "peak": phase.peak}], betas=(0.9, 0.98), weight_decay=0.0),
    )


def _encoded(plan: Plan, phase: Phase, seed: int, prompts: Prompts, run: Run) -> Iterator[Encoded]:
    early = phase.early * plan.batch
    for example in examples(seed, prompts, early=early, mixtures=phase.mixtures):
        run.seen.update(_words_learned(example))
        turns = [(turn.role, turn.content, turn.weight) for turn in example]
        yield Encoded(*encode_turns(run.tokenizer, turns))


def _words_learned(example: Example) -> set[str]:
    """Words of an example but for text that is answered with `CONFUSED`: it is random letters."""
    answers = [turn.content for turn in example[1:]] + [""]
    pairs = zip(example, answers, strict=True)
    told = [turn.content for turn, answer in pairs if answer != CONFUSED]
    return {word for text in told for word in words_of(text)}


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
    seed: Annotated[int, typer.Option(help="Of weights and corpus.")] = 0,
    done: Annotated[int, typer.Option(min=0, help="Phases that --out has behind it.")] = 0,
) -> None:
    """Pretrain the microworld's model from scratch."""
    pretrain(out, Plan(seed=seed), done=done)


if __name__ == "__main__":
    typer.run(main)
