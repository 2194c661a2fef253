"""Files that a recipe names are looked at before a run makes or buys anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cai.cli import app
from cai.errors import InputError
from cai.pipeline.source_check import check_sources
from cai.pipeline.steps import Step
from cai.recipe import load_recipe

RECIPE = """name: own
constitution: harmlessness
models: {{default: microworld}}
prompts:
  red_team:
    - {{file: {red_team}, kind: harmful}}
  helpful:
    - {{file: {helpful}, kind: harmless{more}}}
"""


def recipe(folder: Path, red_team: str, helpful: str = "good.txt", more: str = "") -> Path:
    (folder / "good.txt").write_text("How do I bake bread?\n")
    path = folder / "own.yaml"
    path.write_text(RECIPE.format(red_team=red_team, helpful=helpful, more=more))
    return path


def start(path: Path, *options: str) -> Result:
    command = ["run", str(path), "--run", str(path.parent / "r"), "--until", "revisions"]
    return CliRunner().invoke(app, [*command, *options])


def refusal(path: Path, *steps: Step) -> str:
    """Why these steps of a recipe would not begin; empty if they would."""
    try:
        check_sources(load_recipe(path), steps)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry-run", "run"])
def test_prompt_files_that_are_not_there_leave_no_run_behind(tmp_path: Path, dry_run: bool):
    (tmp_path / "sub.txt").mkdir()

    result = start(recipe(tmp_path, "nope.jsonl", "sub.txt"), *(["--dry-run"] if dry_run else []))

    told = str(result.exception)
    assert "line 6: prompts.red_team.0.file: nope.jsonl is not a file" in told
    assert "line 8: prompts.helpful.0.file: sub.txt is not a file" in told
    assert ("if it is still to be written" in told) == dry_run
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("empty.jsonl", "", "has no row"),
        ("numbers.jsonl", '{"prompt": 5}\n{"prompt": 6}\n', "none of its 2 rows can be used"),
        ("lines.csv", "a,b\n1,2\n", "has none of the usual columns"),
        ("odd.docx", "?", "kind '.docx'"),
    ],
)
def test_a_file_without_a_prompt_is_refused(tmp_path: Path, name: str, text: str, why: str):
    (tmp_path / name).write_text(text)

    with pytest.raises(InputError, match=why):
        check_sources(load_recipe(recipe(tmp_path, name)), ("revisions",))


def test_a_prompt_behind_rows_that_are_none_is_enough(tmp_path: Path):
    path, none = recipe(tmp_path, "late.jsonl"), '{"prompt": 5}\n' * 50
    (tmp_path / "late.jsonl").write_text(none)
    assert "none of its 50 rows can be used" in refusal(path, "revisions")

    (tmp_path / "late.jsonl").write_text(none + '{"prompt": "Why?"}\n')

    assert refusal(path, "revisions") == ""


def test_a_file_named_twice_is_told_once_with_both_places(tmp_path: Path):
    with pytest.raises(InputError) as refused:
        check_sources(load_recipe(recipe(tmp_path, "nope.txt", "nope.txt")), ("revisions",))

    told = str(refused.value)
    assert told.count("is not a file") == 1
    assert "prompts.red_team.0.file, prompts.helpful.0.file" in told


def test_what_is_measured_needs_no_file_of_what_was_learned(tmp_path: Path):
    path = recipe(tmp_path, "nope.txt")

    assert "nope.txt is not a file" in refusal(path, "revisions")
    assert refusal(path, "evaluate") == ""


def test_questions_for_a_judge_are_looked_at_before_what_they_gate_is_bought(tmp_path: Path):
    path = recipe(tmp_path, "good.txt")
    judges = "{contest: {harmlessness: {gate_data: [gone.jsonl, microworld:heldout]}}}"
    path.write_text(path.read_text() + f"evaluation: {judges}\n")

    assert "harmlessness.gate_data.0: gone.jsonl is not" in refusal(path, "revisions", "evaluate")
    assert refusal(path, "revisions") == ""


def test_a_file_to_come_is_foretold_by_its_rows_and_not_by_a_limit(tmp_path: Path):
    path = recipe(tmp_path, "good.txt", "later.txt", ", rows: 9")
    assert start(path, "--dry-run", "--limit", "5").exit_code == 0

    path = recipe(tmp_path, "good.txt", "later.txt", ", limit: 9")
    assert "later.txt is not a file" in str(start(path, "--dry-run", "--limit", "5").exception)


def test_a_forecast_tells_what_is_left_out(tmp_path: Path):
    (tmp_path / "mixed.jsonl").write_text('{"prompt": 5}\n{"prompt": "Why?"}\n{"prompt": "Why?"}\n')

    told = start(recipe(tmp_path, "mixed.jsonl"), "--dry-run").output

    assert "Left out: 1 × mixed.jsonl: is int, not a text" in told
    assert "Left out: 1 × mixed.jsonl: is a repeated prompt" in told


def test_a_forecast_of_no_call_says_so(tmp_path: Path):
    path = recipe(tmp_path, "good.txt")

    told = start(path, "--dry-run", "--set", "filters={prompt_length: {most: 1}}").output

    assert "No call would be made" in told
    assert "is in the ledger" not in told
