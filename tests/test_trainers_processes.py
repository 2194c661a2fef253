"""Two processes on CPUs train what one does: the same steps on the same rows."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from cai.microworld import MODEL, sample_pairs
from tests.loopback import reserved_port
from tests.processes import kill_all, running
from tests.trainers_support import log, same_weights
from trainers.launch import launch_files
from trainers.work_folder import MARK, RECORD

pytestmark = pytest.mark.slow

ROWS = 64
STEP = ("--set", "batch_size=8")
RL = ("--set", "steps=12", "--set", "max_completion_length=24", "--set", "save_every=5")
SNAPSHOTS = ("--set", "snapshots=3")
PROMPTS = 12 * 16
CONVERSATIONS, PARTS = 2000, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with columns for every trainer: the microworld's pairs."""
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    with file.open("w") as lines:
        for prompt, chosen, rejected, p_chosen in sample_pairs("harmful", "train", ROWS):
            pair = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "p_chosen": p_chosen}
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": chosen}]
            lines.write(json.dumps({**pair, "messages": turns}) + "\n")
    return file


@pytest.fixture(scope="module")
def conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations for a teacher to read in several parts."""
    file = tmp_path_factory.mktemp("conversations") / "rows.jsonl"
    with file.open("w") as lines:
        for prompt, chosen, *_ in sample_pairs("harmless", "train", CONVERSATIONS):
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": chosen}]
            lines.write(json.dumps({"messages": turns}) + "\n")
    return file


@pytest.fixture(scope="module")
def judge(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preference model that has learned these pairs."""
    out = tmp_path_factory.mktemp("judge") / "pm"
    train(1, "trainers.preference_model", "--base", MODEL, "--data", data, "--out", out, *STEP)
    return out


def command(processes: int, arguments: Sequence[object]) -> list[str]:
    """A trainer's command, by itself or launched."""
    if processes == 1:
        return [sys.executable, "-m", *map(str, arguments)]
    return launched(processes, "-m", *arguments)


def launched(processes: int, *arguments: object) -> list[str]:
    """What the shipped settings launch: a module after ``-m``, or a file."""
    launcher = Path(sys.executable).with_name("accelerate")
    options = ("--config_file", launch_files()["cpu"], "--num_processes", processes)
    # Another launch may hold the usual port.
    options = (*options, "--main_process_port", own_port())
    return [*map(str, (launcher, "launch", *options, *arguments))]


@cache
def own_port() -> int:
    """A port for launches one after the other, which nobody else is given until the tests end."""
    held = reserved_port()
    atexit.register(held.close)
    return held.getsockname()[1]


def train(processes: int, *arguments: object) -> None:
    """Run a trainer's command to its end."""
    done = subprocess.run(
        command(processes, arguments), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def steps_told(child: subprocess.Popen[bytes]) -> Iterator[int]:
    """The steps that a running training tells of."""
    assert child.stderr is not None
    told = b""
    while letter := child.stderr.read(1):
        told = told + letter if letter != b"\r" else b""
        if told.startswith(b"step ") and letter == b"/":
            yield int(told[5:-1])


@pytest.mark.parametrize("trainer", ["sft", "distill", "preference_model", "dpo"])
def test_two_processes_have_the_losses_of_one(trainer: str, data: Path, tmp_path: Path):
    asked = (f"trainers.{trainer}", "--base", MODEL, "--data", data, *STEP)

    train(1, *asked, "--out", tmp_path / "one")
    train(2, *asked, "--out", tmp_path / "two")

    one, two = ([entry["loss"] for entry in log(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == ROWS // 8
    assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_two_processes_earn_in_rl_what_one_does_but_for_chance(
    algorithm: str, data: Path, judge: Path, tmp_path: Path
):
    asked = ("trainers.rl", "--base", MODEL, "--preference-model", judge, "--data", data)
    asked = (*asked, *RL, *SNAPSHOTS, "--set", f"algorithm={algorithm}")

    train(1, *asked, "--out", tmp_path / "one")
    train(2, *asked, "--out", tmp_path / "two")

    one, two = (mean_figures(log(tmp_path / name)) for name in ("one", "two"))
    # The four replies to a prompt are alike; at worst they tell no more than one of them does.
    chance = 4 * one["reward_std"] * (2 / PROMPTS) ** 0.5
    assert two["reward"] == pytest.approx(one["reward"], abs=chance)
    assert two["entropy"] == pytest.approx(one["entropy"], rel=0.15)
    batches = log(tmp_path / "two")
    assert mean_figures(batches[-3:])["reward"] > mean_figures(batches[:3])["reward"]
    kept = sorted((tmp_path / "two" / "snapshots").iterdir())
    assert [one.name for one in kept] == ["step-4", "step-8"]
    assert all(is_whole(one) for one in kept)
    assert not same_weights(*kept) and not same_weights(kept[-1], tmp_path / "two")


def is_whole(model: Path) -> bool:
    """Whether transformers loads a folder's model and tokenizer."""
    loaded = AutoModelForCausalLM.from_pretrained(model)
    return loaded.config.vocab_size >= len(AutoTokenizer.from_pretrained(model))


LATE = """
import time
from pathlib import Path
from accelerate import PartialState
from trainers.command import run_alone
from trainers.snapshots import write_snapshot

def main(folder: Path) -> None:
    state, deadline = PartialState(cpu=True), time.monotonic() + 60
    while not state.is_main_process and not (folder / "model").exists():
        assert time.monotonic() < deadline, "the main process has written nothing"
        time.sleep(0.01)

    def save(folder):
        if state.is_main_process:
            folder.mkdir(parents=True)
            (folder / "model").write_text("the main process's")

    write_snapshot(folder, save)
    state.wait_for_everyone()

run_alone(main)
"""
"""The other process comes to its snapshot when the main one has written it."""


def test_a_process_that_comes_late_leaves_the_snapshot_of_the_main_one(tmp_path: Path):
    program, folder = tmp_path / "late.py", tmp_path / "snapshots" / "step-1"
    program.write_text(LATE)
    folder.mkdir(parents=True)
    (folder / "of a killed process").touch()

    done = subprocess.run(launched(2, program, folder), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert [one.name for one in folder.iterdir()] == ["model"]


LOOK = """
import json
from pathlib import Path
from accelerate import PartialState
from trainers.command import run_alone
from trainers.reply_figures import reply_figures
from trainers.tracking import Standard, Tracker

class Length:
    def score(self, conversations):
        return [float(len(turns[-1]["content"])) for turns in conversations]

def main(file: Path) -> None:
    state = PartialState(cpu=True)
    mine = json.loads(file.read_text())[state.process_index :: state.num_processes]
    tracker = Tracker(Length(), standard=Standard(3.0, 2.0), train=Standard(0.0, 1.0))
    figures = {**reply_figures(mine), **tracker.figures(mine, [0.0] * len(mine))}
    name = f"{state.process_index} of {state.num_processes}.json"
    file.with_name(name).write_text(json.dumps(figures))

run_alone(main)
"""
"""What each of some processes logs of replies, of which it has drawn a share."""


END = """
import atexit
from pathlib import Path
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from trainers.command import run_alone

def main(folder: Path) -> None:
    state = PartialState(cpu=True)
    gather_object([{"process": state.process_index}])
    apart = folder / f"{state.process_index} has parted"
    atexit.register(lambda: torch.distributed.is_initialized() or apart.touch())

run_alone(main)
"""
"""A command whose last act is an exchange with the others, as a training's is."""


def test_processes_part_before_they_end(tmp_path: Path):
    program = tmp_path / "end.py"
    program.write_text(END)

    done = subprocess.run(
        launched(2, program, tmp_path), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    parted = sorted(one.name for one in tmp_path.glob("* has parted"))
    assert parted == ["0 has parted", "1 has parted"]


def test_two_processes_log_of_their_replies_what_one_does(tmp_path: Path):
    program, file = tmp_path / "look.py", tmp_path / "replies.json"
    program.write_text(LOOK)
    # Each of two processes has the replies to one prompt; of these alone no mean has an interval.
    texts = ["Why?", "No.", "Because.", "As a language model, I cannot help with that."]
    replies = [
        [{"role": "user", "content": f"Q{n % 2}"}, {"role": "assistant", "content": text}]
        for n, text in enumerate(texts)
    ]
    file.write_text(json.dumps(replies))

    for processes in (1, 2):
        asked = launched(processes, program, file)
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    one, *two = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("0 of 1", "0 of 2", "1 of 2")
    )
    assert "words_low" in one
    assert two == [pytest.approx(one)] * 2


def test_two_processes_of_ppo_log_intervals_over_all_prompts(
    data: Path, judge: Path, tmp_path: Path
):
    asked = ("trainers.rl", "--base", MODEL, "--preference-model", judge, "--data", data)
    small = ("algorithm=ppo", "steps=1", "prompts_per_step=2", "generations=1")

    train(2, *asked, "--out", tmp_path / "two", *(part for one in small for part in ("--set", one)))

    assert log(tmp_path / "two")[0].keys() >= {"words", "words_low", "words_high"}


def mean_figures(entries: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = ("reward", "reward_std", "entropy")
    return {name: sum(entry[name] for entry in entries) / len(entries) for name in names}


def test_two_processes_killed_go_on_to_the_weights_of_two_undisturbed(data: Path, tmp_path: Path):
    # 32 steps, of which it comes to few more until the kill for the fifth arrives.
    settings = (*STEP, "--set", "save_every=2", "--set", "epochs=4")
    asked = ("trainers.sft", "--base", MODEL, "--data", data, *settings)
    train(2, *asked, "--out", tmp_path / "whole")
    killed = command(2, [*asked, "--out", tmp_path / "killed"])

    with running(killed, stderr=subprocess.PIPE) as child:
        assert 5 in steps_told(child)
        kill_all(child)
    checkpoints = tmp_path / "killed.training" / "checkpoints"
    assert list(checkpoints.glob("checkpoint-*/complete"))
    assert not (tmp_path / "killed").exists()
    train(2, *asked, "--out", tmp_path / "killed")

    assert same_weights(tmp_path / "whole", tmp_path / "killed")
    assert not checkpoints.exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_teacher_that_is_killed_goes_on_behind_the_parts_that_it_has_stored(
    processes: int, conversations: Path, tmp_path: Path
):
    asked = ("trainers.distill", "--base", MODEL, "--data", conversations)
    asked = (*asked, "--set", "max_steps=2")
    killed = command(processes, [*asked, "--out", tmp_path / "killed"])
    deadline = time.monotonic() + 300

    with running(killed) as child:
        while not parts_in(tmp_path / "killed"):
            assert child.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)  # between two looks, so that the training has the core
        kill_all(child)
    stored = parts_in(tmp_path / "killed")
    assert not list(tmp_path.glob("killed-teacher/*/left_out.json"))
    train(processes, *asked, "--out", tmp_path / "killed")

    after = parts_in(tmp_path / "killed")
    assert 0 < len(stored) < len(after) == PARTS
    assert stored.items() <= after.items()
    train(1, *asked, "--out", tmp_path / "whole")
    assert rows_in(parts_in(tmp_path / "whole")) == rows_in(after)
    first, *_ = (entry["loss"] for entry in log(tmp_path / "whole"))
    assert log(tmp_path / "killed")[0]["loss"] == pytest.approx(first, abs=1e-4)


def parts_in(out: Path) -> dict[Path, int]:
    """What a teacher has stored beside a model, and when."""
    parts = out.parent.glob(f"{out.name}-teacher/*/*.parquet")
    return {part: part.stat().st_mtime_ns for part in parts}


def rows_in(parts: Iterable[Path]) -> list[tuple[list[int], list[int]]]:
    """The student's tokens and the teacher's likeliest ones, in the order of the rows."""
    rows = [row for part in sorted(parts) for row in parquet.read_table(part).to_pylist()]
    return [(row["input_ids"], row["top_ids"][:1]) for row in rows]


def test_a_finished_training_is_left_alone_by_both_processes(data: Path, tmp_path: Path):
    asked = ("trainers.sft", "--base", MODEL, "--data", data, *STEP, "--set", "max_steps=1")
    train(1, *asked, "--out", tmp_path / "model")
    # As a kill between the last step and the move would leave it.
    begun = tmp_path / "model.training"
    shutil.move(tmp_path / "model", begun / "model")
    (begun / MARK).write_text(json.loads((begun / "model" / RECORD).read_text())["inputs"])

    train(2, *asked, "--out", tmp_path / "model")

    assert len(log(tmp_path / "model")) == 1
    assert not (tmp_path / "model.training").exists()
