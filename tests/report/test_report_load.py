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

    assert [(step.step, step.figures) for step in steps["rl_cai"]] == [
        (1, {"step": 1, "reward": 0.7}),
        (2, {"step": 2}),
    ]


def test_every_iteration_of_the_recipe_has_its_curves_and_what_is_left_over_has_none(
    tmp_path: Path,
):
    (tmp_path / "recipe.yaml").write_text("iterations: 2\n")
    for place in ("rl_cai", "iteration-1/rl_cai", "pm", "iteration-1/pm", "iteration-2/pm"):
        write_log(tmp_path, '{"step": 1, "loss": 0.5}\n', place)
    write_log(tmp_path, '{"step": 1, "loss": 0.5}\n', "iteration-2/rl_cai")

    found = load_run(tmp_path)

    assert list(found.training) == ["rl_cai", "iteration-1/rl_cai"]
    assert list(found.losses) == ["pm", "iteration-1/pm"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("models/rl_cai/training.json", b'{"kind": "rl', "training.json: is not JSON"),
        ("models/rl_cai/training.json", b"\xff", "training.json: is not JSON"),
        ("models/rl_cai/training.json", b"[1]", "is no record of a training, but [1]"),
        ("models/rl_cai/training_log.jsonl", b'{"step": 1}\n\xff\n', "line 2: is no log entry"),
        ("models/rl_cai/training_log.jsonl", b"[]\n", "line 1: is no log entry"),
        ("recipe.yaml", b"name: \xff\n", "which is not UTF-8 text"),
        ("recipe.yaml", b"name: [1\n", "recipe.yaml: line 2: is not valid YAML"),
        ("recipe.yaml", b"[1]\n", "recipe.yaml is no recipe, but [1]"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    tmp_path: Path, file: str, content: bytes, said: str
):
    write_log(tmp_path, '{"step": 1}\n')
    (tmp_path / file).write_bytes(content)

    with pytest.raises((InputError, RunError)) as caught:
        load_run(tmp_path)

    assert said in str(caught.value)


def write_log(run: Path, text: str, place: str = "rl_cai") -> None:
    (run / "metrics.json").write_text("{}")
    folder = run / "models" / place
    folder.mkdir(parents=True)
    (folder / "training_log.jsonl").write_text(text)
