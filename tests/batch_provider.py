"""The fake provider as a process, and recipes whose model is asked there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from typing import Any

from tests.fake_batch_provider import KEY, RULES
from tests.processes import running

MODELS = {
    "openai": '{{name: "openai:fake", endpoint: "{address}/v1", api_key_env: TEST_KEY}}',
    "anthropic": '{{name: "anthropic:claude-opus-5", endpoint: "{address}", label_samples: 3, '
    "api_key_env: TEST_KEY}}",
}

RECIPE = """
name: batched
constitution: harmlessness
models:
  default: {model}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
  helpful: [{{file: helpful.txt, kind: harmless}}]
revisions: {{rounds: 1}}
comparisons: {{responder: assistant}}
engine: {{in_flight: 8, batches: {{first_look: 0.01, longest_pause: 0.05, settle: 0.2}}}}
"""

BATCH = "--set=models.default.batch=true"

RUN_CAI = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from cai.cli import main
main()
"""


@dataclass(frozen=True)
class Provider:
    """A provider in a process of its own, with a recipe for its model."""

    kind: str
    address: str
    folder: Path

    def rule(self, **rules: Any) -> None:
        """Have the provider do this from now on."""
        body = json.dumps(rules).encode()
        asked = urllib.request.Request(f"{self.address}/rules", data=body, method="PUT")
        urllib.request.urlopen(asked).close()

    def told(self) -> dict[str, Any]:
        """What the provider has been asked."""
        with urllib.request.urlopen(f"{self.address}/told") as reply:
            return json.load(reply)

    @property
    def paid(self) -> Counter[str]:
        """How many answers were given to each request."""
        return Counter(self.told()["paid"])

    def command(self, *arguments: object) -> list[str]:
        """The command line ``cai ARGUMENTS``."""
        return [sys.executable, "-c", RUN_CAI, *map(str, arguments)]

    def generate(self, run: Path, *more: object) -> list[str]:
        """The command that writes both data sets into a run folder."""
        whole = ("run", self.folder / "recipe.yaml", "--until", "preferences", "--shard", "1/1")
        return self.command(*whole, "--run", run, *more)


@contextmanager
def batch_provider(kind: str, folder: Path, prompts: int = 24) -> Generator[Provider, None, None]:
    """Serve until the block ends."""
    command = [sys.executable, "-m", "tests.fake_batch_provider"]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        model = MODELS[kind].format(address=address)
        (folder / "recipe.yaml").write_text(RECIPE.format(model=model))
        questions = (f"How do I break window {number}?\n" for number in range(prompts))
        (folder / "prompts.txt").write_text("".join(questions))
        (folder / "helpful.txt").write_text("How do I bake bread?\nHow do I plant a tree?\n")
        provider = Provider(kind, address, folder)
        provider.rule(**RULES)
        yield provider


def start(command: list[str]) -> AbstractContextManager[subprocess.Popen[str]]:
    """Begin a command in a process group of its own, with the key."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "TEST_KEY": KEY, "COLUMNS": "200"}
    return running(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(command: list[str], code: int = 0) -> str:
    """Run a command to its end; gives what it printed."""
    with start(command) as process:
        out, errors = process.communicate()
    assert process.returncode == code, out + errors
    assert "Traceback" not in errors
    return out + errors


def wait_until(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    """Wait for something to be so while the process lives."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ledger_of(run: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a run's ledger."""
    with closing(connect(f"file:{run}/ledger.sqlite?mode=ro", uri=True)) as ledger:
        return ledger.execute(statement).fetchall()


def calls_of(run: Path) -> list[tuple[Any, ...]]:
    """Keys, requests and answers of all calls."""
    return ledger_of(run, "SELECT key, kind, model, request, response FROM calls ORDER BY key")


def states_of(run: Path) -> Counter[str]:
    """How many batches are in which state."""
    return Counter(state for (state,) in ledger_of(run, "SELECT state FROM batches"))
