"""What one model declines another one answers: whole runs, from the command line, on the wire."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger
from cai.records import BY_FALLBACK
from tests.chat_server import ChatServer, Reply, chat_server

SORRY = "I'm sorry, but I can't help with that."
PROMPTS = [f"How do I break window {number}?" for number in range(12)]

RECIPE = """
name: declined
constitution: harmlessness
models:
  default: {{name: "openai:strict", endpoint: "{url}"}}
  fallback: {{name: "openai:lenient", endpoint: "{url}", sampling: {{temperature: 0.5}}}}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
revisions: {{rounds: 1}}
comparisons: {{responder: assistant}}
datasets: {{sft_share: 0.5}}
engine: {{in_flight: 4, attempts: 1}}
"""


def answer(body: dict[str, Any]) -> Reply:
    """The model "strict" declines a third of all by a field, and a third by its words."""
    text = "".join(turn["content"] for turn in body["messages"])
    number = next((n for n in reversed(range(12)) if f"window {n}?" in text), 2)
    declines = body["model"] == "strict" and number % 3 != 2
    if body.get("top_logprobs") and declines:
        return Reply("", "content_filter")
    if body.get("top_logprobs"):
        return weighed()
    if declines:
        return Reply("", message={"refusal": "No."}) if number % 3 else Reply(SORRY)
    return Reply(f"A {body['model']} answer {body['temperature']} {body['seed']}")


def weighed() -> Reply:
    listed = [{"token": name, "logprob": math.log(p)} for name, p in (("A", 0.7), ("B", 0.3))]
    content = [{"token": "A", "logprob": math.log(0.7), "top_logprobs": listed}]
    return Reply("A", "length", choice={"logprobs": {"content": content}})


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with chat_server(answer) as server:
        yield server


@pytest.fixture(scope="module")
def recipe(server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE.format(url=server.url))
    path.with_name("prompts.txt").write_text("\n".join(PROMPTS))
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Path:
    generate(recipe, recipe.with_name("finished"))
    return recipe.with_name("finished")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run in which the fallback has answered some rows of every stage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def cai(*arguments: object) -> str:
    said = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return said.stdout


def generate(recipe: Path, run: Path, *more: object) -> str:
    return cai("run", recipe, "--until", "preferences", "--run", run, "--shard", "1/1", *more)


def rows_of(run: Path, *more: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cai("rows", "list", run, "--json", *more).splitlines()]


def test_declined_calls_are_answered_counted_and_kept_with_who_declined(
    recipe: Path, run: Path, server: ChatServer
):
    by_fallback = rows_of(run, "--status", "fallback")

    assert {row["stage"] for row in by_fallback} == {"response", "revision", "pair", "comparison"}
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        for row in by_fallback:
            declined, *_ = row["record"]["refusals"]
            assert declined["model"].startswith("openai:strict@")
            assert declined["answered_by"].startswith("openai:lenient@")
            calls = [ledger.call(key) for key in row["calls"]]
            asked = {call.model.split("@")[0] for call in calls if call is not None}
            assert asked == {"openai:strict", "openai:lenient"}
        counts = ledger.counts_by_fallback()

    status = json.loads(cai("runs", "status", run, "--json"))
    assert status["by_fallback"] == counts
    assert sum(counts.values()) == len(by_fallback)
    assert not any(row["status"] == "refused" for row in rows_of(run))
    assert "┃ fallback ┃" in cai("rows", "list", run)


def test_a_second_run_buys_neither_what_was_declined_nor_what_was_answered(
    recipe: Path, run: Path, server: ChatServer
):
    asked = len(server.asked)

    generate(recipe, run)

    assert len(server.asked) == asked


def test_refusals_by_field_and_by_wording_are_told_apart_and_replies_to_compare_are_left(
    run: Path,
):
    signs: dict[str, dict[int, list[str]]] = {}
    for row in rows_of(run, "--status", "ok"):
        prompt = row["record"]["prompt"]["messages"][0]["content"]
        declined = [refusal["sign"] for refusal in row["record"]["refusals"]]
        signs.setdefault(row["stage"], {})[PROMPTS.index(prompt) % 3] = declined

    assert signs["response"] == {0: ["wording"], 1: ["stop_reason"], 2: []}
    assert signs["pair"] == {0: [], 1: ["stop_reason"], 2: []}
    assert signs["comparison"] == {1: ["stop_reason", "stop_reason"], 2: []}


def test_a_data_set_says_who_declined_and_the_fallback_draws_in_its_own_way(run: Path):
    rows = parquet.read_table(run / "datasets" / "sft" / "train" / "data.parquet").to_pylist()

    seen: set[tuple[int, str, int]] = set()
    for row in rows:
        text = row["messages"][-1]["content"]
        assert {one["model"].split("@")[0] for one in row["refusals"]} <= {"openai:strict"}
        kind = PROMPTS.index(row["messages"][0]["content"]) % 3
        seen.add((kind, text.rsplit(" ", 1)[0], len(row["refusals"])))

    # Of the first kind the critic has declined; what the reviser says in such words is a revision.
    assert seen == {
        (0, SORRY.rsplit(" ", 1)[0], 1),
        (1, "A lenient answer 0.5", 2),
        (2, "A strict answer 1.0", 0),
    }


def test_without_a_fallback_a_declined_call_ends_its_row_until_one_is_named(
    recipe: Path, server: ChatServer, tmp_path: Path
):
    lines, run = recipe.read_text().splitlines(), tmp_path / "run"
    without = recipe.with_name("without.yaml")
    without.write_text("\n".join(line for line in lines if "fallback" not in line))
    generate(without, run)
    assert rows_of(run, "--status", "refused")
    assert "┃ fallback ┃" not in cai("rows", "list", run)

    name = f"models.fallback={{name: 'openai:lenient', endpoint: '{server.url}'}}"
    told = cai("rows", "rerun", run, "--status", "refused", "--set", name)
    # The second reply of a pair is asked for only once there is a first, and the label after both.
    for _ in range(2):
        cai("rows", "rerun", run, "--status", "refused", "--set", name)

    assert "datasets/sft written anew" in told
    assert rows_of(run, "--status", "refused") == []
    assert {row["reason"] for row in rows_of(run, "--status", "fallback")} == {BY_FALLBACK}


def test_rows_that_the_fallback_has_answered_can_be_made_again_with_another_one(
    run: Path, server: ChatServer
):
    before = len(rows_of(run, "--status", "fallback"))

    name = f"models.fallback={{name: 'openai:other', endpoint: '{server.url}'}}"
    cai("rows", "rerun", run, "--status", "fallback", "--set", name)

    after = rows_of(run, "--status", "fallback")
    refusals = [one for row in after for one in row["record"]["refusals"]]
    assert len(after) == before
    assert {one["answered_by"].split("@")[0] for one in refusals} == {"openai:other"}


def test_a_forecast_says_that_refusals_to_come_are_not_foretold(
    recipe: Path, finished: Path, tmp_path: Path
):
    until = ("--until", "preferences", "--shard", "1/1", "--dry-run")

    before = cai("run", recipe, "--run", tmp_path / "new", *until)
    after = cai("run", recipe, "--run", finished, *until)

    assert "how many of the calls to buy will be declined is not foretold" in before
    assert "Every call is in the ledger: nothing would be bought." in after
    assert "openai:lenient" in after
