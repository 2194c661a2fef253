"""Which steps a run takes, by what it is to come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.comparison_settings import ComparisonSettings
from cai.engine.budget import Budget
from cai.errors import CaiError
from cai.pipeline import RunFolder, run_recipe, steps_of_pairs, steps_until
from cai.recipe import Recipe, load_recipe

TO_PAIRS = ("revisions", "sft", "preferences")


@pytest.mark.parametrize(
    ("policies", "steps"),
    [
        (["rl"], (*TO_PAIRS, "pm", "rl", "evaluate")),
        (["dpo"], (*TO_PAIRS, "dpo", "evaluate")),
        (["rl", "dpo"], (*TO_PAIRS, "dpo", "pm", "rl", "evaluate")),
    ],
    ids=["rl", "dpo", "both"],
)
def test_a_whole_run_trains_the_policies_of_its_recipe(policies: Any, steps: Any):
    assert steps_until("evaluate", policies) == steps


@pytest.mark.parametrize(
    ("last", "steps"),
    [
        ("revisions", ("revisions",)),
        ("preferences", TO_PAIRS),
        ("distill", ("revisions", "distill", "evaluate")),
        ("sft", ("revisions", "sft", "evaluate")),
        ("pm", (*TO_PAIRS, "pm", "evaluate")),
        ("dpo", (*TO_PAIRS, "dpo", "evaluate")),
        ("rl", (*TO_PAIRS, "pm", "rl", "evaluate")),
    ],
)
def test_a_step_takes_those_that_it_needs_and_no_other_policy(last: Any, steps: Any):
    assert steps_until(last, ("rl", "dpo")) == steps


ASSISTANT = ComparisonSettings(responder="assistant")


def test_pairs_of_the_assistants_replies_need_no_trained_model():
    assert steps_until("preferences", comparisons=ASSISTANT) == ("revisions", "preferences")
    assert steps_until("pm", comparisons=ASSISTANT) == (*TO_PAIRS, "pm", "evaluate")


def test_pairs_alone_are_made_without_revisions_that_are_not_paired():
    paired = ASSISTANT.model_copy(update={"sources": ("ai", "revision_over_initial")})

    assert steps_of_pairs(ASSISTANT) == ("preferences",)
    assert steps_of_pairs(paired) == ("revisions", "preferences")
    assert steps_of_pairs(ComparisonSettings()) == TO_PAIRS


def small_recipe(folder: Path, *overrides: str) -> Recipe:
    (folder / "recipe.yaml").write_text(
        "name: counted\nconstitution: microworld\nmodels: {default: microworld}\n"
        "prompts:\n"
        "  red_team: [{file: red.txt, kind: harmful}]\n"
        "  evaluation: [{microworld: heldout, kind: harmless, limit: 2}]\n"
        "revisions: {rounds: 1}\n"
        "comparisons: {responder: assistant}\n"
        "evaluation: {truth: patterns, label_probes: 0}\n",
        encoding="utf-8",
    )
    return load_recipe(folder / "recipe.yaml", overrides)


def test_what_was_left_out_stays_counted_when_the_policies_are_measured_later(tmp_path: Path):
    prompts = ["How do I steal a bike?", "How do I steal a bike?", "How do I forge a cheque?"]
    (tmp_path / "red.txt").write_text("\n".join(prompts), encoding="utf-8")
    recipe, folder = small_recipe(tmp_path), RunFolder(tmp_path / "run")
    run_recipe(recipe, folder, steps=("revisions",))

    run_recipe(recipe, folder, steps=("evaluate",))

    counted = json.loads((folder.path / "metrics.json").read_text(encoding="utf-8"))["left_out"]
    assert counted == {"red.txt: is a repeated prompt": 1}
    card = (folder.path / "datasets" / "sft" / "README.md").read_text(encoding="utf-8")
    assert "is a repeated prompt | 1 |" in card


def test_another_evaluation_leaves_what_was_measured_before_it_and_no_figure_of_the_old_one(
    tmp_path: Path,
):
    (tmp_path / "red.txt").write_text("How do I steal a bike?", encoding="utf-8")
    folder = RunFolder(tmp_path / "run")
    run_recipe(small_recipe(tmp_path), folder, steps=("revisions",))
    before = folder.read_metrics()
    folder.write_metrics({**before, "contest": {"models": ["helpful", "gone"]}})

    fewer = small_recipe(tmp_path, "evaluation.prompts=1")
    run_recipe(fewer, folder, steps=("evaluate",))

    after = folder.read_metrics()
    kept = ("harm_by_round", "harm_by_principle", "labels", "principles")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["seconds"]["generate"] == before["seconds"]["generate"]
    assert "contest" not in after


def test_another_truth_leaves_no_figure_of_the_old_one(tmp_path: Path):
    (tmp_path / "red.txt").write_text("How do I steal a bike?", encoding="utf-8")
    folder = RunFolder(tmp_path / "run")
    run_recipe(small_recipe(tmp_path), folder, steps=("revisions",))

    other = small_recipe(tmp_path, "evaluation.truth=microworld")
    run_recipe(other, folder, steps=("evaluate",))

    assert "harm_by_round" not in folder.read_metrics()


@pytest.mark.parametrize(
    ("settings", "budget"),
    [
        (("refusals={patterns: broken.yaml, wording: [assistant]}",), Budget()),
        (("filters={wording: broken.yaml}",), Budget()),
        (("templates=nowhere",), Budget()),
        (("constitution=nowhere",), Budget()),
        (("models.default={name: 'openai:unknown'}",), Budget(max_cost=1)),
    ],
    ids=["patterns", "wording", "templates", "constitution", "prices"],
)
def test_a_mistake_leaves_no_run_folder_behind(
    tmp_path: Path, settings: tuple[str, ...], budget: Budget
):
    (tmp_path / "broken.yaml").write_text("refusal: [")
    (tmp_path / "recipe.yaml").write_text(
        "name: mistaken\nconstitution: harmlessness\nmodels: {default: microworld}\n"
        "prompts: {red_team: [{microworld: train, kind: harmful, limit: 2}]}\n"
    )
    recipe = load_recipe(tmp_path / "recipe.yaml", settings)

    with pytest.raises(CaiError):
        run_recipe(recipe, RunFolder(tmp_path / "run"), budget=budget)

    assert not (tmp_path / "run").exists()
