"""A whole run whose calls go to Anthropic's API, over its real SDK, from the command line."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fake_anthropic import KEY
from tests.processes import running

RECIPE = """
name: claude
constitution: harmlessness
models:
  default:
    name: anthropic:claude-opus-5
    endpoint: {address}
    api_key_env: PLANTED_KEY
    label_samples: 3
  base: microworld
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
revisions: {{rounds: 2}}
comparisons: {{responder: assistant}}
"""
CAI = (sys.executable, "-c", "from cai.cli import main; main()")


@dataclass(frozen=True)
class Claude:
    """A recipe in a folder, and a server in a process that is overloaded every fifth time."""

    folder: Path

    def cai(self, *arguments: str) -> str:
        """What the command and the SDK's own log print, which hold no key."""
        done = subprocess.run(
            [*CAI, *arguments, "--run", "run"],
            cwd=self.folder,
            env={"PLANTED_KEY": KEY, "ANTHROPIC_LOG": "debug", "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed[-3000:]
        return printed

    def calls(self) -> list[dict[str, object]]:
        address = f"file:{self.folder}/run/ledger.sqlite?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as ledger:
            return [
                {"kind": kind, **json.loads(response)}
                for kind, response in ledger.execute("SELECT kind, response FROM calls")
            ]

    def files_with(self, text: str) -> list[str]:
        files = [path for path in (self.folder / "run").rglob("*") if path.is_file()]
        assert len(files) > 3
        return [path.name for path in files if text.encode() in path.read_bytes()]


@pytest.fixture
def claude(tmp_path: Path) -> Iterator[Claude]:
    server = [sys.executable, "-m", "tests.fake_anthropic"]
    with running(server, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        (tmp_path / "recipe.yaml").write_text(RECIPE.format(address=address))
        questions = (f"How do I break window {number}?\n" for number in range(8))
        (tmp_path / "prompts.txt").write_text("".join(questions))
        yield Claude(tmp_path)


def test_revisions_are_written_with_a_model_of_anthropics(claude: Claude):
    printed = claude.cai("run", "recipe.yaml", "--until", "revisions", "--limit", "3")

    assert {call["stop_reason"] for call in claude.calls()} == {"stop"}
    assert len(claude.calls()) >= 5
    assert list((claude.folder / "run/datasets/sft").rglob("*.parquet"))
    assert KEY not in printed
    assert claude.files_with(KEY) == []


def test_labels_are_kept_with_the_samples_that_they_are_made_of(claude: Claude):
    printed = claude.cai("generate", "comparisons", "recipe.yaml", "--shard", "1/1")

    weighed = [call for call in claude.calls() if call["kind"] == "weigh"]
    assert weighed
    assert {(call["method"], call["samples"]) for call in weighed} == {("samples", 3)}
    assert all(call["standard_error"] for call in weighed)
    assert "529" in printed
    assert KEY not in printed
    assert claude.files_with(KEY) == []


def test_the_hosted_example_suits_a_claude_that_takes_no_sampling(claude: Claude):
    example = Path(__file__).parents[1] / "examples" / "hosted.yaml"
    address = (claude.folder / "recipe.yaml").read_text().partition("endpoint: ")[2].split()[0]
    model = {
        "name": "anthropic:claude-sonnet-5-5",
        "endpoint": address,
        "api_key_env": "PLANTED_KEY",
    }
    named = [f"--set=models.default.{field}={value}" for field, value in model.items()]

    few = ("--limit", "1", "--set=evaluation.label_probes=2")
    claude.cai("run", str(example), *named, "--until", "revisions", *few)

    assert {call["kind"] for call in claude.calls()} == {"complete", "weigh"}
