"""Online training: pairs from snapshots of the policy, mixed with earlier ones, trained anew."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from cai.constitution import draw_many, load_constitution
from cai.datasets.parquet import folder_hash
from cai.engine import Ledger
from cai.errors import InputError
from cai.export.run_export import export_run
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.folder import ModelName
from cai.pipeline.forecast import forecast
from cai.pipeline.preview import Plan
from cai.pipeline.rerunning import Wanted, rerun
from cai.pipeline.status import read_status
from cai.pipeline.steps import in_iterations, steps_until
from cai.recipe import Recipe, load_recipe
from tests.processes import running
from tests.trainers_support import same_weights
from trainers.work_folder import read_record

RECIPE = """
name: online
constitution: microworld
models: {default: microworld}
iterations: 2
prompts:
  red_team: [{microworld: train, kind: harmful, limit: 10}]
  evaluation: [{microworld: heldout, kind: harmful, limit: 3}]
datasets: {test_share: 0, sft_share: 0.4}
revisions: {rounds: 1}
comparisons: {human: [{microworld: train, kind: harmless, limit: 4}]}
evaluation: {truth: microworld, label_probes: 0}
sft: {batch_size: 2, max_steps: 1}
preference_model: {batch_size: 2, max_steps: 2}
rl: {steps: 4, prompts_per_step: 2, generations: 2, max_completion_length: 16, snapshots: 2}
"""


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "online.yaml").write_text(RECIPE)
    return load_recipe(folder / "online.yaml", overrides)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any], int]:
    """A run of two iterations, its figures, and the calls that were foretold."""
    place = tmp_path_factory.mktemp("online")
    folder = RunFolder(place / "run")
    recipe = recipe_in(place)
    foretold = forecast(Plan(recipe, folder)).to_buy
    return folder, dict(run_recipe(recipe, folder)), foretold


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        row for file in folder.rglob("*.parquet") for row in parquet.read_table(file).to_pylist()
    ]


def test_the_loop_is_done_again_and_what_stands_before_it_is_not():
    steps = steps_until("evaluate")

    assert in_iterations(steps, 2) == (
        *((0, step) for step in ("revisions", "sft", "preferences", "pm", "rl")),
        *((1, step) for step in ("preferences", "pm", "rl", "evaluate")),
    )


def test_a_run_that_stops_before_rl_is_in_its_first_iteration():
    assert all(iteration == 0 for iteration, _ in in_iterations(steps_until("pm"), 3))


def test_later_iterations_need_a_policy_of_rl(tmp_path: Path):
    with pytest.raises(InputError, match="policies must name rl"):
        recipe_in(tmp_path, "policies=[dpo]")


def test_later_iterations_need_a_preference_model_that_learns_from_them(tmp_path: Path):
    with pytest.raises(InputError, match="each trains a preference model"):
        recipe_in(tmp_path, "rl.reward={rating: 1}")


def test_every_iteration_draws_its_principles_anew():
    constitution = load_constitution("harmlessness")

    def drawn(iteration: int) -> list[str]:
        draws = (
            draw_many(constitution, "comparison", 1, seed=0, prompt_id=str(n), iteration=iteration)
            for n in range(100)
        )
        return [principle.id for (principle,) in draws]

    same = sum(a == b for a, b in zip(drawn(0), drawn(1), strict=True))
    assert same < 100 / len(constitution.of_stage("comparison")) + 20


def test_data_and_models_of_each_iteration_have_folders_of_their_own(made):
    folder, _, _ = made

    for iteration, name in ((0, "rl_cai"), (1, "iteration-1/rl_cai")):
        assert folder.at(iteration).model("rl_cai") == folder.path / "models" / name
        assert (folder.path / "models" / name / "training.json").is_file()


def test_later_pairs_are_mixed_with_all_earlier_ones(made):
    folder, _, _ = made
    first = rows_of(folder.dataset("preferences"))
    second = rows_of(folder.at(1).dataset("preferences"))

    assert {row["iteration"] for row in first} == {0}
    assert [row for row in second if row["iteration"] == 0] == first
    assert Counter(row["source"] for row in second if row["iteration"] == 1) == {
        "ai": Counter(row["iteration"] for row in second)[1]
    }
    assert len(second) > len(first)


def test_the_replies_of_a_later_iteration_are_dealt_to_several_snapshots(made):
    folder, _, _ = made
    with Ledger.open(folder.ledger, read_only=True) as ledger:
        pairs = list(ledger.rows(stage="pair", status="ok"))
        models = {
            iteration: {row.record["model"] for row in pairs if row.key.iteration == iteration}
            for iteration in (0, 1)
        }

    assert len(models[0]) == 1
    assert len(models[1]) == 2


def test_models_start_anew_from_where_the_first_ones_started(made):
    folder, _, _ = made

    def beginnings(iteration: int, name: ModelName) -> dict[str, str]:
        record = read_record(folder.at(iteration).model(name))
        assert record is not None
        return {role: model["digest"] for role, model in record["models"].items()}

    assert beginnings(1, "rl_cai")["policy"] == beginnings(0, "rl_cai")["policy"]
    assert beginnings(1, "pm") == beginnings(0, "pm")
    assert not same_weights(folder.model("pm"), folder.at(1).model("pm"))


def test_every_policy_and_every_preference_model_is_measured(made):
    _, figures, _ = made

    assert list(figures["stages"]) == ["helpful", "sl_cai", "rl_cai", "rl_cai_1", "best_of"]
    assert [one["iteration"] for one in figures["iterations"]] == [0, 1]
    assert figures["iterations"][1]["pairs"] > figures["iterations"][0]["pairs"]


def test_the_calls_of_every_iteration_are_foretold(made):
    _, figures, foretold = made

    assert foretold == pytest.approx(figures["calls"]["made"], rel=0.1)


def test_the_same_run_again_buys_and_trains_nothing(made, tmp_path: Path):
    folder, _, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))
    recipe = recipe_in(tmp_path)

    assert forecast(Plan(recipe, copy)).to_train == ()
    again = run_recipe(recipe, copy)

    assert again["calls"]["made"] == 0
    assert all(
        same_weights(folder.at(iteration).model(name), copy.at(iteration).model(name))
        for iteration in (0, 1)
        for name in ("pm", "rl_cai")
    )


def test_a_run_that_was_stopped_in_a_later_iteration_goes_on_in_it(made, tmp_path: Path):
    folder, _, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))
    shutil.rmtree(copy.at(1).model("rl_cai"))

    assert forecast(Plan(recipe_in(tmp_path), copy)).to_train == ("iteration-1/rl_cai",)
    again = run_recipe(recipe_in(tmp_path), copy)

    assert again["calls"]["made"] == 0
    assert same_weights(folder.at(1).model("rl_cai"), copy.at(1).model("rl_cai"))


def test_rows_of_iterations_that_the_recipe_no_longer_has_are_removed(made, tmp_path: Path):
    folder, _, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))

    again = run_recipe(recipe_in(tmp_path, "iterations=1", "rl.snapshots=2"), copy)

    assert again["calls"]["made"] == 0
    assert list(again["stages"]) == ["helpful", "sl_cai", "rl_cai", "best_of"]
    with Ledger.open(copy.ledger, read_only=True) as ledger:
        assert {row.key.iteration for row in ledger.rows()} == {0}


def test_an_export_has_the_pairs_of_all_iterations(made, tmp_path: Path):
    folder, _, _ = made

    exported = export_run(folder.path, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")

    rows = len(rows_of(folder.at(1).dataset("preferences")))
    kept = sum(exported.rows["preferences"].values()) + sum(exported.left_out.values())
    assert kept == rows


def test_a_row_of_a_later_iteration_is_made_again_alone(made, tmp_path: Path):
    folder, _, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))
    before = rows_of(copy.at(1).dataset("preferences"))
    with Ledger.open(copy.ledger, read_only=True) as ledger:
        ended = {row.key.iteration for row in ledger.rows(stage="pair", status="ok")}

    redone = rerun(copy, Wanted(statuses=("ok",), stage="pair"))

    assert ended == {0, 1}
    assert redone.datasets == {"preferences": False, "iteration-1/preferences": False}
    assert rows_of(copy.at(1).dataset("preferences")) == before


def test_labels_made_again_leave_the_figures_those_of_all_iterations(made, tmp_path: Path):
    folder, figures, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))

    rerun(copy, Wanted(statuses=("ok",), stage="comparison"))

    again = copy.read_metrics()
    assert again["labels"] == figures["labels"]
    assert again["principles"] == figures["principles"]


def test_the_report_shows_every_iteration(made):
    folder, figures, _ = made
    page = folder.report.read_text()

    assert "RL-CAI, iteration 1" in page
    assert "By iteration of online training" in page
    assert read_status(folder.path).models["iteration-1/rl_cai"]
    assert list(read_status(folder.path).headline) == list(figures["stages"])


def test_an_export_has_no_pairs_of_iterations_that_the_recipe_no_longer_has(made, tmp_path: Path):
    folder, _, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))
    run_recipe(recipe_in(tmp_path, "iterations=1"), copy, steps=("revisions",))

    exported = export_run(copy.path, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")

    kept = sum(exported.rows["preferences"].values()) + sum(exported.left_out.values())
    assert kept == len(rows_of(folder.dataset("preferences")))


def test_training_an_early_model_again_leaves_the_figures_of_later_ones(made, tmp_path: Path):
    folder, figures, _ = made
    copy = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))

    again = run_recipe(recipe_in(tmp_path), copy, steps=steps_until("pm"))

    assert again["iterations"] == figures["iterations"]
    assert again["pm"] == figures["pm"]
    assert again["reward"] == figures["reward"]


def test_pairs_without_a_judge_keep_those_of_people_in_every_iteration(tmp_path: Path):
    settings = ["comparisons.sources=[canned_refusal]", "evaluation.best_of=1"]
    folder = RunFolder(tmp_path / "run")

    run_recipe(recipe_in(tmp_path, *settings), folder)

    sources = Counter(row["source"] for row in rows_of(folder.at(1).dataset("preferences")))
    assert sources["human"] == 4
    assert sources["canned_refusal"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pm", "rl_cai"])
def test_a_run_killed_in_a_later_iteration_ends_with_the_models_of_a_calm_one(
    made, tmp_path: Path, model: Any
):
    folder, figures, _ = made
    recipe_in(tmp_path)
    killed = RunFolder(tmp_path / "killed")
    command = [sys.executable, "-m", "cai", "run", str(tmp_path / "online.yaml")]
    # With calls that are bought, what a model answers does not depend on what it is batched with.
    command += ["--run", str(killed.path), "--reuse", str(folder.path)]
    training = killed.at(1).model(model).with_name(f"{model}.training")

    deadline = time.monotonic() + 240
    with running(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while not training.is_dir():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not killed.at(1).model(model).is_dir()
    subprocess.run(command, check=True, capture_output=True)

    ours, theirs = (one.at(1).dataset("preferences") for one in (killed, folder))
    assert folder_hash(ours) == folder_hash(theirs)
    assert same_weights(killed.at(1).model("rl_cai"), folder.at(1).model("rl_cai"))
    with Ledger.open(killed.ledger, read_only=True) as ledger:
        assert ledger.call_count() == figures["calls"]["made"]
