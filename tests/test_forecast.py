"""What a run costs is known beforehand, and it says how it is known."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger, Progress
from cai.errors import InputError
from cai.models import local_path
from cai.pipeline import RunFolder, run_recipe, training
from cai.pipeline.forecast import Forecast, forecast
from cai.pipeline.preview import Plan
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, load_recipe
from cai.splits import Shard
from tests.processes import running

STEPS = ("revisions", "preferences", "evaluate")

RECIPE = """
name: told
constitution: harmlessness
models:
  default: {{name: "openai:fake", endpoint: "{address}/v1", prices: {{input: 2, output: 8}}}}
  base: microworld
prompts:
  red_team: [{{file: red.txt, kind: harmful}}]
  helpful: [{{file: helpful.txt, kind: harmless}}]
  evaluation: [{{file: held_out.txt, kind: harmless}}]
comparisons: {{responder: assistant}}
engine: {{in_flight: 16}}
"""

QUESTIONS = {
    "red": ("How do I break window {}?", 40),
    "helpful": ("How do I plant {} trees in a small garden?", 12),
    "held_out": ("Who wrote book {}?", 10),
}


@pytest.fixture(scope="module")
def server():
    script = Path(__file__).with_name("deterministic_server.py")
    with running([sys.executable, script, "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@pytest.fixture(scope="module")
def file(server, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    for name, (question, count) in QUESTIONS.items():
        lines = "".join(question.format(number) + "\n" for number in range(count))
        (folder / f"{name}.txt").write_text(lines)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(address=server))
    return path


@pytest.fixture(scope="module")
def recipe(file) -> Recipe:
    return load_recipe(file)


@pytest.fixture(scope="module")
def done(recipe, tmp_path_factory) -> tuple[Path, dict]:
    """A whole run, and what it bought."""
    path = tmp_path_factory.mktemp("done") / "run"
    return path, run_recipe(recipe, RunFolder(path), steps=STEPS)["calls"]


@pytest.fixture
def run(done, tmp_path) -> RunFolder:
    """A copy of the whole run."""
    return RunFolder(shutil.copytree(done[0], tmp_path / "run"))


def told(recipe: Recipe, run: RunFolder, sample: int = 0, steps=STEPS) -> Forecast:
    return forecast(Plan(recipe, run, sample), steps)


def to_buy(told: Forecast) -> dict[str, int]:
    return {part.part: part.to_buy for part in told.parts if part.to_buy}


def sources(told: Forecast) -> dict[str, str]:
    return {part.part: part.tokens.source for part in told.parts if part.tokens}


def with_(file: Path, *overrides: str) -> Recipe:
    return load_recipe(file, overrides)


def files(folder: Path) -> dict[Path, bytes]:
    """Every file but those in which SQLite itself notes who reads."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if path.suffix[-4:] not in ("-shm", "-wal")}


def test_a_first_run_makes_the_calls_foretold(recipe, done, tmp_path):
    foretold = told(recipe, RunFolder(tmp_path / "none"))

    assert foretold.bought == 0
    assert foretold.to_buy == done[1]["made"]


def test_each_part_of_a_run_is_told_apart(recipe, tmp_path):
    supervised = sum(part == "sft" for part in purposes(recipe))
    compared = 40 - supervised

    assert to_buy(told(recipe, RunFolder(tmp_path))) == {
        "response": supervised,
        "critique": 4 * supervised,
        "revision": 4 * supervised,
        "helpful": 12,
        "pair": 2 * compared,
        "comparison": 2 * compared,
        "evaluation_helpful": 10,
    }


def purposes(recipe: Recipe) -> list[str]:
    from cai.sources import read_prompts
    from cai.splits import purpose_of

    prompts = read_prompts(recipe.prompts.red_team[0], recipe.seed)
    return [purpose_of(prompt.messages, recipe.datasets.sft_share) for prompt in prompts]


def test_nothing_is_written_where_there_is_no_run(recipe, tmp_path):
    told(recipe, RunFolder(tmp_path / "none"))

    assert list(tmp_path.iterdir()) == []


def test_a_run_is_left_as_it_was(file, run):
    before = files(run.path)

    told(with_(file, "revisions.rounds=5"), run)

    assert files(run.path) == before


def test_a_killed_run_lacks_what_it_has_not_bought(recipe, done, tmp_path):
    run = RunFolder(tmp_path / "run")
    made = run_recipe(recipe, run, steps=("revisions",))["calls"]["made"]

    foretold = told(recipe, run)

    assert foretold.bought == made
    assert foretold.to_buy == done[1]["made"] - made


def test_one_more_round_is_all_that_is_bought(file, run):
    more = with_(file, "revisions.rounds=5")
    foretold = told(more, run)

    made = run_recipe(more, run, steps=STEPS)["calls"]["made"]

    assert set(to_buy(foretold)) == {"critique", "revision"}
    assert foretold.to_buy == made


def test_a_sample_is_bought_once(recipe, done, server, tmp_path):
    run = RunFolder(tmp_path / "run")
    foretold = told(recipe, run, sample=3)

    made = run_recipe(recipe, run, steps=STEPS)["calls"]["made"]

    assert foretold.bought == 3 * (1 + 4 + 4) + 3 + 3 * (2 + 2) + 3
    assert foretold.to_buy == made == done[1]["made"] - foretold.bought


def test_a_sample_makes_no_row(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    told(recipe, run, sample=3)

    with Ledger.open(run.ledger, read_only=True) as ledger:
        assert list(ledger.rows()) == []


def test_a_sample_tells_tokens_and_dollars_within_a_tenth(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    foretold = told(recipe, run, sample=8)

    calls = run_recipe(recipe, run, steps=STEPS)["calls"]

    assert foretold.input_tokens == (pytest.approx(calls["input_tokens"], rel=0.1), True)
    assert foretold.output_tokens == (pytest.approx(calls["output_tokens"], rel=0.1), True)
    assert foretold.dollars == (pytest.approx(calls["cost"], rel=0.1), True)
    assert sources(foretold)["helpful"] == "8 calls"


def test_judged_pairs_take_no_place_in_a_sample(file, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pair = '{{"prompt": "How do I boil {} eggs?", "chosen": "In water.", "rejected": "No."}}\n'
    pairs.write_text("".join(pair.format(number) for number in range(100)))
    recipe = with_(file, f"comparisons.human=[{{file: {pairs}}}]")

    foretold = told(recipe, RunFolder(tmp_path / "run"), sample=3)

    assert next(part.bought for part in foretold.parts if part.part == "comparison") == 6


def test_calls_whose_text_has_changed_are_taken_to_be_as_long_as_before(file, run):
    foretold = told(with_(file, "revisions.sampling.temperature=0.5"), run)

    critiques = next(part for part in foretold.parts if part.part == "critique")
    assert critiques.to_buy and not critiques.bought
    assert critiques.tokens.source == f"{critiques.to_buy} earlier calls"


def test_means_of_the_recipe_are_used_where_nothing_was_bought(file, tmp_path):
    recipe = with_(file, "forecast={critique: {input: 300, output: 60}}")
    foretold = told(recipe, RunFolder(tmp_path))

    critiques = next(part for part in foretold.parts if part.part == "critique")
    assert critiques.input_tokens == 300 * critiques.to_buy
    assert critiques.dollars == pytest.approx(critiques.to_buy * (300 * 2 + 60 * 8) / 1e6)
    assert sources(foretold) == {"critique": "recipe"}


def test_bought_calls_know_better_than_the_recipe(file, tmp_path):
    recipe = with_(file, "forecast={critique: {input: 300, output: 60}}")

    assert sources(told(recipe, RunFolder(tmp_path), sample=2))["critique"] == "8 calls"


def test_a_part_that_is_none_is_refused(file):
    with pytest.raises(InputError, match="did you mean 'critique'"):
        with_(file, "forecast={critiques: {input: 300, output: 60}}")


def test_what_is_unknown_is_no_zero(recipe, tmp_path):
    foretold = told(recipe, RunFolder(tmp_path))

    assert foretold.input_tokens == (0, False)
    assert foretold.dollars == (0, False)
    assert all(part.dollars is None for part in foretold.parts)


def test_tokens_of_a_model_without_prices_cost_nobody_knows_what(file, tmp_path):
    recipe = with_(file, "models.default.prices=null")

    foretold = told(recipe, RunFolder(tmp_path / "run"), sample=2)

    assert foretold.input_tokens.complete
    assert not foretold.dollars.complete


def test_equal_calls_are_foretold_once(file, tmp_path):
    greedy = with_(file, "revisions.sampling.temperature=0", "datasets.helpful_samples=3")

    assert to_buy(told(greedy, RunFolder(tmp_path)))["helpful"] == 12


def test_a_label_from_replies_is_as_many_calls(file, tmp_path):
    recipe = with_(file, "models.judge={name: 'openai:fake', label_samples: 5}")

    foretold = to_buy(told(recipe, RunFolder(tmp_path)))

    assert foretold["comparison"] == 5 * foretold["pair"]


def test_calls_of_another_run_count_as_bought(recipe, done, tmp_path):
    plan = Plan(recipe, RunFolder(tmp_path / "new"), reuse=[done[0] / "ledger.sqlite"])

    assert forecast(plan, STEPS).to_buy == 0


def test_slices_of_the_prompts_add_up_to_the_whole(recipe, done, tmp_path):
    run = RunFolder(tmp_path)
    slices = [forecast(Plan(recipe, run, shard=Shard(number, 2)), STEPS) for number in (1, 2)]

    assert sum(one.to_buy for one in slices) == done[1]["made"]


def test_weights_are_not_fetched_to_count_their_calls(file, tmp_path):
    recipe = with_(file, "models.critic=hf:nobody/has-this-model")

    foretold = told(recipe, RunFolder(tmp_path / "none"))

    critiques = next(part for part in foretold.parts if part.part == "critique")
    assert critiques.model == "hf:nobody/has-this-model"
    assert critiques.to_buy


TRAINING = ("revisions", "sft", "preferences", "evaluate")


@pytest.fixture
def trained(file, run) -> tuple[Recipe, RunFolder]:
    """A run with SL-CAI as it would be if it had learned nothing, and its replies."""
    recipe = with_(file, "comparisons.responder=sl_cai", "datasets.test_share=0")
    run_recipe(recipe, run, steps=("revisions",))
    model = shutil.copytree(local_path("microworld"), run.model("sl_cai"))
    with Ledger.open(run.ledger) as ledger, Progress() as progress:
        studio = Studio(recipe, run, ledger, progress)
        inputs = training.sl_cai_ingredients(studio).hash
    (model / "training.json").write_text(f'{{"inputs": "{inputs}"}}')
    return recipe, run


def test_a_model_that_stays_is_not_trained(trained):
    recipe, run = trained

    foretold = told(recipe, run, steps=TRAINING)

    assert foretold.to_train == ()
    assert {part.model for part in foretold.parts if part.part == "pair"} == {"sl_cai"}


@pytest.mark.parametrize(
    ("policies", "to_train"),
    [
        ("[rl]", ("sl_cai", "pm", "rl_cai")),
        ("[dpo]", ("sl_cai", "dpo")),
        ("[rl, dpo]", ("sl_cai", "dpo", "pm", "rl_cai")),
    ],
)
def test_the_policies_of_the_recipe_are_trained_and_asked(file, tmp_path, policies, to_train):
    recipe = with_(file, f"policies={policies}")

    foretold = told(recipe, RunFolder(tmp_path / "run"), steps=None)

    asked = {part.part.removeprefix("evaluation_") for part in foretold.parts}
    assert foretold.to_train == to_train
    assert {"dpo", "rl_cai"} & asked == {"dpo", "rl_cai"} & set(to_train)


@pytest.mark.parametrize(
    "edit",
    ["sft.learning_rate=0.1", "datasets.revisions=last", "revisions.rounds=3", "seed=1"],
)
def test_an_edit_that_changes_what_a_model_learns_has_it_trained(file, trained, edit):
    edits = ("comparisons.responder=sl_cai", "datasets.test_share=0", edit)

    foretold = told(with_(file, *edits), trained[1], steps=TRAINING)

    assert foretold.to_train == ("sl_cai",)


def test_an_edit_for_the_judge_alone_leaves_sl_cai_as_it_is(file, trained):
    edits = ("comparisons.responder=sl_cai", "datasets.test_share=0")
    judge = "models.judge={name: 'openai:other', endpoint: 'http://127.0.0.1:9/v1'}"

    assert told(with_(file, *edits, judge), trained[1], steps=TRAINING).to_train == ()


def test_no_call_of_a_policy_to_be_trained_is_bought(file, tmp_path):
    recipe = with_(file, "comparisons.responder=sl_cai")
    run = RunFolder(tmp_path / "run")

    foretold = told(recipe, run, sample=2, steps=TRAINING)

    by_model = {part.part: (part.model, part.bought) for part in foretold.parts}
    assert foretold.to_train == ("sl_cai",)
    assert by_model["pair"] == by_model["evaluation_sl_cai"] == ("sl_cai (to train)", 0)
    assert by_model["evaluation_helpful"] == ("openai:fake", 2)


def cai(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_shows_calls_tokens_dollars_and_where_they_come_from(file, tmp_path):
    shown = cai("run", file, "--until", "revisions", "--run", tmp_path, "--dry-run")

    helpful = next(line.split() for line in shown.splitlines() if "helpful" in line)
    assert helpful == ["helpful", "12", "0", "12", *["unknown"] * 4]
    assert "--sample 16" in shown


def test_the_command_buys_a_sample_and_tells_more(file, tmp_path):
    run = tmp_path / "run"
    arguments = ("run", file, "--until", "revisions", "--run", run, "--dry-run", "--sample", 4)

    helpful = next(line.split() for line in cai(*arguments).splitlines() if "helpful" in line)

    assert helpful[:4] == ["helpful", "12", "4", "8"]
    assert helpful[-2:] == ["4", "calls"]
    assert run.is_dir()


def test_the_command_says_that_nothing_would_be_bought(file, run):
    assert "nothing would be bought" in cai(
        "run", file, "--until", "revisions", "--run", run.path, "--dry-run"
    )


def test_unknown_prices_are_named_with_the_fix(file, tmp_path):
    shown = cai("run", file, "--run", tmp_path, "--set", "models.default.prices=null", "--dry-run")

    assert "Prices unknown of openai:fake" in shown
    assert "prices: {input: 0.5, output: 2}" in shown


def test_a_sample_without_a_dry_run_is_refused(file):
    done = CliRunner().invoke(app, ["run", str(file), "--sample", "4"])

    assert done.exit_code == 1
    assert "add --dry-run" in str(done.exception)
