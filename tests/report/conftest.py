import json
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from cai.engine.ledger import Ledger
from cai.evaluation import rate
from cai.records import Comparison, Message, OrderWeights, Prompt, Row, RowKey

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}'
PRINCIPLES = ("weapons", "privacy", "theft", "self-harm", "not-preachy")


@pytest.fixture
def hostile() -> str:
    return HOSTILE


@pytest.fixture
def metrics() -> dict[str, Any]:
    return all_metrics()


@pytest.fixture
def write_run() -> Callable[..., Awaitable[None]]:
    return run_folder


@pytest.fixture
def contest() -> Callable[..., dict[str, Any]]:
    return contest_metrics


@pytest.fixture
def asked() -> Callable[..., dict[str, str]]:
    return asked_of


def all_metrics() -> dict[str, Any]:
    stages = {"helpful": (294, 3, 297), "sl_cai": (54, 6, 293), "rl_cai": (9, 3, 292)}
    by_family = {"theft": rate(3, 50), "privacy": rate(20, 50), "weapons": rate(1, 50)}
    return {
        "run": {
            "name": "microworld",
            "seed": 7,
            "recipe_hash": "5e1f0c2a9d3b4e6f",
            "constitution": {
                "id": "microworld",
                "hash": "9b1deb4d3b7d4bad",
                "title": "The microworld's constitution",
                "principles": {name: {"critique": f"Is there {name}?"} for name in PRINCIPLES},
            },
            "versions": {"constitutional-ai": "0.1.0", "torch": "2.13.0", "trl": "1.16.0"},
            "command": "cai run examples/microworld.yaml",
        },
        "stages": {
            name: {
                "harmful_compliance": rate(harmful, 300).to_json(),
                "over_refusal": rate(refused, 300).to_json(),
                "evasive": rate(4, 600).to_json(),
                "degenerate": rate(0, 600).to_json(),
                "helpfulness": rate(helped, 300).to_json(),
                "method": "truth",
                "by_family": {family: one.to_json() for family, one in by_family.items()},
            }
            for name, (harmful, refused, helped) in stages.items()
        },
        "harm_by_round": [rate(n, 300).to_json() for n in (294, 120, 66, 33, 18)],
        "harm_by_principle": {
            name: {"draws": 240 - 9 * index, "fixed": rate(100 + 20 * index, 200).to_json()}
            for index, name in enumerate(PRINCIPLES)
        },
        "principles": {name: principle_metrics(index) for index, name in enumerate(PRINCIPLES)},
        "labels": label_metrics(),
        "pm": {
            "accuracy": rate(580, 600).to_json(),
            "by_source": {"ai": rate(290, 300).to_json(), "human": rate(290, 300).to_json()},
            "by_kind": {"harmful": rate(292, 300).to_json(), "harmless": rate(288, 300).to_json()},
            "keyword_baseline": rate(310, 600).to_json(),
            "baseline_by_kind": {"harmful": rate(280, 300).to_json()},
        },
        "rows": {"revision": {"ok": 40, "truncated": 3}},
        "seconds": {"generate": 48.2, "sft": 61.0, "preferences": 22.5, "pm": 40.1, "rl": 74.9},
        "calls": {"made": 9_120, "cached": 312, "input_tokens": 812_011, "output_tokens": 201_882},
    }


def principle_metrics(index: int) -> dict[str, Any]:
    return {
        "revisions": rate(240 - 9 * index, 240).to_json(),
        "labels": rate(60 - index, 60).to_json(),
        "orders_agree": rate(58, 60).to_json(),
        "truth_agrees": rate(55, 60).to_json(),
        "others_agree": None,
        "turned": None,
        "left_out": {
            "harm": {
                "without": rate(20 + index, 240).to_json(),
                "change": {"value": 0.02, "low": 0.01 - index / 100, "high": 0.03, "n": 300},
            }
        },
    }


def contest_metrics(names: Sequence[str], trusted: bool | None = True) -> dict[str, Any]:
    def criterion(step: float) -> dict[str, Any]:
        points = [step * place for place in range(len(names))]
        spread = [0 if place == 0 else 25 for place in range(len(names))]
        elo = {
            name: {"value": p, "low": p - s, "high": p + s, "n": 400}
            for name, p, s in zip(names, points, spread, strict=True)
        }
        won = {"a": names[1], "b": names[0], "rate": rate(300, 400).to_json()}
        return {
            "prompts": 400,
            "asked": asked_of("microworld"),
            "elo": elo,
            "wins": [won | {"length_controlled": rate(290, 400).to_json()}],
            "rows": {"ok": 760, "refused": 30, "unparsed": 10},
            "calls": 1600,
            "tokens": 240_000,
            "dollars": 0.42,
            "trusted": trusted,
            "why": "agrees with 93% of 300 known pairs",
        }

    criteria = {"harmlessness": criterion(190.8), "helpfulness": criterion(-20.0)}
    return {"models": list(names), "zero": f"weights of {names[0]}", "criteria": criteria}


def asked_of(judge: str, way: str = "choice", questions: str = "principles") -> dict[str, str]:
    return {"judge": judge, "model": f"weights of {judge}", "way": way, "questions": questions}


def label_metrics() -> dict[str, Any]:
    bins = [
        {
            "low": index / 10,
            "high": (index + 1) / 10,
            "mean_p": index / 10 + 0.05,
            "truth": index / 10 + 0.06 - 0.002 * index,
            "n": 20 + 15 * abs(index - 5),
        }
        for index in range(10)
    ]
    return {
        "accuracy": rate(279, 300).to_json(),
        "brier": 0.131,
        "brier_floor": 0.122,
        "flip_rate": rate(12, 300).to_json(),
        "position_first": rate(309, 600).to_json(),
        "ece": 0.021,
        "bins": bins,
        "by_principle": {
            name: {"n": 60, "accuracy": rate(55, 60).to_json(), "flip_rate": rate(2, 60).to_json()}
            for name in PRINCIPLES
        },
    }


async def run_folder(
    run: Path,
    content: dict[str, Any] | None = None,
    *,
    hostile: str = "",
    length: int = 0,
    label_source: str = "ai",
    turns: int = 1,
    provenance: str = "",
    reasoning: bool = False,
) -> None:
    """A finished run; texts are `hostile` in one place, or as long or as many as is asked."""
    (run / "models" / "rl_cai").mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps(content or all_metrics()))
    (run / "recipe.yaml").write_text("name: microworld\nseed: 7\nconstitution: microworld\n")
    noise = random.Random(0)
    steps = [
        {"step": n, "reward": 2.4 - 3.6 * math.exp(-n / 25) + noise.gauss(0, 0.12) * (n > 0)}
        | {"kl": 3 * (1 - math.exp(-n / 40)) + abs(noise.gauss(0, 0.05))}
        for n in range(0, 120, 2)
    ]
    log = "".join(json.dumps(step) + "\n" for step in steps)
    (run / "models" / "rl_cai" / "training_log.jsonl").write_text(log)
    ledger = Ledger.open(run / "ledger.sqlite")
    await ledger.put_rows([row for n in range(12) for row in revised(n, hostile, length)])
    labels = [compared(n, hostile, length, label_source) for n in range(12)]
    await ledger.put_rows(
        [
            row("comparison", key, 0, wrought(label, turns, provenance, reasoning))
            for key, label in labels
        ]
    )
    ledger.close()


def prompt_of(text: str, kind: str, hostile: str) -> Prompt:
    asked = HOSTILE if hostile == "prompt" else text
    source = HOSTILE if hostile == "source" else "microworld"
    return Prompt((Message("user", asked),), source, kind)


def revised(n: int, hostile: str, length: int) -> list[Row]:
    prompt = prompt_of(f"How do I steal a bike of kind {n}?", "harmful", hostile)
    key = f"{prompt.id[:-1]}{n:x}"
    said = HOSTILE if hostile == "response" else f"Take the bike at night, kind {n}." + "x" * length
    model = HOSTILE if hostile == "model" else "microworld"
    rows = [row("response", key, 0, {"prompt": prompt, "text": said, "model": model})]
    for turn, text in enumerate(["Ask the owner first.", "Ask the owner of the bike first."], 1):
        record = {
            "round": turn,
            "principle": HOSTILE if hostile == "principle" else PRINCIPLES[(n + turn) % 5],
            "critique": HOSTILE if hostile == "critique" else "The reply helps to steal a bike.",
            "text": text + " y" * (length // 2),
            "model": "microworld",
        }
        rows.append(row("revision", key, turn, record))
    if n < 3:
        reason = f"the revision was cut off after {40 + n} tokens"
        rows.append(Row(RowKey("revision", key, 3), "truncated", reason))
    return rows


def wrought(label: Comparison, turns: int, provenance: str, reasoning: bool) -> Comparison:
    if turns > 1:
        said = (Message("user", f"turn {turn} of it") for turn in range(turns))
        label = replace(label, prompt=replace(label.prompt, messages=tuple(said)))
    if provenance:
        label = replace(label, provenance={"schema": provenance})
    if reasoning:
        first, second = label.orders
        thought = "Reply A would hurt <people>. Label: (B)"
        orders = (
            replace(first, principle="theft", reasoning=thought),
            replace(second, principle="privacy", chain=1, reasoning="No."),
        )
        label = replace(label, orders=orders)
    return label


def compared(n: int, hostile: str, length: int, source: str) -> tuple[str, Comparison]:
    kind = "harmful" if n % 2 else "harmless"
    asks = "How do I steal a bike in town" if n % 2 else "How do I bake bread"
    prompt = prompt_of(f"{asks} {n}?", kind, hostile)
    label = Comparison(
        prompt,
        HOSTILE if hostile == "response" else "I can't help with that." + " z" * (length // 2),
        "First take the flour, then the yeast; let it rise for an hour and bake it at 220 degrees.",
        p_a=0.7,
        principle=HOSTILE if hostile == "principle" else PRINCIPLES[n % 5],
        orders=(
            OrderWeights("a", math.log(0.8), math.log(0.2), 1.0, "exact", "c1"),
            OrderWeights("b", math.log(0.6), math.log(0.4), 0.98, "exact", "c2"),
        ),
        source=source,
        model=HOSTILE if hostile == "model" else "microworld",
        provenance={"constitution": "9b1deb4d3b7d4bad", "template": "0a1b2c3d", "seed": 7},
    )
    return f"{prompt.id[:-1]}{n:x}", label


def row(stage: str, prompt_id: str, turn: int, record: object) -> Row:
    return Row(RowKey(stage, prompt_id, turn), "ok", record=orjson.loads(orjson.dumps(record)))
