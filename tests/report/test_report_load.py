import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cai.errors import InputError, RunError
from cai.report.load import load_run

WriteRun = Callable[..., Awaitable[None]]


async def test_a_row_goes_from_prompt_to_last_revision(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    trace = next(row.trace for row in load_run(tmp_path).rows if row.trace)

    assert [revision.round for revision in trace.revisions] == [1, 2]
    assert [text.split()[0] for text in trace.texts] == ["Take", "Ask", "Ask"]


async def test_half_of_the_sampled_rows_are_revised_and_half_compared(
    tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path)

    rows = load_run(tmp_path).rows

    assert [row.trace is not None for row in rows] == [True] * 10 + [False] * 10
    assert [row.comparison is not None for row in rows] == [False] * 10 + [True] * 10


async def test_sampled_labels_are_a_models_not_peoples(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path, label_source="human")

    rows = load_run(tmp_path).rows

    assert len(rows) == 12
    assert all(row.comparison is None for row in rows)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match=r"is not a run folder: it has neither metrics\.json"):
        load_run(tmp_path)


def test_broken_metrics_are_refused_with_every_fault(tmp_path: Path, metrics: dict[str, Any]):
    metrics["labels"]["brier"] = "low"
    metrics["harm_by_round"][1] = {"value": 0.5}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))

    with pytest.raises(InputError) as caught:
        load_run(tmp_path)

    assert {fault.field for fault in caught.value.faults} >= {"labels.brier", "harm_by_round.1.low"}


def test_metrics_that_are_no_json_are_refused_by_file(tmp_path: Path):
    (tmp_path / "metrics.json").write_text('{"run": ')

    with pytest.raises(InputError, match=r"metrics\.json: is not JSON"):
        load_run(tmp_path)


def test_keys_of_other_readers_are_let_through(tmp_path: Path):
    (tmp_path / "metrics.json").write_text('{"elo": {"rl_cai": 120}}')

    assert not load_run(tmp_path).metrics.stages


def test_a_torn_training_log_is_refused_by_line(tmp_path: Path):
    write_log(tmp_path, '{"step": 1, "reward": 0.5}\n{"step": 2, "rew')

    with pytest.raises(InputError, match="line 2: is no log entry with a step"):
        load_run(tmp_path)


def test_a_step_logged_again_after_a_resumption_counts_once(tmp_path: Path):
    write_log(tmp_path, '{"step": 1, "reward": 0.5}\n{"step": 2}\n{"step": 1, "reward": 0.7}\n')

    steps = load_run(tmp_path).training

    assert [(step.step, step.figures) for step in steps] == [
        (1, {"step": 1, "reward": 0.7}),
        (2, {"step": 2}),
    ]


def write_log(run: Path, text: str) -> None:
    (run / "metrics.json").write_text("{}")
    folder = run / "models" / "rl_cai"
    folder.mkdir(parents=True)
    (folder / "training_log.jsonl").write_text(text)
