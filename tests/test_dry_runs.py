"""What commands beside `cai run` would buy is told beforehand, and is what they then buy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cai.cli import app
from tests.chat_server import ChatServer, Reply, chat_server
from tests.test_evaluate_labeler import letters

CASES = """
id: mine
principles:
  - id: kind
    comparison: Which is kinder?
    classify: Is it kind?
    critique: Is it unkind?
    revision: Be kind.
cases:
  - {conversation: Hello., principle: kind, better: Hi!, worse: Go away.}
  - {conversation: Hello., principle: kind, response: Hi!, answer: yes}
"""


def answer(body: dict[str, Any]) -> Reply:
    if not body.get("logprobs"):
        return Reply(f"How do I do thing {body['seed']}?")
    yes = "Yes" in body["messages"][-1]["content"]
    return letters(Yes=0.9, No=0.1) if yes else letters(A=0.7, B=0.3)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(answer) as served:
        yield served


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


RECIPE = """
name: small
constitution: mine.yaml
models: {{default: {{name: "openai:m", endpoint: "{url}"}}}}
prompts: {{red_team: [{{file: seeds.txt, kind: harmful, limit: 4}}]}}
revisions: {{rounds: 1, critique: false}}
"""


@pytest.fixture(params=["labeler", "each principle", "thinking", "prompts", "cases", "revisions"])
def order(request: pytest.FixtureRequest, server: ChatServer, tmp_path: Path) -> list[object]:
    """A command that asks a model, complete but for how far it is to go."""
    pairs = [{"prompt": f"{n}?", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(6)]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "seeds.txt").write_text("\n".join(f"Seed number {n}?" for n in range(9)))
    (tmp_path / "mine.yaml").write_text(CASES)
    judge = ("--judge", "openai:m", "--endpoint", server.url, "--out", tmp_path / "run")
    labeler = ["evaluate", "labeler", "--data", rows, *judge, "--constitution", "harmlessness"]
    thinking = ("--set", "comparisons.label.thinking={max_tokens: 20}")
    model = ("--model", "openai:m", "--endpoint", server.url)
    prompts = ("--seeds", tmp_path / "seeds.txt", "--number", 5, "--out", tmp_path / "new.jsonl")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE.format(url=server.url))
    ledger = ("--ledger", tmp_path / "cases.sqlite")
    orders: dict[str, list[object]] = {
        "labeler": labeler,
        "each principle": [*labeler, "--each-principle"],
        "thinking": [*labeler, *thinking],
        "prompts": ["generate", "prompts", *model, *prompts, "--run", tmp_path / "run"],
        "revisions": ["generate", "revisions", recipe, "--run", tmp_path / "run"],
        "cases": ["constitution", "test", tmp_path / "mine.yaml", *model, *ledger],
    }
    return orders[request.param]


def in_all(told: Result) -> list[int]:
    """Calls of the last line of the table: all, bought, to buy."""
    assert told.exit_code == 0, told.output
    sums = re.search(r"in all +([\d,]+) +([\d,]+) +([\d,]+)", told.stdout)
    assert sums is not None, told.stdout
    return [int(group.replace(",", "")) for group in sums.groups()]


def test_the_calls_foretold_are_those_that_are_made(order: list[object], server: ChatServer):
    every, bought, to_buy = in_all(command(*order, "--dry-run"))
    assert (every, bought, server.asked) == (to_buy, 0, [])

    command(*order)
    assert len(server.asked) == to_buy > 0

    assert in_all(command(*order, "--dry-run")) == [every, every, 0]
    assert len(server.asked) == every


def test_a_forecast_leaves_no_files(order: list[object], tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))

    command(*order, "--dry-run")

    assert sorted(tmp_path.rglob("*")) == before


def test_a_sample_is_bought_and_tells_the_tokens(order: list[object], server: ChatServer):
    if "test" in order:
        pytest.skip("cases are few: there is no sample of them")
    told = command(*order, "--dry-run", "--sample", 2)

    every, bought, to_buy = in_all(told)
    assert bought == len(server.asked) > 0
    assert every == bought + to_buy
    assert "Tokens unknown" not in told.stdout

    command(*order)
    assert len(server.asked) == every


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--dry-run", "--max-calls", 3), "stop a run"),
        (("--sample", 3), "add --dry-run"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(more: tuple[object, ...], message: str):
    order = ("generate", "prompts", "--seeds", "s", "--model", "m", "--out", "o")

    refused = CliRunner().invoke(app, list(map(str, (*order, *more))))

    assert refused.exit_code == 1
    assert message in str(refused.exception)


def test_a_models_name_is_printed_as_it_is(server: ChatServer, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(CASES)
    model = ("--model", "openai:m", "--endpoint", server.url)

    told = command("constitution", "test", tmp_path / "mine.yaml", *model, "--dry-run")

    assert "Prices unknown of openai:m: give them with the model" in told.stdout
