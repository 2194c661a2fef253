"""Measure the pretrained model: `python -m cai.microworld.measure --model DIR`.

Held-out requests only, and, wherever a principle is asked about, wordings that pretraining never
showed. Every rate comes with Wilson's 95% interval; all go to `metrics.json` beside the weights.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cai.constitution import load_constitution
from cai.evaluation.intervals import mean_interval, rate
from cai.microworld.corpus import comparison_variables, critique_variables
from cai.microworld.inference import TinyModel, load, p_first_letter, sample
from cai.microworld.lexicon import HARMS
from cai.microworld.measure_ways import numbers, thoughts
from cai.microworld.principles import WorldPrinciple, draw_principle
from cai.microworld.replies import classify, help_with, kind_refusal
from cai.microworld.requests import Kind, Request, parse_request, sample_requests
from cai.microworld.situations import draw_any_request, draw_pair, draw_principle_for, draw_reply
from cai.microworld.truth import critique_is_correct, preference, problem, write_critique
from cai.prompts import Prompts
from cai.records import Message
from cai.resources import shipped

ROUNDS = 4
BINS = 10
Metrics = dict[str, Any]


def measure(folder: Path, *, n: int = 400, seed: int = 0) -> Metrics:
    """All measurements of a model folder, by name.

    Args:
        folder: weights and tokenizer.
        n: cases per measurement.
        seed: of cases and samples.
    """
    tiny, prompts = load(folder), Prompts()
    parts: tuple[Callable[[TinyModel, Prompts, int, int], Metrics], ...] = (
        plain_replies,
        critiques,
        revision_rounds,
        copies,
        clear_cut_judgements,
        calibration,
        new_requests,
        thoughts,
        numbers,
    )
    metrics: Metrics = {"n": n, "seed": seed}
    for part in parts:
        metrics |= part(tiny, prompts, n, seed)
    return metrics


def plain_replies(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """What plain replies at temperature 1 are, by kind of request."""
    found: Metrics = {}
    kinds: tuple[Kind, ...] = ("harmful", "harmless", "borderline")
    for kind in kinds:
        requests = sample_requests(kind, "heldout", n, seed=seed)
        replies = sample(tiny, [_asked(prompts, request) for request in requests], seed=seed)
        verdicts = [classify(r.text, reply) for r, reply in zip(requests, replies, strict=True)]
        found[f"{kind}_helped"] = _rate(
            [verdict in ("harmful", "harmless") for verdict in verdicts]
        )
        found[f"{kind}_refused"] = _rate([verdict == "refusal" for verdict in verdicts])
        found[f"{kind}_degenerate"] = _rate([verdict == "degenerate" for verdict in verdicts])
    return found


def critiques(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """Share of right critiques, apart for what there was to find."""
    cases = _cases(n, seed)
    asked = [prompts.render("critique", **critique_variables(*case)) for case in cases]
    texts = sample(tiny, asked, seed=seed)
    right = [
        critique_is_correct(text, request, reply, principle.covers)
        for (request, reply, principle), text in zip(cases, texts, strict=True)
    ]
    found: Metrics = {"critique_correct": _rate(right)}
    for name in ("harm", "nothing", "tone"):
        chosen = [ok for case, ok in zip(cases, right, strict=True) if _to_find(case) == name]
        found[f"critique_correct_{name}"] = _rate(chosen) if chosen else None
    return found


def revision_rounds(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """Share of harmful requests refused after each round under the shipped constitution."""
    constitution = load_constitution(shipped("constitution") / "microworld.yaml")
    principles = [principle for principle in constitution.principles if principle.revision]
    source = random.Random(f"rounds {seed}")
    requests = sample_requests("harmful", "heldout", n, seed=seed)
    replies = [help_with(request, source) for request in requests]
    found: Metrics = {"refused_after_round": [], "degenerate_after_round": []}
    for number in range(ROUNDS):
        drawn = [source.choice(principles) for _ in requests]
        replies = _revise(tiny, prompts, requests, replies, drawn, seed + number)
        verdicts = [classify(r.text, reply) for r, reply in zip(requests, replies, strict=True)]
        for verdict, name in (("refusal", "refused"), ("degenerate", "degenerate")):
            rates: list[Metrics] = found[f"{name}_after_round"]
            rates.append(_rate([one == verdict for one in verdicts]))
    return found


def copies(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """Share of revisions that repeat a reply word for word when nothing is wrong with it."""
    cases = [case for case in _cases(4 * n, seed + 1) if _to_find(case) == "nothing"][:n]
    source = random.Random(f"copies {seed}")
    found: Metrics = {}
    for name in ("with", "without"):
        asked: list[Sequence[Message]] = []
        for request, reply, principle in cases:
            critique = write_critique(request, reply, principle.covers, source)
            given = critique_variables(request, reply, principle)
            critique_or_none = critique if name == "with" else None
            asked.append(prompts.render("revise", **given, critique=critique_or_none))
        texts = sample(tiny, asked, seed=seed)
        same = [text == case[1] for text, case in zip(texts, cases, strict=True)]
        found[f"copied_{name}_critique"] = _rate(same)
    return found


def clear_cut_judgements(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """Mean p(refusal better) against full help, where the principle covers the harm and not."""
    source = random.Random(f"clear-cut {seed}")
    found: Metrics = {}
    flips: list[bool] = []
    for name in ("covered", "uncovered"):
        pairs: list[tuple[Request, str, str, WorldPrinciple]] = []
        for request in sample_requests("harmful", "heldout", n, seed=seed):
            principle = draw_principle(
                source, _covers(request, name == "covered", source), held_out=True
            )
            refusal, helped = kind_refusal(request, source), help_with(request, source)
            pairs.append((request, refusal, helped, principle))
        both = _judge(tiny, prompts, pairs)
        found[f"p_refusal_{name}"] = mean_interval([sum(p) / 2 for p in both]).to_json()
        if name == "covered":
            flips = [(first > 0.5) != (second > 0.5) for first, second in both]
            right = [sum(p) / 2 > 0.5 for p in both]
            found["label_correct_covered"] = _rate(right)
    found["order_flips_covered"] = _rate(flips)
    return found


def calibration(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """How both-order-averaged p holds against drawn truth, over all types of pairs.

    ECE = Σ_bins (n_bin / n) |mean p − share of drawn labels|;   Brier = mean (p − label)²
    """
    source = random.Random(f"calibration {seed}")
    pairs: list[tuple[Request, str, str, WorldPrinciple]] = []
    for _ in range(3 * n):
        request, reply_a, reply_b = draw_pair(source, "heldout")
        principle = draw_principle_for(request, source, held_out=True)
        pairs.append((request, reply_a, reply_b, principle))
    truth = [preference(request, a, b, principle.covers) for request, a, b, principle in pairs]
    labels = [float(source.random() < p) for p in truth]
    said = [sum(both) / 2 for both in _judge(tiny, prompts, pairs)]
    bins: list[list[int]] = [[] for _ in range(BINS)]
    for row, p in enumerate(said):
        bins[min(int(p * BINS), BINS - 1)].append(row)
    error = sum(
        abs(sum(said[row] for row in rows) - sum(labels[row] for row in rows)) for rows in bins
    )
    size = len(pairs)
    return {
        "ece": error / size,
        "brier": sum((p - y) ** 2 for p, y in zip(said, labels, strict=True)) / size,
        "brier_of_truth": sum((p - y) ** 2 for p, y in zip(truth, labels, strict=True)) / size,
        "mean_error_of_p": sum(abs(p - t) for p, t in zip(said, truth, strict=True)) / size,
    }


def new_requests(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> Metrics:
    """Share of written requests that are the world's, of the examples' kind, and not a copy."""
    source = random.Random(f"new requests {seed}")
    kinds: list[Kind] = ["harmful", "harmless"]
    wanted: list[Kind] = []
    shown: list[list[str]] = []
    pools = {kind: sample_requests(kind, "heldout", n, seed=seed) for kind in kinds}
    for row in range(n):
        wanted.append(kinds[row % 2])
        shown.append([request.text for request in source.sample(pools[wanted[-1]], 3)])
    asked = [prompts.render("write_prompts", examples=texts, topic=None) for texts in shown]
    written = sample(tiny, asked, seed=seed)
    parsed = [parse_request(text) for text in written]
    return {
        "written_valid": _rate([request is not None for request in parsed]),
        "written_of_kind": _rate(
            [
                request is not None and request.kind == kind
                for request, kind in zip(parsed, wanted, strict=True)
            ]
        ),
        "written_new": _rate(
            [text not in texts for text, texts in zip(written, shown, strict=True)]
        ),
        "written_different": len(set(written)),
    }


def _revise(
    tiny: TinyModel,
    prompts: Prompts,
    requests: Sequence[Request],
    replies: Sequence[str],
    principles: Sequence[Any],
    seed: int,
) -> list[str]:
    given = [
        critique_variables(request, reply, principle)
        for request, reply, principle in zip(requests, replies, principles, strict=True)
    ]
    said = sample(tiny, [prompts.render("critique", **one) for one in given], seed=seed)
    asked = [
        prompts.render("revise", **one, critique=critique)
        for one, critique in zip(given, said, strict=True)
    ]
    return sample(tiny, asked, seed=seed)


def _judge(
    tiny: TinyModel, prompts: Prompts, pairs: Sequence[tuple[Request, str, str, WorldPrinciple]]
) -> list[tuple[float, float]]:
    """P(first reply of each pair is better), with it shown at (A) and at (B)."""
    orders: list[list[float]] = []
    for swapped in (False, True):
        asked = [
            prompts.render(
                "compare",
                **comparison_variables(
                    request, *((reply_b, reply_a) if swapped else (reply_a, reply_b)), principle
                ),
            )
            for request, reply_a, reply_b, principle in pairs
        ]
        p_A = p_first_letter(tiny, asked)
        orders.append([1 - p for p in p_A] if swapped else p_A)
    return list(zip(orders[0], orders[1], strict=True))


def _cases(n: int, seed: int) -> list[tuple[Request, str, WorldPrinciple]]:
    source = random.Random(f"cases {seed}")
    cases: list[tuple[Request, str, WorldPrinciple]] = []
    for _ in range(n):
        request = draw_any_request(source, "heldout")
        principle = draw_principle_for(request, source, held_out=True)
        cases.append((request, draw_reply(request, source), principle))
    return cases


def _to_find(case: tuple[Request, str, WorldPrinciple]) -> str:
    request, reply, principle = case
    found = problem(request, reply, principle.covers)
    return "nothing" if found is None else "harm" if found == "harm" else "tone"


def _covers(request: Request, covered: bool, source: random.Random) -> list[str]:
    others = [name for name in HARMS if name != request.family]
    chosen = source.sample(others, source.randint(1, 4) - covered)
    return source.sample([*chosen, request.family], len(chosen) + 1) if covered else chosen


def _asked(prompts: Prompts, request: Request) -> Sequence[Message]:
    return prompts.render("respond", conversation=(Message("user", request.text),))


def _rate(flags: Sequence[bool]) -> Metrics:
    return rate(sum(flags), len(flags)).to_json()


def main(
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path(__file__).parent
    / "model",
    n: Annotated[int, typer.Option(min=30, help="Cases per measurement.")] = 400,
    seed: Annotated[int, typer.Option(help="Of cases and samples.")] = 0,
) -> None:
    """Measure the model on held-out requests and principles; write `metrics.json` beside it."""
    started = time.monotonic()
    metrics = measure(model, n=n, seed=seed)
    metrics["seconds"] = round(time.monotonic() - started)
    text = json.dumps(metrics, indent=1)
    (model / "metrics.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    typer.run(main)
