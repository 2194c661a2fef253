"""Pretrain the microworld's model from scratch: `python -m cai.microworld.pretrain --out DIR`.

Same seed, same machine, same thread count: same weights.
"""

from __future__ import annotations

import itertools
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.microworld.corpus import Example, examples
from cai.microworld.encoding import Encoded, encode
from cai.microworld.judging import teach
from cai.microworld.plan import Plan, rate_at
from cai.microworld.tokenizer import FastTokenizer, train_tokenizer
from cai.microworld.training import new_model, new_optimizers, train_step
from cai.prompts import Prompts
from cai.untyped import untyped

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Run:
    """What a run owns while it goes on: the model, its tokenizer, its curve."""

    model: LlamaForCausalLM
    tokenizer: FastTokenizer
    history: list[dict[str, float]]


def pretrain(out: Path, plan: Plan) -> None:
    """Train from scratch and write weights, tokenizer and `pretraining.json`."""
    started = time.monotonic()
    untyped("torch").manual_seed(plan.seed)
    prompts = Prompts()
    run = Run(new_model(), train_tokenizer(_texts(plan, prompts)), [])
    courses = (
        teach(run.model, run.tokenizer, prompts, course, plan.seed) for course in plan.courses
    )
    steps = itertools.chain(_converse(run, plan, prompts), itertools.chain.from_iterable(courses))
    run.model.train()
    for step, losses in enumerate(steps):
        seconds = time.monotonic() - started
        run.history.append({"step": step, **losses, "seconds": seconds})
        if step % 20 == 0:
            said = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            _say(f"step {step}: {said} ({seconds:.0f} s)")
        if (step + 1) % plan.save_every == 0:
            save(out, run, plan)
    save(out, run, plan)


def _converse(run: Run, plan: Plan, prompts: Prompts) -> Iterator[dict[str, float]]:
    """Go through the first part; after each step, its mean loss in nats per learned token."""
    letters = run.tokenizer.convert_tokens_to_ids(["A", "B"])
    optimizers = new_optimizers(run.model, plan)
    corpus = _encoded(plan, prompts, run.tokenizer)
    for step in range(plan.steps):
        batch = list(itertools.islice(corpus, plan.batch))
        rate = rate_at(plan, step)
        loss = train_step(run.model, optimizers, batch, rate, parts=plan.parts, letters=letters)
        yield {"loss": loss}


def save(out: Path, run: Run, plan: Plan) -> None:
    """Write everything that a loader or a reader of the run needs."""
    out.mkdir(parents=True, exist_ok=True)
    model: Any = run.model
    model.save_pretrained(out)
    run.tokenizer.save_pretrained(out)
    about: dict[str, Any] = {
        "command": "python -m cai.microworld.pretrain",
        "plan": asdict(plan),
        "steps_done": len(run.history),
        "seconds": round(run.history[-1]["seconds"]),
        "machine": f"{platform.machine()}, CPU, {_threads()} thread(s), {_versions()}",
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "curve": run.history[::20],
    }
    (out / "pretraining.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _encoded(plan: Plan, prompts: Prompts, tokenizer: FastTokenizer) -> Iterator[Encoded]:
    return (encode(tokenizer, example) for example in examples(plan.seed, prompts))


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
    steps: Annotated[
        int, typer.Option(min=1, help="Optimizer steps of the first part.")
    ] = Plan.steps,
    seed: Annotated[int, typer.Option(help="Of weights and corpus.")] = 0,
) -> None:
    """Pretrain the microworld's model from scratch."""
    pretrain(out, Plan(steps=steps, seed=seed))


if __name__ == "__main__":
    typer.run(main)
