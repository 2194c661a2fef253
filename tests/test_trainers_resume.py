"""A training killed with SIGKILL goes on from its last checkpoint to the very same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cai.prompts import Prompts
from tests.processes import running
from tests.trainers_support import assistant, same_weights, user, write
from trainers.distill import Context, train_distilled
from trainers.dpo import train_dpo
from trainers.preference_model import train_preference_model
from trainers.reward import RewardSource
from trainers.rl import train_rl
from trainers.settings import (
    DistillationSettings,
    DpoSettings,
    PreferenceModelSettings,
    RlSettings,
    SftSettings,
)
from trainers.sft import train_sft
from trainers.work_folder import WorkFolder

PROGRAM = """
import json, sys, time
from pathlib import Path
from importlib import import_module
from cai.prompts import Prompts
from trainers.distill import Context
from trainers.reward import RewardSource
last, (module, train, kind, settings, *paths, out) = json.loads(sys.argv[1])
settings = getattr(import_module("trainers.settings"), kind)(**settings)
teacher_sees = [Context(Prompts())] if train == "train_distilled" else []
def report(step, total, loss):
    print("step", step, flush=True)
    if step == last:
        time.sleep(300)  # until it is killed; no longer if there is nobody left to do so
first, *judges, data = paths
rest = [RewardSource(judge) for judge in judges]
getattr(import_module(module), train)(
    first, *rest, Path(data), Path(out), settings, *teacher_sees, inputs="a", report=report
)
"""

EPOCHS = {"batch_size": 8, "epochs": 3, "save_every": 2}
RL = {"steps": 8, "prompts_per_step": 2, "max_completion_length": 6, "save_every": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "messages": [user(f"Question {n}"), assistant(f"Reply {n}")],
            "prompt": [user(f"Question {n}")],
            "chosen": [assistant(f"Reply {n}")],
            "rejected": [assistant("No.")],
            "p_chosen": n / 40,
        }
        for n in range(20)
    ]
    return write(tmp_path_factory.mktemp("data") / "train", rows)


@pytest.fixture(scope="module")
def judge(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judge") / "pm"
    settings = PreferenceModelSettings(batch_size=8)
    train_preference_model(str(tiny_model), data, out, settings, inputs="judge")
    return out


def kill_after_step(step: int, asked: list[Any]) -> None:
    """Start a training in a process of its own and kill it at a step, where it waits for that."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", PROGRAM, json.dumps([step, asked])]
    with running(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line == f"step {step}\n":
                child.kill()
                break
        child.wait(timeout=60)
    assert child.returncode == -signal.SIGKILL, "the training ended before it could be killed"


@pytest.mark.parametrize(
    ("train", "kind", "of_its_own"),
    [
        (train_sft, SftSettings, {}),
        pytest.param(
            *(train_sft, SftSettings, {"lora": {"rank": 2, "dropout": 0.1}}), marks=pytest.mark.slow
        ),
        pytest.param(train_preference_model, PreferenceModelSettings, {}, marks=pytest.mark.slow),
        (train_preference_model, PreferenceModelSettings, {"lora": {"rank": 2}}),
        pytest.param(train_dpo, DpoSettings, {}, marks=pytest.mark.slow),
        pytest.param(train_distilled, DistillationSettings, {}, marks=pytest.mark.slow),
    ],
    ids=["SFT", "SFT by LoRA", "PM", "PM by LoRA", "DPO", "a student"],
)
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    tiny_model: Path, data: Path, tmp_path: Path, train: Any, kind: Any, of_its_own: Any
):
    asked = {**EPOCHS, **of_its_own}
    base, settings, steps = str(tiny_model), kind(**asked), []
    teacher_sees = [Context(Prompts())] if train is train_distilled else []
    train(base, data, tmp_path / "whole", settings, *teacher_sees, inputs="a")
    out = tmp_path / "killed"
    names = [train.__module__, train.__name__, kind.__name__]
    kill_after_step(6, [*names, asked, base, str(data), str(out)])

    train(
        base,
        data,
        out,
        settings,
        *teacher_sees,
        inputs="a",
        report=lambda step, total, loss: steps.append(step),
    )

    assert steps[0] > 4
    assert same_weights(tmp_path / "whole", out)


@pytest.mark.parametrize(
    "how",
    [
        {"passes": 1},
        pytest.param({"passes": 2}, marks=pytest.mark.slow),
        pytest.param({"algorithm": "grpo"}, marks=pytest.mark.slow),
        {"algorithm": "ppo", "passes": 2},
        pytest.param({"algorithm": "reinforce", "generations": 2}, marks=pytest.mark.slow),
    ],
    ids=["rloo", "rloo of two passes", "grpo", "ppo", "reinforce"],
)
def test_a_killed_rl_ends_with_the_weights_of_an_undisturbed_one(
    tiny_model: Path, judge: Path, data: Path, tmp_path: Path, how: dict[str, Any]
):
    policy, asked, steps = str(tiny_model), {**RL, **how, "snapshots": 4}, []
    source, settings = RewardSource(str(judge)), RlSettings(**asked)
    train_rl(policy, source, data, tmp_path / "whole", settings, inputs="a")
    out = tmp_path / "killed"
    paths = [policy, str(judge), str(data), str(out)]
    kill_after_step(6, ["trainers.rl", "train_rl", "RlSettings", asked, *paths])

    train_rl(
        policy,
        source,
        data,
        out,
        settings,
        inputs="a",
        report=lambda step, total, loss: steps.append(step),
    )

    assert steps[0] > 4
    assert same_weights(tmp_path / "whole", out)
    kept = sorted((tmp_path / "whole" / "snapshots").iterdir())
    assert len(kept) == 3
    assert all(same_weights(one, out / "snapshots" / one.name) for one in kept)


def test_a_training_stopped_in_its_last_step_does_that_step_alone(
    tiny_model: Path, data: Path, tmp_path: Path
):
    base, settings = str(tiny_model), SftSettings(batch_size=10, save_every=2)
    train_sft(base, data, tmp_path / "whole", settings, inputs="a")
    out, steps = tmp_path / "out", []
    asked = settings.model_dump() | {"save_every": 1}

    class Stopped(Exception):
        pass

    def stop_at_the_end(step: int, total: int, loss: float | None) -> None:
        if step == total:
            raise Stopped

    with pytest.raises(Stopped):
        train_sft(base, data, out, SftSettings(**asked), inputs="a", report=stop_at_the_end)
    train_sft(
        base,
        data,
        out,
        SftSettings(**asked),
        inputs="a",
        report=lambda step, total, loss: steps.append(step),
    )

    assert steps == [2]
    assert same_weights(tmp_path / "whole", out)


def test_checkpoints_of_other_inputs_are_not_gone_on_from(tmp_path: Path):
    before = WorkFolder(tmp_path / "model", "before")
    before.open()
    (before.checkpoints / "checkpoint-2").mkdir()
    before.mark_complete(2)

    after = WorkFolder(tmp_path / "model", "after")
    after.open()

    assert after.last_checkpoint() is None


def test_a_checkpoint_that_was_half_written_is_passed_over(tmp_path: Path):
    work = WorkFolder(tmp_path / "model", "a")
    work.open()
    for step in (2, 10):
        (work.checkpoints / f"checkpoint-{step}").mkdir()
    work.mark_complete(2)

    assert work.last_checkpoint() == work.checkpoints / "checkpoint-2"


def test_the_last_checkpoint_is_the_one_with_the_highest_number(tmp_path: Path):
    work = WorkFolder(tmp_path / "model", "a")
    work.open()
    for step in (2, 10):
        (work.checkpoints / f"checkpoint-{step}").mkdir()
        work.mark_complete(step)

    assert work.last_checkpoint() == work.checkpoints / "checkpoint-10"


def test_a_model_finished_but_not_moved_is_moved_by_the_next_call(tmp_path: Path):
    work = WorkFolder(tmp_path / "model", "a")
    work.open()
    work.model.mkdir()
    work.write_record({"rows": 3})

    record = WorkFolder(tmp_path / "model", "a").finished()

    assert record == {"rows": 3, "inputs": "a"}
    assert (tmp_path / "model" / "training.json").is_file()
    assert not work.path.exists()
