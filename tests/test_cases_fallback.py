"""Cases that a judge declines go to the fallback of the recipe, as a run's labels do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cai.cli import app
from tests.chat_server import ChatServer, Reply, chat_server
from tests.test_evaluate_labeler import letters

MINE = """
id: mine
principles: [{id: kind, comparison: Which is kinder?, classify: Is it kind?}]
cases:
  - {id: pair, conversation: Hello., principle: kind, better: Hi!, worse: Go away.}
  - {id: single, conversation: Hello., principle: kind, response: Hi!, answer: yes}
"""
RECIPE = """
name: declined
constitution: harmlessness
models:
  judge: {{name: "openai:strict", endpoint: "{url}"}}
  default: {{name: "openai:strict", endpoint: "{url}"}}
{fallback}
prompts: {{red_team: []}}
"""
LENIENT = '  fallback: {{name: "openai:lenient", endpoint: "{url}"}}'


def answer(body: dict[str, Any]) -> Reply:
    """The model "strict" declines everything; the other one likes the kind reply."""
    if body["model"] == "strict":
        return Reply("", "content_filter")
    text = body["messages"][-1]["content"]
    if "(A)" not in text:
        return letters(Yes=0.9, No=0.1)
    return letters(A=0.8, B=0.2) if text.index("Hi!") < text.index("Go away.") else letters(B=1.0)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(answer) as served:
        yield served


def judged(folder: Path, server: ChatServer, fallback: str, *more: object) -> Result:
    (folder / "mine.yaml").write_text(MINE)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(url=server.url, fallback=fallback.format(url=server.url)))
    given = ["constitution", "test", folder / "mine.yaml", "--recipe", recipe, *more]
    return CliRunner().invoke(app, list(map(str, given)), catch_exceptions=False)


def test_what_the_judge_declines_the_fallback_answers(server: ChatServer, tmp_path: Path):
    told = judged(tmp_path, server, LENIENT)

    assert told.exit_code == 0, told.output
    assert "2 of 2 passed" in told.stdout
    assert "the judge declined 2 of them, and the fallback answered" in told.stdout


def test_json_names_who_answered(server: ChatServer, tmp_path: Path):
    told = judged(tmp_path, server, LENIENT, "--json")

    results = json.loads(told.stdout)["results"]
    assert [one["answered_by"].partition("@")[0] for one in results] == ["openai:lenient"] * 2


def test_without_a_fallback_a_declined_case_fails_with_its_reason(
    server: ChatServer, tmp_path: Path
):
    told = judged(tmp_path, server, "")

    assert told.exit_code == 1
    assert "pair under kind: no verdict, refused: the judge declined" in told.stdout


def test_no_answer_of_the_fallback_is_kept_as_the_judges(server: ChatServer, tmp_path: Path):
    kept = ("--ledger", tmp_path / "cases.sqlite")
    judged(tmp_path, server, LENIENT, *kept)
    asked = len(server.asked)

    told = judged(tmp_path, server, "", *kept)

    assert told.exit_code == 1
    assert len(server.asked) == asked
    assert judged(tmp_path, server, LENIENT, *kept).exit_code == 0
    assert len(server.asked) == asked


def test_another_judge_is_asked_as_the_recipe_asks_its_own(server: ChatServer, tmp_path: Path):
    model = ("--model", "openai:lenient", "--endpoint", server.url)

    told = judged(tmp_path, server, "", *model)

    assert told.exit_code == 0, told.output
    assert {body["model"] for body in server.asked} == {"lenient"}
