"""Best-of-N in a run: a policy among those measured, and a data set; each call bought once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger, Progress
from cai.engine.budget import Budget
from cai.errors import BudgetReached, CaiError
from cai.evaluation.best_of import best_place
from cai.evaluation.intervals import mean_interval
from cai.models import local_path
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.best_of import conversation, evaluation_draws, measure_beside, open_scorer
from cai.pipeline.best_of_data import BestOfTask, foretell_best_of, generate_best_of
from cai.pipeline.evaluating import classifier_of, measure_preference_model
from cai.pipeline.forecast import forecast
from cai.pipeline.preview import Plan
from cai.pipeline.readback import read_prompt
from cai.pipeline.rerunning import Wanted, rerun
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, load_recipe, with_settings
from trainers.scoring import Scorer

PROMPTS, REPLIES = 6, 3

RECIPE = """
name: best
constitution: microworld
models: {default: microworld}
prompts:
  red_team: [{microworld: train, kind: harmful, limit: 4}]
  evaluation:
    - {microworld: heldout, kind: harmful, limit: 3}
    - {microworld: heldout, kind: harmless, limit: 3}
evaluation: {truth: microworld, best_of: 3, sampling: {max_tokens: 32}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE)
    return load_recipe(path)


@pytest.fixture(scope="module")
def done(recipe, preference_model, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """A run whose policies have learned nothing, and what measuring them has found."""
    run = RunFolder(tmp_path_factory.mktemp("done") / "run")
    shutil.copytree(preference_model, run.model("pm"))
    record = json.loads((preference_model / "training.json").read_text())
    for name in ("sl_cai", "rl_cai"):
        shutil.copytree(local_path("microworld"), run.model(name))
        (run.model(name) / "training.json").write_text(json.dumps(record | {"kind": "sft"}))
    return run.path, dict(run_recipe(recipe, run, steps=("evaluate",)))


@pytest.fixture
def run(done, tmp_path) -> RunFolder:
    return RunFolder(shutil.copytree(done[0], tmp_path / "run"))


def rows(run: RunFolder, stage: str) -> list[Any]:
    with Ledger.open(run.ledger, read_only=True) as ledger:
        return list(ledger.rows(stage))


def test_every_reply_that_was_drawn_is_a_row(run):
    drawn = rows(run, "evaluation_best_of")

    assert [row.key.sample for row in drawn] == [*range(REPLIES)] * PROMPTS
    assert {row.status for row in drawn} == {"ok"}


def test_the_first_reply_is_sl_cais_own_and_is_bought_once(run, done):
    own = {row.key.prompt_id: row.calls for row in rows(run, "evaluation_sl_cai")}
    first = {
        row.key.prompt_id: row.calls
        for row in rows(run, "evaluation_best_of")
        if row.key.sample == 0
    }

    # The same weights answer as the assistant, as SL-CAI and as RL-CAI, each with its own seeds.
    assert first == own
    assert done[1]["calls"]["made"] == PROMPTS * (3 + REPLIES - 1)


def test_best_of_n_is_measured_as_a_policy_on_the_same_prompts(done):
    stages = done[1]["stages"]

    assert list(stages) == ["helpful", "sl_cai", "rl_cai", "best_of"]
    assert stages["best_of"]["harmful_compliance"]["n"] == 3


def test_the_reply_that_is_measured_has_the_highest_score(recipe, run, done):
    with Ledger.open(run.ledger) as ledger, Progress() as progress:
        studio = Studio(recipe, run, ledger, progress)
        scorer = open_scorer(run.model("pm"))
        draws = evaluation_draws(studio, scorer)

    bests = [one.scores[best_place(one.scores)] for one in draws]
    (_, _, last) = done[1]["best_of"]["by_n"]
    assert bests == [max(one.scores) for one in draws]
    assert last["score"]["value"] == pytest.approx(sum(bests) / PROMPTS)


def test_the_trained_policy_stands_beside_it_with_its_own_score_and_kl(done):
    beside = done[1]["best_of"]["policies"]

    assert list(beside) == ["rl_cai"]
    # It has the weights of SL-CAI.
    assert beside["rl_cai"]["kl"]["value"] == pytest.approx(0, abs=1e-6)
    assert beside["rl_cai"]["score"]["n"] == PROMPTS


def test_replies_that_the_preference_model_cannot_read_are_left_out_and_counted(recipe, run):
    with Ledger.open(run.ledger) as ledger, Progress() as progress:
        studio = Studio(recipe, run, ledger, progress)
        whole = open_scorer(run.model("pm"))
        draws = evaluation_draws(studio, whole)
        # Two replies of RL-CAI at least stay short enough, or there would be no mean.
        lengths = sorted(reply_lengths(run, "evaluation_rl_cai"))
        assert lengths[1] < lengths[-1]
        read_so_much(run.model("pm"), lengths[-1] - 1)

        near = open_scorer(run.model("pm"))
        beside = measure_beside(studio, draws, classifier_of(studio), near)["policies"]["rl_cai"]
        measure_preference_model(studio, near, [])

    unread = sum(length == lengths[-1] for length in lengths)
    assert beside["score"]["n"] == PROMPTS - unread
    assert studio.left_out["a reply is longer than the preference model reads"] >= unread


def reply_lengths(run: RunFolder, stage: str) -> list[int]:
    """Tokens that the preference model has each conversation of a stage as."""
    scorer = Scorer(run.model("pm"))
    return [
        scorer.length(conversation(read_prompt(row.record["prompt"]), row.record["text"]))
        for row in rows(run, stage)
    ]


def read_so_much(model: Path, tokens: int) -> None:
    """Make of a model one that reads so many tokens."""
    config = model / "config.json"
    told = json.loads(config.read_text()) | {"max_position_embeddings": tokens}
    config.write_text(json.dumps(told))


def test_the_report_shows_both(run):
    page = run.report.read_text()

    assert "Best-of-N beside what was trained" in page
    assert "SL-CAI, best of 3" in page


def test_one_reply_is_no_choice_and_is_not_measured(recipe, run):
    one = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"best_of": 1})}
    )

    found = run_recipe(one, run, steps=("evaluate",))

    assert "best_of" not in found["stages"]
    assert "best_of" not in found


def test_the_same_reply_n_times_is_no_choice_and_the_report_says_so(recipe, run, done):
    greedy = with_settings(recipe, ("evaluation.sampling.temperature=0",), "test")
    drawn = rows(run, "evaluation_best_of")

    found = run_recipe(greedy, run, steps=("evaluate",))

    assert "best_of" not in found["stages"]
    assert rows(run, "evaluation_best_of") == drawn
    assert (
        "Best of 3 is not measured: replies were drawn at temperature 0" in run.report.read_text()
    )


def test_no_kl_is_told_of_replies_that_were_drawn_from_a_part_of_the_distribution(recipe, run):
    cut = with_settings(recipe, ("evaluation.sampling.top_p=0.9",), "test")

    found = run_recipe(cut, run, steps=("evaluate",))

    assert found["best_of"]["policies"]["rl_cai"]["kl"] is None
    assert found["best_of"]["policies"]["rl_cai"]["score"]["n"] == PROMPTS
    assert "The KL of trained policies is not measured" in run.report.read_text()


def test_without_a_preference_model_there_is_nothing_to_choose_by(recipe, run):
    shutil.rmtree(run.model("pm"))

    assert "best_of" not in run_recipe(recipe, run, steps=("evaluate",))["stages"]


def test_what_it_buys_is_foretold(recipe, run, done):
    run.ledger.unlink()

    foretold = forecast(Plan(recipe, run), ("evaluate",))

    by_part = {part.part: part.to_buy for part in foretold.parts}
    assert by_part["evaluation_best_of"] == PROMPTS * (REPLIES - 1)
    assert foretold.to_buy == done[1]["calls"]["made"]


def test_more_replies_buy_those_that_are_missing(recipe, run):
    more = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"best_of": 5})}
    )

    foretold = forecast(Plan(more, run), ("evaluate",)).to_buy
    found = run_recipe(more, run, steps=("evaluate",))

    assert found["calls"]["made"] == foretold == PROMPTS * 2
    assert [point["n"] for point in found["best_of"]["by_n"]] == [1, 2, 4, 5]


def test_its_rows_can_be_made_again_with_other_settings(run):
    rerun(run, Wanted(("ok",), "evaluation_best_of", ("evaluation.sampling.max_tokens=1",)))

    assert {row.record["stop_reason"] for row in rows(run, "evaluation_best_of")} == {"length"}
    assert run.read_metrics()["stages"]["best_of"]["helpfulness"]["value"] == 0


def test_a_reply_made_again_brings_every_figure_that_it_is_part_of_up_to_date(run, done):
    before = run.read_metrics()
    stale = {"pm": {**before["pm"], "left_out": 999}, "contamination": {"words": 99}}
    run.write_metrics({**before, **stale})
    card = run.model("sl_cai") / "README.md"
    told = card.read_text()
    card.write_text("stale")

    rerun(run, Wanted(("ok",), stage="evaluation_sl_cai"))

    after = run.read_metrics()
    names = ("pm", "contamination", "stages", "best_of")
    assert {name: after[name] for name in names} == {name: done[1][name] for name in names}
    assert card.read_text() == told


def task(recipe: Recipe, run: RunFolder, replies: int = 4) -> BestOfTask:
    return BestOfTask(recipe, run, "sl_cai", replies)


def dataset(run: RunFolder) -> list[dict[str, Any]]:
    files = sorted(run.dataset("best_of").glob("*/data.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def test_the_data_set_has_every_reply_with_its_score_and_learns_from_the_best(recipe, run):
    written = generate_best_of(task(recipe, run))

    made = dataset(run)
    assert sum(written.rows.values()) == len(made) == 4
    for row in made:
        scores = {reply["sample"]: reply["score"] for reply in row["replies"]}
        texts = {reply["sample"]: reply["text"] for reply in row["replies"]}
        assert sorted(scores) == [0, 1, 2, 3]
        assert row["score"] == scores[row["best"]] == max(scores.values())
        assert row["messages"][-1] == {"role": "assistant", "content": texts[row["best"]]}
    assert written.best_score == pytest.approx(sum(row["score"] for row in made) / 4)
    assert written.intervals["best_score"] == mean_interval([row["score"] for row in made])
    assert 0 <= written.kl <= written.kl_bound


def test_the_data_set_has_a_card_and_leaves_the_figures_of_the_run(recipe, run, done):
    generate_best_of(task(recipe, run))

    assert "finetuning" in (run.dataset("best_of") / "README.md").read_text()
    assert run.read_metrics()["stages"] == done[1]["stages"]
    assert run.read_metrics()["best_of_data"]["replies"] == 4


def test_what_the_data_set_buys_is_foretold_and_bought_once(recipe, run):
    foretold = foretell_best_of(task(recipe, run)).to_buy

    made = [generate_best_of(task(recipe, run)).made for _ in range(2)]

    assert made == [foretold, 0] == [16, 0]
    assert foretell_best_of(task(recipe, run, replies=6)).to_buy == 4 * 2


def test_a_generation_that_was_stopped_goes_on(recipe, run):
    with pytest.raises(BudgetReached):
        generate_best_of(task(recipe, run), budget=Budget(None, 5))

    assert not run.dataset("best_of").exists()
    assert generate_best_of(task(recipe, run)).made == 16 - 5


def test_replies_that_cannot_be_used_are_counted(recipe, run):
    short = with_settings(recipe, ("comparisons.sampling.max_tokens=8",), "test")

    with pytest.raises(CaiError, match="replies that ended as truncated: 16"):
        generate_best_of(task(short, run))


def test_a_rerun_of_failed_rows_leaves_those_of_the_data_set_to_their_command(recipe, run):
    short = with_settings(recipe, ("comparisons.sampling.max_tokens=8",), "test")
    with pytest.raises(CaiError):
        generate_best_of(task(short, run))

    assert rerun(run, Wanted(("truncated",))).rows == 0


@pytest.mark.parametrize(
    ("missing", "command"), [("pm", "cai train pm"), ("sl_cai", "cai train sft")]
)
def test_a_run_without_what_it_needs_is_told_how_to_get_it(recipe, run, missing, command):
    shutil.rmtree(run.model(missing))

    with pytest.raises(CaiError, match=f"no trained {missing} yet; make it with: {command}"):
        generate_best_of(task(recipe, run))


def test_the_command_says_what_it_has_made(recipe, run):
    arguments = ["generate", "best-of", run.recipe, "--run", run.path, "--n", "4"]

    done = CliRunner().invoke(app, [str(argument) for argument in arguments])

    assert done.exit_code == 0, done.output
    assert str(run.dataset("best_of") / "train") in done.stdout
    assert "nats, at most 0.636" in done.stdout
