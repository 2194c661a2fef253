"""Answers that people have voted on, as pairs, and a preference model that learns them first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as some

from cai.datasets.ranked_pairs import write_ranked_pairs
from cai.errors import InputError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.steps import steps_until
from cai.recipe import load_recipe
from cai.sources.votes import ranked_pairs, vote_score
from trainers.work_folder import read_record

RECIPE = """
name: small
constitution: microworld
models: {{default: microworld, base: {base}}}
prompts:
  red_team: [{{microworld: train, kind: harmful, limit: 6}}]
datasets: {{test_share: 0}}
evaluation: {{truth: microworld, label_probes: 0}}
sft: {{batch_size: 2, max_steps: 1}}
preference_pretraining: {{votes: votes.jsonl, batch_size: 2, max_steps: 2}}
preference_model: {{batch_size: 2, max_steps: 1}}
"""


def answer(text: str, votes: int, accepted: bool = False) -> dict[str, Any]:
    return {"text": text, "votes": votes, "accepted": accepted}


def question(*answers: dict[str, Any]) -> dict[str, Any]:
    return {"question": "Why?", "answers": list(answers)}


@pytest.mark.parametrize(
    ("votes", "accepted", "score"),
    [(0, False, 0), (1, False, 1), (2, False, 2), (7, False, 3), (7, True, 4), (-3, True, -1)],
)
def test_a_score_is_the_logarithm_of_votes_and_one_for_being_accepted(
    votes: int, accepted: bool, score: int
):
    assert vote_score(votes, accepted=accepted) == score


@given(some.integers(0, 10**6), some.booleans())
def test_more_votes_are_never_worth_less(votes: int, accepted: bool):
    assert vote_score(votes, accepted=accepted) <= vote_score(votes + 1, accepted=accepted)


def test_the_answer_with_the_higher_score_is_the_better_one():
    (pair,) = ranked_pairs(question(answer("so-so", 1), answer("good", 30)), 5)

    assert (pair.better, pair.worse) == ("good", "so-so")


def test_answers_of_one_score_make_no_pair():
    pairs = ranked_pairs(question(answer("a", 6), answer("b", 7), answer("c", 0)), 5)

    assert {(pair.better, pair.worse) for pair in pairs} == {("a", "c"), ("b", "c")}


def test_a_question_gives_no_more_pairs_than_told_and_always_the_same():
    row = question(*(answer(str(n), 2**n - 1) for n in range(6)))

    assert ranked_pairs(row, 2) == ranked_pairs(row, 15)[:2]
    assert len(ranked_pairs(row, 99)) == 15


def test_scores_that_are_there_already_are_taken_as_they_are():
    row = question({"text": "a", "pm_score": 2}, {"text": "b", "pm_score": -1})

    assert ranked_pairs(row, 1)[0].better == "a"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Why?", "is not an object"),
        ({"question": "Why?"}, "has no answers; its fields are question"),
        (question(answer("a", 3), answer("b", 3)), "has no two answers whose scores differ"),
        (question({"text": "a"}, answer("b", 1)), "neither pm_score nor votes"),
        (question(answer(" ", 3), answer("b", 1)), "an answer without text"),
        (question({"text": "a", "pm_score": "high"}), "pm_score 'high', no number"),
    ],
)
def test_rows_that_are_no_questions_say_why(row: Any, message: str):
    with pytest.raises(ValueError, match=message):
        ranked_pairs(row, 1)


def test_pairs_are_written_and_other_rows_counted(tmp_path: Path):
    rows = [question(answer("good", 9), answer("bad", 0)), {"question": "What?"}]
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    left_out = write_ranked_pairs(file, tmp_path / "data", per_question=1)

    written = parquet.read_table(tmp_path / "data" / "train" / "data.parquet").to_pylist()
    pair = {"prompt": "Why?", "chosen": "good", "rejected": "bad", "source": "votes"}
    assert written == [pair]
    assert left_out == {"votes.jsonl: has no answers; its fields are question": 1}


def test_a_file_of_votes_is_looked_for_beside_the_recipe(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base="microworld"))

    recipe = load_recipe(tmp_path / "recipe.yaml", ["preference_pretraining.preset=hh_rlhf", *RATE])

    assert recipe.preference_pretraining is not None
    assert recipe.preference_pretraining.votes == tmp_path / "votes.jsonl"
    assert recipe.preference_pretraining.learning_rate == pytest.approx(2e-5)


RATE = ["preference_pretraining.pretraining_learning_rate=0.0002"]


def test_a_share_of_an_unknown_rate_is_refused(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base="microworld"))

    with pytest.raises(InputError, match="give that as pretraining_learning_rate"):
        load_recipe(tmp_path / "recipe.yaml", ["preference_pretraining.preset=hh_rlhf"])


@pytest.mark.slow
def test_the_preference_model_of_a_run_learns_votes_first(tiny_model: Path, tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(base=tiny_model))
    rows = [question(answer(f"good {n}", 9), answer("bad", 0)) for n in range(4)]
    (tmp_path / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe, folder = load_recipe(tmp_path / "recipe.yaml"), RunFolder(tmp_path / "run")
    steps = [step for step in steps_until("pm", ()) if step != "evaluate"]

    run_recipe(recipe, folder, steps=steps)

    first = read_record(folder.pretrained_preference_model) or {}
    then = read_record(folder.model("pm")) or {}
    assert (first["rows"], first["models"]["base"]["name"]) == (4, str(tiny_model))
    assert then["models"]["base"]["name"] == str(folder.pretrained_preference_model)
    stamp = (folder.model("pm") / "training.json").stat().st_mtime_ns
    run_recipe(recipe, folder, steps=steps)
    assert (folder.model("pm") / "training.json").stat().st_mtime_ns == stamp
    (tmp_path / "votes.jsonl").write_text(json.dumps(rows[0]) + "\n")
    run_recipe(recipe, folder, steps=steps)
    assert (folder.model("pm") / "training.json").stat().st_mtime_ns != stamp
