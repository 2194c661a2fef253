"""The code of docs/langchain.md, block by block, against loopback servers."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cai.langchain import QUESTION
from cai.models import open_model
from cai.recipe import Roles
from tests.chat_server import ChatServer, chat_server

PAGE = (Path(__file__).parents[1] / "docs/langchain.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def answer(body: dict[str, Any]) -> str:
    last = body["messages"][-1]["content"]
    if last == QUESTION or "Yes or No" in last:
        return "Yes"
    return "a revised answer" if last.endswith("Write only the new reply.") else "an answer"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[ChatServer, None, None]:
    with chat_server(answer) as running:
        monkeypatch.setenv("OPENAI_API_KEY", "no-key")
        monkeypatch.setenv("OPENAI_API_BASE", running.url)
        yield running


def test_the_python_of_the_page_runs_from_top_to_bottom(
    server: ChatServer, capsys: pytest.CaptureFixture[str]
):
    names: dict[str, Any] = {"__name__": "docs_langchain"}

    for block in blocks("python"):
        exec(compile(block, "docs/langchain.md", "exec"), names)

    printed = capsys.readouterr().out
    assert printed.count("a revised answer") == 6
    assert names["answer"].text == "a revised answer"
    assert names["result"]["initial_output"] == "an answer"
    assert [step["principle"] for step in names["result"]["critiques_and_revisions"]] == [
        "plain",
        "principle-2",
    ]
    for runnable in ("own_question", "own_rule", "always"):
        assert names[runnable].invoke("Hello").text == "a revised answer"


def test_the_models_of_the_page_are_ones_that_a_recipe_takes():
    (block,) = blocks("yaml")

    roles = Roles.model_validate(YAML(typ="safe").load(block)["models"])

    opened = {role: open_model(roles.of(role)).identity for role in ("critic", "judge", "reviser")}
    assert opened == {
        "critic": "langchain:bedrock_converse:meta.llama3-1-70b-instruct-v1:0"
        '&options={"region_name":"us-east-1"}',
        "judge": 'langchain:ollama:qwen3@http://127.0.0.1:11434&options={"num_ctx":8192}',
        "reviser": "langchain:mistralai:mistral-small-latest&label_samples=8",
    }


def test_no_block_of_the_page_is_in_a_language_that_nothing_runs():
    languages = re.findall(r"^```(\w+)$", PAGE, flags=re.MULTILINE)

    assert set(languages) == {"python", "yaml", "text"}
