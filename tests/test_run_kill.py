import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cai.datasets.parquet import folder_hash

RECIPE = """
name: killed
constitution: harmlessness
models:
  default: {{name: "openai:fake", endpoint: "{address}/v1"}}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
  helpful: [{{file: helpful.txt, kind: harmless}}]
comparisons: {{responder: assistant}}
engine: {{in_flight: 8}}
"""


@pytest.fixture
def server():
    script = Path(__file__).with_name("deterministic_server.py")
    process = subprocess.Popen([sys.executable, script, "0.005"], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def recipe(server, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(address=server))
    red_team = "".join(f"How do I break window {n}?\n" for n in range(60))
    (tmp_path / "prompts.txt").write_text(red_team)
    (tmp_path / "helpful.txt").write_text("How do I bake bread?\nHow do I plant a tree?\n")
    return path


def command(recipe: Path, run: Path) -> list[str]:
    code = "from cai.cli import main; main()"
    arguments = ["run", str(recipe), "--run", str(run), "--until", "revisions"]
    return [sys.executable, "-c", code, *arguments]


def calls_in(run: Path) -> int:
    if not (run / "ledger.sqlite").is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{run}/ledger.sqlite?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    except sqlite3.OperationalError:  # the tables are not there yet
        return 0


def answers_of(server: str) -> int:
    with urllib.request.urlopen(f"{server}/count") as response:
        return json.load(response)["answers"]


def kill_after(calls: int, recipe: Path, run: Path) -> None:
    with subprocess.Popen(command(recipe, run), stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while calls_in(run) < calls and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)


def test_a_killed_run_goes_on_and_ends_with_the_data_of_a_calm_one(server, recipe, tmp_path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    subprocess.run(command(recipe, calm), check=True, capture_output=True)
    needed = answers_of(server)

    kill_after(20, recipe, killed)
    kill_after(120, recipe, killed)
    subprocess.run(command(recipe, killed), check=True, capture_output=True)

    assert folder_hash(killed / "datasets/sft") == folder_hash(calm / "datasets/sft")
    assert calls_in(killed) == calls_in(calm) == needed
    # Only calls that a kill caught between the answer and the disk can be asked for twice.
    assert answers_of(server) <= 2 * needed + 2 * 8


def test_running_again_asks_nothing_and_says_so(server, recipe, tmp_path):
    run = tmp_path / "run"
    subprocess.run(command(recipe, run), check=True, capture_output=True)
    asked = answers_of(server)

    subprocess.run(command(recipe, run), check=True, capture_output=True)

    metrics = json.loads((run / "metrics.json").read_text())
    assert answers_of(server) == asked
    assert (metrics["calls"]["made"], metrics["calls"]["cached"]) == (0, asked)


def test_a_second_process_on_the_same_run_is_refused(server, recipe, tmp_path):
    run = tmp_path / "run"
    with subprocess.Popen(command(recipe, run), stderr=subprocess.DEVNULL) as first:
        while calls_in(run) < 5:
            assert first.poll() is None
        second = subprocess.run(command(recipe, run), capture_output=True, text=True)
        first.kill()

    assert second.returncode == 1
    assert "is in use by process" in second.stderr
    assert "Traceback" not in second.stderr
