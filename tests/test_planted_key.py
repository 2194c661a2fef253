"""A key is planted, every server repeats it wherever it can, and nothing that is written has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger
from tests.loopback import LoopbackHandler, LoopbackServer, serving

KEY = "planted-4c1f77e0-never-written"

RECIPE = """
name: planted
constitution: harmlessness
models:
  default:
    name: "{name}"
    endpoint: {url}
    api_key_env: PLANTED_KEY
  base: microworld
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
revisions: {{rounds: 1}}
engine: {{in_flight: 2, attempts: 3}}
"""

DEBUGGED = """
import logging
logging.basicConfig(level=logging.DEBUG)
from cai.cli import main
main()
"""

ANSWERED = 10
"""Requests after which the key is refused."""


class EchoingServer(LoopbackServer):
    """Speaks chat completions and messages, and repeats the key in all that it says."""

    def __init__(self) -> None:
        super().__init__(Handler)
        self.asked = 0


class Handler(LoopbackHandler):
    server: EchoingServer

    def do_POST(self) -> None:
        self.read_body()
        key = self.headers.get("Authorization") or self.headers.get("x-api-key") or "none"
        assert KEY in key
        self.server.asked += 1
        status, body = self.said(self.server.asked, f"You sent {key}.")
        self.answer(body, status, {"X-Echo": key})

    def said(self, number: int, words: str) -> tuple[int, bytes]:
        if number > ANSWERED:
            return 401, self.fault(f"Incorrect API key. {words}", "authentication_error")
        if number == 2:
            return 503, self.fault(f"Overloaded. {words}", "overloaded_error")
        if number == 4:
            return 400, self.fault(
                f"prompt is too long: maximum context length. {words}", "invalid"
            )
        if number == 5:
            return 200, b"no JSON: " + words.encode()
        return 200, orjson.dumps(self.reply(words))

    def reply(self, words: str) -> object:
        if self.path.endswith("/messages"):
            content = [{"type": "text", "text": words}]
            usage = {"input_tokens": 3, "output_tokens": 5}
            head = {"id": "m", "type": "message", "role": "assistant", "model": words}
            return {**head, "content": content, "stop_reason": "end_turn", "usage": usage}
        message = {"role": "assistant", "content": words}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        head = {"id": "c", "object": "chat.completion", "created": 1, "model": words}
        return {**head, "choices": [choice], "usage": usage}

    def fault(self, words: str, kind: str) -> bytes:
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": words}})


@pytest.fixture
def server() -> Iterator[EchoingServer]:
    with serving(EchoingServer()) as server:
        yield server


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("openai:m", "/v1"),
        ("anthropic:claude-opus-4-5", ""),
        ("langchain:openai:gpt-4o", "/v1"),
    ],
    ids=["openai", "anthropic", "langchain"],
)
def test_nothing_that_is_written_has_the_key(
    server: EchoingServer, tmp_path: Path, name: str, path: str
):
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE.format(name=name, url=server.url + path))
    questions = (f"How do I break window {number}?\n" for number in range(60))
    recipe.with_name("prompts.txt").write_text("".join(questions))

    done = subprocess.run(
        [sys.executable, "-c", DEBUGGED, "run", recipe, "--run", run, "--until", "revisions"],
        env={"PLANTED_KEY": KEY, "OPENAI_LOG": "debug", "ANTHROPIC_LOG": "debug"},
        capture_output=True,
        text=True,
    )
    printed = done.stdout + done.stderr
    for command in (["rows", "list"], ["rows", "show"], ["runs", "status"], ["report"]):
        more = ["response/"] if command[-1] == "show" else []
        printed += CliRunner().invoke(app, [*command, str(run), *more]).output

    assert done.returncode == 1
    assert "Incorrect API key. You sent" in printed
    assert "DEBUG" in printed
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        ends = {row.status: row for row in ledger.rows()}
        assert "You sent" in ends["ok"].record["text"]
        assert "You sent" in ends["filtered"].reason
    assert {path.name for path in run.iterdir()} >= {"ledger.sqlite", "log.jsonl", "report.html"}
    assert KEY not in printed
    files = [path for path in run.rglob("*") if path.is_file()]
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []
