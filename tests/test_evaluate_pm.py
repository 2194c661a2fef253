"""`cai evaluate pm`, as a user starts it: on a run, on a folder, on files of other tools."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cai.cli import app
from cai.errors import CaiError
from tests.trainers_support import HARSH, KIND, assistant, user, write


def evaluate(*arguments: str | Path) -> Result:
    asked = ["evaluate", "pm", *map(str, arguments)]
    return CliRunner().invoke(app, asked, catch_exceptions=False, env={"COLUMNS": "120"})


def figures(*arguments: str | Path) -> Any:
    return json.loads(evaluate(*arguments, "--json").stdout)


def lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_file_of_plain_pairs_is_scored(preference_model: Path, tmp_path: Path):
    row = {"prompt": "Question 1", "chosen": KIND, "rejected": HARSH}
    data = lines(tmp_path / "pairs.jsonl", [row, {**row, "chosen": HARSH, "rejected": KIND}])

    found = figures(preference_model, "--data", data)

    assert found["accuracy"]["value"] == 0.5
    assert list(found["by_source"]) == ["pairs.jsonl"]
    assert list(found["by_length"]) == ["less than half as long", "over twice as long"]


def test_labels_and_sources_of_rows_are_kept(preference_model: Path, tmp_path: Path):
    row = {"prompt": "Question 1", "chosen": KIND, "rejected": HARSH}
    rows = [{**row, "p_chosen": 0.8, "source": "ai"}, {**row, "p_chosen": 0.5, "source": "human"}]

    found = figures(preference_model, "--data", lines(tmp_path / "pairs.jsonl", rows))

    assert (found["n"], found["undecided"], list(found["by_source"])) == (1, 1, ["ai"])
    assert found["ece"] < 0.2


def test_pairs_of_the_papers_questions_are_scored_and_other_questions_counted(
    preference_model: Path, tmp_path: Path
):
    head = "Consider.\n\nHuman: Question 1\n\nAssistant:\n\nWhich is better?"
    pair = f"{head} Options:\n (A) [[[{KIND}]]]\n (B) [[[{HARSH}]]]\n\nThe answer is:"
    choice = f"{head} Options:\n (A) harmful\n (B) ethical\n\nThe answer is:"
    rows = [
        {"prompt": text, "corrects": [" (A)"], "incorrects": [" (B)"], "tags": ["honest"]}
        for text in (pair, choice)
    ]

    found = figures(preference_model, "--data", lines(tmp_path / "hhh.jsonl", rows))

    assert (found["n"], found["accuracy"]["value"], list(found["by_tag"])) == (1, 1, ["honest"])
    assert found["left_out"] == {"a question whose options are no replies": 1}


def test_a_run_is_scored_on_its_own_test_split(preference_model: Path, tmp_path: Path):
    shutil.copytree(preference_model, tmp_path / "models" / "pm")
    (tmp_path / "ledger.sqlite").touch()
    row = {
        "prompt": [user("Why?"), assistant("Yes."), user("Question 1")],
        "chosen": [assistant(KIND)],
        "rejected": [assistant(HARSH)],
        "p_chosen": 0.9,
        "source": "ai",
    }
    write(tmp_path / "datasets" / "preferences" / "test", [row])

    found = figures(tmp_path)

    assert (found["n"], list(found["by_turns"]), list(found["by_source"])) == (1, ["2"], ["ai"])


def test_harmful_and_harmless_prompts_of_the_microworld_are_told_apart(preference_model: Path):
    found = figures(preference_model, "--data", "microworld:heldout", "--limit", "8")

    assert {name: part["n"] for name, part in found["by_tag"].items()} == {
        "harmful": 8,
        "harmless": 8,
    }


def test_the_kind_of_a_row_is_a_tag(preference_model: Path, tmp_path: Path):
    row = {"prompt": "Question 1", "chosen": KIND, "rejected": HARSH, "kind": "harmful"}

    found = figures(preference_model, "--data", lines(tmp_path / "pairs.jsonl", [row]))

    assert list(found["by_tag"]) == ["harmful"]


def test_rows_that_cannot_be_scored_are_counted(preference_model: Path, tmp_path: Path):
    row = {"prompt": "Question 1", "chosen": KIND, "rejected": HARSH}
    rows = [row, {**row, "chosen": "word " * 600}, {"prompt": "Why?", "chosen": KIND}]

    found = figures(preference_model, "--data", lines(tmp_path / "pairs.jsonl", rows))

    assert found["n"] == 1
    assert found["left_out"] == {
        "pairs.jsonl: has no rejected; its fields are prompt, chosen": 1,
        "a side is longer than the model reads": 1,
    }


def test_the_tables_tell_what_was_found(preference_model: Path):
    shown = evaluate(preference_model, "--data", "microworld:heldout", "--limit", "20").stdout

    for text in ("accuracy (a tie counts half)", "Calibration", "By the lower of both scores"):
        assert text in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["somewhere"], "somewhere is no run with pairs of its own; name some with --data FILE"),
        (
            ["somewhere", "--data", "x.jsonl"],
            "somewhere is no folder; a model of the hub is written",
        ),
    ],
    ids=["no data", "no model"],
)
def test_what_is_missing_is_told(arguments: list[str], message: str):
    with pytest.raises(CaiError, match=message):
        evaluate(*arguments)


def test_a_run_without_a_preference_model_says_how_to_make_it(tmp_path: Path):
    (tmp_path / "ledger.sqlite").touch()

    with pytest.raises(CaiError, match="has no preference model yet; train it with: cai train pm"):
        evaluate(tmp_path)


def test_help_shows_an_example():
    assert "cai evaluate pm runs/microworld" in evaluate("--help").stdout
