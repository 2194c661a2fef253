"""A process killed at any moment loses no finished call, and the next one goes on from there."""

import json
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cai.engine import Ledger, StoredCall
from cai.records import Row
from tests.processes import running

ROOT = Path(__file__).parent.parent
ITEMS, ROUNDS = 30, 3

RUN = f"""
import asyncio, hashlib, os, signal, sys
from pathlib import Path
from cai.engine import BoughtModel, Ledger, Tally, making, run_rows
from cai.records import Completion, Message, RowKey, Sampling, Usage

# A shell that starts jobs in the background has them ignore Ctrl-C, and they pass that on.
signal.signal(signal.SIGINT, signal.default_int_handler)

def say(word, what):
    os.write(1, f"{{word}} {{what}}\\n".encode())  # in one piece, or not at all

done, last, held = [], int(sys.argv[2]), float(sys.argv[3])

class SlowModel:
    identity = "scripted:slow"

    async def complete(self, messages, sampling):
        asked = f"{{messages[-1].content}}/{{sampling.seed}}"
        say("asked", asked)
        await asyncio.sleep(0.01 if len(done) < last else held)
        reply = hashlib.sha256(asked.encode()).hexdigest()
        return Completion(reply, "stop", Usage(1, 1), "slow-1")

    async def close(self):
        pass

async def main(path):
    with Ledger.open(path) as ledger:
        model = BoughtModel(SlowModel(), ledger, tally=Tally())

        async def step(number, log):
            text = f"prompt {{number}}"
            for round_number in range({ROUNDS}):
                key = RowKey("revision", f"p{{number:03}}", round_number)
                with making(key):
                    reply = await model.complete((Message("user", text),), Sampling(seed=number))
                say("done", reply.call)
                done.append(reply.call)
                text = reply.text
                await log.ok(key, {{"text": text}}, (reply.call,))

        await run_rows(range({ITEMS}), step, ledger=ledger, in_flight=6, stages=("revision",))

asyncio.run(main(Path(sys.argv[1])))
"""


def start(
    path: Path, last: int = ITEMS * ROUNDS, held: float = 0
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Begin a run; its calls take that many seconds once so many are done."""
    command = [sys.executable, "-c", RUN, str(path), str(last), str(held)]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    return running(command, cwd=ROOT, stdout=pipe, stderr=quiet, text=True)


def run_until_killed(
    path: Path, finished_calls: int, by: signal.Signals = signal.SIGKILL, held: float = 60
) -> list[str]:
    with start(path, finished_calls, held) as process:
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.strip())
            if sum(line.startswith("done") for line in lines) == finished_calls:
                process.send_signal(by)
        process.wait(timeout=30)
    assert process.returncode == -by
    return lines


def run_to_the_end(path: Path) -> list[str]:
    with start(path) as process:
        lines = process.communicate()[0].splitlines()
    assert process.returncode == 0
    return lines


def those(word: str, lines: list[str]) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in lines if line.startswith(word)]


def rows_of(path: Path) -> list[Row]:
    with Ledger.open(path, read_only=True) as ledger:
        return list(ledger.rows())


def asked_for(call: StoredCall | None) -> str:
    assert call is not None
    request = json.loads(call.request)
    return f"{request['messages'][-1]['content']}/{request['sampling']['seed']}"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    path = tmp_path_factory.mktemp("calm") / "ledger.sqlite"
    run_to_the_end(path)
    return rows_of(path)


@pytest.mark.parametrize("finished_calls", [1, 17, 45])
def test_a_killed_run_has_on_disk_every_call_that_it_called_finished(tmp_path, finished_calls):
    path = tmp_path / "ledger.sqlite"

    finished = those("done", run_until_killed(path, finished_calls))

    with Ledger.open(path, read_only=True) as ledger:
        assert [call for call in finished if ledger.call(call) is None] == []


@pytest.mark.parametrize("finished_calls", [1, 17, 45])
def test_after_a_kill_no_finished_call_is_repeated_and_no_row_is_missing(
    tmp_path, undisturbed, finished_calls
):
    path = tmp_path / "ledger.sqlite"
    finished = those("done", run_until_killed(path, finished_calls))
    with Ledger.open(path, read_only=True) as ledger:
        bought = {asked_for(ledger.call(call)) for call in finished}

    asked_again = those("asked", run_to_the_end(path))

    assert bought.isdisjoint(asked_again)
    assert len(undisturbed) == ITEMS * ROUNDS
    assert rows_of(path) == undisturbed


def test_a_run_killed_twice_ends_as_an_undisturbed_one(tmp_path, undisturbed):
    path = tmp_path / "ledger.sqlite"
    for _ in range(2):
        run_until_killed(path, finished_calls=20)

    run_to_the_end(path)

    assert rows_of(path) == undisturbed


def test_ctrl_c_waits_for_the_calls_under_way_and_keeps_their_answers(tmp_path, undisturbed):
    path = tmp_path / "ledger.sqlite"

    asked = those("asked", run_until_killed(path, 17, by=signal.SIGINT, held=1))
    asked_again = those("asked", run_to_the_end(path))

    assert set(asked).isdisjoint(asked_again)
    assert rows_of(path) == undisturbed
