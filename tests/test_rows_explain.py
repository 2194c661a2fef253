"""`cai rows show` tells of a row how it came about: for a reviewer who asks why this label."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cai.cli.rows import app
from cai.constitution import draw, load_constitution
from cai.engine import Ledger
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.explain_label import told_label
from cai.recipe import load_recipe
from cai.records import Row, RowKey
from tests.chat_server import Reply, chat_server

CONSTITUTION = """
id: mine
principles:
  - {id: kind, comparison: Which is kinder?, critique: Is it kind?, revision: Be kind.}
  - {id: calm, comparison: Which is calmer?, critique: Is it calm?, revision: Be calm.}
  - {id: clear, comparison: Which is clearer?, critique: Is it clear?, revision: Be clear.}
  - id: locks
    comparison: Which gives away less about locks?
    applies_if: {keywords: [lock]}
"""
RECIPE = """
name: told
constitution: mine.yaml
models: {{default: {{name: "openai:fake", endpoint: "{url}"}}}}
prompts: {{red_team: [{{file: prompts.txt, kind: harmful}}]}}
revisions: {{rounds: 2}}
comparisons: {{responder: assistant, label: {{principles: 2}}}}
datasets: {{sft_share: 0.5}}
"""


def answer(body: dict[str, Any]) -> Reply:
    if body.get("logprobs"):
        top = [
            {"token": "A", "logprob": math.log(0.6)},
            {"token": "B", "logprob": math.log(0.3)},
        ]
        content = [{**top[0], "top_logprobs": top}]
        return Reply("A", "length", choice={"logprobs": {"content": content}})
    asked = str(body["messages"][-1]["content"])
    return Reply(f"Said {body['seed'] % 1000} of {asked}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("told")
    (folder / "mine.yaml").write_text(CONSTITUTION)
    (folder / "prompts.txt").write_text("".join(f"How do I break window {n}?\n" for n in range(8)))
    with chat_server(answer) as server:
        (folder / "recipe.yaml").write_text(RECIPE.format(url=server.url))
        recipe = load_recipe(folder / "recipe.yaml")
        run_recipe(
            recipe,
            RunFolder(folder / "run"),
            steps=("revisions", "preferences"),
            command="cai run recipe.yaml",
        )
    yield folder / "run"


def first_of(run: Path, stage: str, round: int = 0) -> str:
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        keys = (row.key for row in ledger.rows(stage))
        key = next(key for key in keys if key.round == round)
    return f"{key.stage}/{key.prompt_id}/{key.round}"


def told(run: Path, row: str) -> list[str]:
    result = CliRunner().invoke(app, ["show", str(run), row], catch_exceptions=False)
    return result.stdout.split("record:")[0].splitlines()


def test_a_revision_is_told_from_the_prompt_through_every_round(run: Path):
    lines = told(run, first_of(run, "revision", round=2))

    heads = [line.split(",")[0].strip("[]") for line in lines if line.startswith("[")]
    rounds = ["critique 1", "revision 1", "critique 2", "revision 2"]
    assert heads == ["user", "first reply", *rounds]


def test_the_principle_comes_with_its_texts_and_with_the_runner_up(run: Path):
    name = first_of(run, "revision", round=1)
    lines = told(run, name)

    id, texts = next(line for line in lines if line.startswith("principle "))[10:].split(": ", 1)
    assert texts == f"Is it {id}? Be {id}."
    assert any("drawn from 3 candidates for revision (seed 0" in line for line in lines)
    runner_up = next(line.split()[1] for line in lines if "runner-up" in line).rstrip(":")
    whole = load_constitution(str(run.parent / "mine.yaml"))
    rest = tuple(one for one in whole.principles if one.id != id)
    without = whole.model_copy(update={"principles": rest})
    drawn = draw(without, "revision", seed=0, prompt_id=name.split("/")[1], round=1)
    assert drawn.id == runner_up


def test_principles_that_do_not_apply_are_told_of(run: Path):
    lines = told(run, first_of(run, "comparison"))

    (drawn,) = [line for line in lines if "drawn from" in line]
    assert "3 candidates for comparison, 1 left out since their applies_if does not" in drawn


def test_a_label_shows_every_vote_in_both_orders(run: Path):
    lines = told(run, first_of(run, "comparison"))

    votes = [line.strip() for line in lines if " at (A) under " in line]
    assert len(votes) == 4
    assert [line[0] for line in votes] == ["a", "b", "a", "b"]
    assert "ln p(a) -0.5108, ln p(b) -1.2040, so p(a) 0.6667; mass 0.9000 (top_k)" in votes[0]
    assert "so p(a) 0.3333" in votes[1]
    assert sum(line.strip().startswith("runner-up") for line in lines) == 1
    assert any(line.startswith("label: p(a is better) = 0.5000, by openai:fake") for line in lines)


def test_both_replies_are_shown_with_who_wrote_them(run: Path):
    lines = told(run, first_of(run, "comparison"))

    heads = [line for line in lines if line.startswith("[reply")]
    assert heads == ["[reply a, pair sample 0 by fake]", "[reply b, pair sample 1 by fake]"]


def test_costs_versions_and_the_data_set_are_told(run: Path):
    lines = told(run, first_of(run, "comparison"))

    assert "cost: 6 calls, 42 tokens in, 18 out, 6 calls at an unknown price" in lines
    assert any(line.startswith("goes into datasets/preferences/") for line in lines)
    assert any(line.startswith("made with constitution ") for line in lines)
    assert any(line.startswith("run told: seed 0, recipe ") for line in lines)
    assert any(line.startswith("versions: python 3.") for line in lines)
    assert "command: cai run recipe.yaml" in lines


def test_a_draw_that_has_changed_since_is_said_to_have(run: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    recipe = copy / "recipe.yaml"
    name = first_of(run, "revision", round=1)
    for seed in range(1, 20):
        recipe.write_text((run / "recipe.yaml").read_text().replace("seed: 0", f"seed: {seed}"))
        lines = told(copy, name)
        if any("today the draw gives" in line for line in lines):
            return
    pytest.fail("no other seed draws another principle")


def test_a_ledger_alone_says_that_it_does_not_know_why(run: Path, tmp_path: Path):
    shutil.copy(run / "ledger.sqlite", tmp_path / "alone.sqlite")

    lines = told(tmp_path / "alone.sqlite", first_of(run, "revision", round=1))

    assert any("why it was drawn is not known here" in line for line in lines)
    assert any(line.startswith("cost: 2 calls") for line in lines)


def test_a_row_without_a_record_still_has_its_prompt(run: Path, tmp_path: Path):
    shutil.copytree(run, tmp_path / "copy")
    name = first_of(run, "revision", round=2)
    id = name.split("/")[1]
    filtered = Row(RowKey("revision", id, 2), "filtered", "the text is the same")

    async def put() -> None:
        with Ledger.open(tmp_path / "copy" / "ledger.sqlite") as ledger:
            await ledger.put_rows([filtered])

    asyncio.run(put())
    lines = told(tmp_path / "copy", name)

    assert lines[0] == f"── revision/{id}/2/0: filtered, the text is the same"
    assert any(line.startswith(f"prompt {id} (harmful, from prompts.txt)") for line in lines)
    earlier = told(tmp_path / "copy", f"revision/{id}/1")
    assert f"also of this prompt: revision/{id}/2/0 filtered, the text is the same" in earlier


ORDER = {
    "first": "a",
    "logprob_a": math.log(0.6),
    "logprob_b": math.log(0.2),
    "mass": 0.8,
    "method": "samples",
    "call": "c1",
    "principle": "kind",
}


def test_thoughts_and_standard_errors_are_told_with_their_order():
    order = {**ORDER, "chain": 1, "standard_error": 0.05, "reasoning": "Well."}
    lines = list(told_label({"p_a": 0.6, "orders": [{**order, "reasoning_call": "c2"}]}))

    assert "a at (A) under kind, chain 1:" in lines[1]
    assert "so p(a) 0.7500 ± 0.0500; mass 0.8000 (samples) [call c1]" in lines[1]
    assert lines[2] == "  thoughts [call c2]:\nWell."


def test_ratings_are_told_with_their_shares():
    rating = {"of": "b", "expected": 7.25, "mass": 0.9, "method": "exact", "call": "c3"}
    lines = list(told_label({"p_a": 0.6, "ratings": [{**rating, "shares": [0.25, 0.75]}]}))

    assert "reply b: 7.250 of 10, mass 0.9000 (exact), shares of 1 to 10: 0.250, 0.750" in lines[1]


def test_a_truth_that_is_known_stands_beside_the_label():
    (line,) = told_label({"p_a": 0.6, "source": "ai", "provenance": {"truth": 1.0}})

    assert line == "label: p(a is better) = 0.6000, by ai; the truth is 1.0000"


def test_an_answer_is_told_with_its_options_in_both_orders():
    order = {"logprobs": [math.log(0.7), math.log(0.2)], "mass": 0.9, "call": "c4"}
    lines = list(
        told_label(
            {
                "question": {"question": "How?", "options": ["Rude", "Kind"], "right": 1},
                "shares": [0.3, 0.7],
                "orders": [{**order, "shown": [1, 0]}],
            }
        )
    )

    assert lines[2] == "  0.7000  Kind, the right one"
    assert lines[3] == "  shown from (A): Kind 0.7000, Rude 0.2000; mass 0.9000 [call c4]"
