"""Summaries of posts, from the shipped constitution and example, in the frame of RLAIF."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import orjson
import pytest

from cai.constitution import STAGES, load_constitution
from cai.engine import Ledger
from cai.pipeline import RunFolder, run_recipe
from cai.prompts import Prompts
from cai.recipe import load_recipe
from cai.records import Message, Prompt, Rating, RowKey
from cai.sources import PromptSet, read_prompts
from cai.stages.setting import Setting
from cai.stages.shown import shown_calls

EXAMPLE = Path(__file__).parents[1] / "examples" / "summarization.yaml"
RLAIF = EXAMPLE.parent / "papers" / "rlaif.yaml"
POST = Prompt((Message("user", "POST: I lost my keys.\n\nTL;DR:"),), "posts")

TINY = (
    "models.default=microworld",
    "models.base=microworld",
    "comparisons.responder=assistant",
    "comparisons.minimum_mass=0",
    "evaluation.label_probes=0",
    "revisions.critique=false",
    "revisions.sampling.max_tokens=64",
    "comparisons.sampling.max_tokens=64",
)


@pytest.mark.parametrize("name", ["helpfulness", "summarization"])
def test_each_principle_has_a_text_for_every_stage(name: str):
    constitution = load_constitution(name)

    assert all(set(one.stages) == {*STAGES} for one in constitution.principles)
    assert all(one.rationale and one.contrast for one in constitution.principles)


def test_the_axes_are_those_of_the_papers_raters():
    ids = [one.id for one in load_constitution("summarization").principles]

    assert ids == ["coherence", "accuracy", "coverage", "overall"]


@pytest.mark.parametrize("recipe", [EXAMPLE, RLAIF], ids=["example", "paper"])
def test_a_recipe_in_the_detailed_frame_asks_about_all_axes_at_once(recipe: Path):
    """The paper's preamble defines them all for one question; see its Table 16."""
    setting = Setting(load_constitution(load_recipe(recipe).constitution), Prompts())
    posts = [Prompt((Message("user", f"POST: {n} keys.\n\nTL;DR:"),), "posts") for n in range(20)]

    drawn = [
        setting.draw(stage, post, RowKey(stage, post.id), 0)
        for stage in ("comparison", "revision")
        for post in posts
    ]

    assert {one.id for one in drawn} == {"overall"}
    statement = drawn[0].statement or ""
    assert all(axis in statement for axis in ("coherent", "accurate", "covers what matters"))


@pytest.mark.parametrize("name", ["helpfulness", "summarization"])
def test_every_stage_can_show_what_it_sends_in_the_frame(name: str):
    prompts = Prompts(family="completion", frame="rlaif-detailed")
    constitution = load_constitution(name)
    principle = constitution.principles[0]

    calls = list(shown_calls(POST, Setting(constitution, prompts), principle=principle))

    framed = [one for one in calls if one.call.startswith(("comparison", "reasoning", "rating"))]
    assert len(framed) == 5
    assert principle.statement
    assert all(principle.statement in one.messages[0].content for one in framed)


def test_the_posts_of_the_example_are_prompts():
    recipe = load_recipe(EXAMPLE)

    read = [
        one
        for sets in (recipe.prompts.red_team, recipe.prompts.evaluation)
        for one in read_prompts(sets[0], recipe.seed)
    ]

    prompts = [one for one in read if isinstance(one, Prompt)]
    assert len(prompts) == len(read) == 16
    assert all(one.messages[-1].content.endswith("\n\nTL;DR:") for one in prompts)


def test_posts_of_a_data_set_are_read_as_the_commented_lines_say(tmp_path: Path):
    folder = tmp_path / "tldr"
    folder.mkdir()
    row = {"prompt": "POST: I lost my keys.\n\nTL;DR:", "completion": "Keys lost."}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")

    (read,) = read_prompts(PromptSet(dataset=str(folder), column="prompt", kind="harmless"), 0)

    assert isinstance(read, Prompt)
    assert read.messages == POST.messages


def run(folder: Path, *settings: str) -> tuple[RunFolder, list[dict[str, object]]]:
    """The example on the microworld, and the requests of its labels."""
    shutil.copytree(EXAMPLE.parent, folder / "examples")
    recipe = load_recipe(folder / "examples" / EXAMPLE.name, [*TINY, *settings])
    made = RunFolder(folder / "run")
    run_recipe(recipe, made, steps=("revisions", "preferences"))
    with Ledger.open(made.ledger, read_only=True) as ledger:
        rows = [row for row in ledger.rows("comparison") if row.status == "ok"]
        calls = [ledger.call(call) for row in rows for call in row.calls]
    return made, [orjson.loads(call.request) for call in calls if call and call.kind == "weigh"]


def test_the_example_labels_with_one_and_two(tmp_path: Path):
    _, asked = run(tmp_path, "comparisons.label={frame: rlaif-detailed}")

    assert asked
    assert all(one["options"] == ["1", "2"] for one in asked)
    assert all("Preferred Summary=" in str(one["messages"]) for one in asked)
    assert all("SUBREDDIT: r/" in str(one["messages"]) for one in asked)


def test_summaries_can_be_scored_in_the_frame(tmp_path: Path):
    made, asked = run(tmp_path, "comparisons.label={frame: rlaif-base, way: rating}")

    with Ledger.open(made.ledger, read_only=True) as ledger:
        records = [row.record for row in ledger.rows("comparison") if row.record]
    assert asked
    assert all(str(one["messages"]).count("Score=") >= 1 for one in asked)
    expected = [Rating(**rating).expected for one in records for rating in one["ratings"]]
    assert all(1 <= score <= 10 for score in expected)
