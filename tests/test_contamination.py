"""What an evaluation says of training prompts that are among those it measures on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger
from cai.errors import InputError
from cai.filters.contamination import Contamination, overlap
from cai.models import ModelSettings, local_path
from cai.pipeline import RunFolder
from cai.pipeline.aside import quiet
from cai.pipeline.contamination import (
    Origins,
    held_against,
    measure_contamination,
    origins_of,
    origins_of_models,
    training_prompts,
    words_of,
)
from cai.pipeline.studio import Studio
from cai.recipe import load_recipe
from cai.records import Message
from cai.report.contamination_wording import UNKNOWN, contamination_lines
from tests.trainers_support import HARSH, KIND, assistant, user, write
from trainers.work_folder import write_record

BREAD = "How do I bake a loaf of white bread at home?"

texts = st.lists(st.sampled_from("abc"), min_size=1, max_size=6).map(" ".join)
prompts = st.lists(texts.map(lambda text: (Message("user", text),)), max_size=8)


def asked(*contents: str) -> list[tuple[Message, ...]]:
    return [(Message("user", content),) for content in contents]


def test_prompts_that_share_words_and_those_that_are_the_same_are_counted_by_set():
    training = asked("how do I bake a loaf of white bread AT home", "Say: how do I bake a loaf?")
    evaluated = {
        "bread": asked(BREAD, "How do I bake a loaf without yeast?"),
        "other": asked("Who are you?"),
    }

    found = overlap(training, evaluated, words=6).to_json()

    assert (found["training_prompts"], found["training_shared"]) == (2, 2)
    assert (found["evaluation_prompts"], found["shared"], found["identical"]) == (3, 2, 1)
    assert found["by_set"]["bread"] == {"evaluation_prompts": 2, "shared": 2, "identical": 1}
    assert found["by_set"]["other"]["shared"] == 0


@given(prompts, prompts, st.integers(1, 4))
def test_what_the_filter_would_leave_out_is_what_is_reported(
    training: list[tuple[Message, ...]], evaluated: list[tuple[Message, ...]], words: int
):
    filtering = Contamination(evaluated, words)
    left_out = [one for one in training if filtering.holds(one)]
    kept = [one for one in training if not filtering.holds(one)]

    assert overlap(training, {"set": evaluated}, words).training_shared == len(left_out)
    assert overlap(kept, {"set": evaluated}, words).by_set["set"].shared == 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with three training prompts, one of them in two data sets."""
    folder = tmp_path / "run"
    write(folder / "datasets" / "sft" / "train", [{"messages": [user(BREAD), assistant(KIND)]}])
    write(folder / "datasets" / "rl" / "train", [{"prompt": [user(BREAD)]}])
    write(folder / "datasets" / "preference_pretraining" / "train", [{"prompt": "Who are you?"}])
    later = folder / "datasets" / "iteration-1" / "preferences" / "train"
    write(later, [{"prompt": [user("Why?"), assistant("So."), user("How?")]}])
    write(folder / "datasets" / "rl" / "test", [{"prompt": [user("Held out.")]}])
    (folder / "ledger.sqlite").touch()
    return folder


def test_training_prompts_are_those_of_every_data_set_each_once(run: Path):
    found = [[one.content for one in messages] for messages in training_prompts([run])]

    assert sorted(found) == [[BREAD], ["Who are you?"], ["Why?", "So.", "How?"]]


def test_the_run_that_a_model_lies_in_is_found(run: Path, monkeypatch: pytest.MonkeyPatch):
    model = run / "models" / "iteration-1" / "rl_cai"
    model.mkdir(parents=True)
    monkeypatch.chdir(run)

    named = [str(model), "models", "microworld", "openai:gpt-5", "Qwen/Qwen3-8B"]
    found = origins_of(named)
    assert found.runs == [run.resolve()]
    assert found.unknown == ["microworld", "openai:gpt-5", "Qwen/Qwen3-8B"]


def test_the_run_that_an_adapter_lies_in_is_found(run: Path):
    adapter = run / "models" / "sl_cai"
    adapter.mkdir(parents=True)

    model = ModelSettings(name="Qwen/Qwen3-8B", adapter=str(adapter))
    found = origins_of_models([model])
    assert (found.runs, found.unknown) == ([run.resolve()], ["Qwen/Qwen3-8B"])


def learned_from(start: Path, model: Path) -> Path:
    """A model in another run, whose training began with a model."""
    model.mkdir(parents=True)
    (model.parents[1] / "ledger.sqlite").touch()
    write_record(model, {"models": {"base": {"name": str(start)}}}, model)
    return model


def test_the_run_that_a_model_started_from_is_found_however_long_ago(run: Path, tmp_path: Path):
    first = run / "models" / "sl_cai"
    first.mkdir(parents=True)
    second = learned_from(first, tmp_path / "second" / "models" / "sl_cai")
    third = learned_from(second, tmp_path / "third" / "models" / "sl_cai")

    runs = [tmp_path / name for name in ("third", "second", "run")]
    assert origins_of([str(third)]).runs == [one.resolve() for one in runs]
    assert origins_of([str(tmp_path / "third")]).runs == [one.resolve() for one in runs]


def test_a_model_trained_outside_a_run_is_told_apart_from_one_without_shared_prompts(
    run: Path, tmp_path: Path
):
    alone = tmp_path / "alone"
    alone.mkdir()
    write_record(alone, {"models": {"base": {"name": "Qwen/Qwen3-8B"}}}, alone)
    known = run / "models" / "sl_cai"
    known.mkdir(parents=True)

    found = held_against(origins_of([str(known), str(alone)]), {"set": asked("Why?")})

    assert found is not None
    assert list(contamination_lines(found.to_json())) == [
        "contamination: 0 of 1 evaluation prompts share 8 words in a row with one of 3 training "
        "prompts, 0 word for word",
        "  not compared, as no data sets are known that they learned from: alone, Qwen/Qwen3-8B",
    ]


def test_a_model_of_a_run_whose_data_sets_are_gone_is_unknown(run: Path):
    shutil.rmtree(run / "datasets")
    model = run / "models" / "sl_cai"
    model.mkdir(parents=True)

    assert origins_of([str(model)]).unknown == ["sl_cai"]


def test_an_evaluation_counts_what_the_runs_base_model_was_trained_on(run: Path, tmp_path: Path):
    base = run / "models" / "sl_cai"
    base.mkdir(parents=True)
    learned_from(base, tmp_path / "new" / "models" / "sl_cai")
    (tmp_path / "asked.txt").write_text(BREAD)
    (tmp_path / "recipe.yaml").write_text(
        "name: new\nconstitution: harmlessness\nmodels: {default: microworld}\n"
        "prompts: {red_team: [], evaluation: [{file: asked.txt, kind: harmless}]}\n"
    )
    folder = RunFolder(tmp_path / "new")

    with Ledger.open(folder.ledger) as ledger, quiet() as progress:
        studio = Studio(load_recipe(tmp_path / "recipe.yaml"), folder, ledger, progress)
        found = measure_contamination(studio)

    assert found["contamination"]["identical"] == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [({"text": "So."}, "has neither prompt nor messages, but text"), (None, "is no Parquet file")],
    ids=["another table", "broken"],
)
def test_a_file_that_is_no_data_set_is_named(run: Path, content: dict[str, str] | None, told: str):
    folder = write(run / "datasets" / "sft" / "train", [content or {}], name="odd")
    if content is None:
        (folder / "odd.parquet").write_text("no table")

    with pytest.raises(InputError, match=rf"odd\.parquet: {told}"):
        list(training_prompts([run]))


def test_the_words_in_a_row_are_those_of_the_runs_recipe(run: Path):
    before = words_of(run)
    (run / "recipe.yaml").write_text("filters: {contamination: {words: 5}}")

    assert (before, words_of(run)) == (8, 5)


def test_evaluate_labeler_takes_the_words_of_its_recipe(run: Path, tmp_path: Path):
    (run / "models").mkdir()
    model = Path(shutil.copytree(local_path("microworld"), run / "models" / "judge"))
    (tmp_path / "recipe.yaml").write_text(
        "name: trial\nconstitution: harmlessness\nprompts: {red_team: []}\n"
        f"models: {{default: {model}}}\nfilters: {{contamination: {{words: 4}}}}\n"
    )
    data = tmp_path / "pairs.jsonl"
    pair = {"prompt": "How do I bake cakes?", "chosen": KIND, "rejected": HARSH}
    data.write_text(json.dumps(pair) + "\n")
    asked = ("--data", str(data), "--recipe", str(tmp_path / "recipe.yaml"), "--json")

    said = CliRunner().invoke(
        app,
        ["evaluate", "labeler", *asked, "--out", str(tmp_path / "out")],
        catch_exceptions=False,
    )

    contamination = json.loads(said.stdout)["contamination"]
    assert (contamination["words"], contamination["shared"]) == (4, 1)


def test_without_training_prompts_nothing_is_said_to_be_clean(tmp_path: Path):
    found = held_against(Origins([tmp_path], []), {"set": asked(BREAD)})

    assert found is None
    assert list(contamination_lines(None)) == [UNKNOWN]


def test_evaluate_pm_tells_which_pairs_its_run_has_trained_on(
    run: Path, preference_model: Path, tmp_path: Path
):
    shutil.copytree(preference_model, run / "models" / "pm")
    rows = [{"prompt": text, "chosen": KIND, "rejected": HARSH} for text in (BREAD, "Question 1")]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    for model, told in {
        run: "1 of 2 evaluation prompts share 8 words in a row with one of 3 training",
        preference_model: "contamination: not known",
    }.items():
        arguments = ["evaluate", "pm", str(model), "--data", str(data)]
        said = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
        assert told in said.stdout


def test_evaluate_ood_tells_which_prompts_the_run_of_its_model_has_trained_on(
    run: Path, tmp_path: Path
):
    model = Path(shutil.copytree(local_path("microworld"), run / "models" / "sl_cai"))
    files = {"ordinary": tmp_path / "ordinary.txt", "outliers": tmp_path / "outliers.txt"}
    files["ordinary"].write_text("\n".join([BREAD, *(f"Question {n}" for n in range(30))]))
    files["outliers"].write_text("Why?\nWhat for?")
    named = [text for kind, file in files.items() for text in (f"--{kind}", str(file))]
    chosen = ["--fitted", "20", "--examples", "1", "--draws", "1", "--json"]
    arguments = ["evaluate", "ood", "--model", str(model), *named, *chosen]

    said = CliRunner().invoke(app, arguments, catch_exceptions=False)

    by_set = json.loads(said.stdout)["contamination"]["by_set"]
    assert by_set["ordinary"] == {"evaluation_prompts": 31, "shared": 1, "identical": 1}
    assert by_set["outliers"] == {"evaluation_prompts": 2, "shared": 0, "identical": 0}
