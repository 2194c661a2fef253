"""The papers' pipelines at full scale: recipes that are right and costed, with nothing fetched."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from cai.errors import InputError
from cai.pipeline import RunFolder
from cai.pipeline.forecast import Forecast, forecast
from cai.pipeline.preview import Plan
from cai.recipe import Recipe, load_recipe
from cai.records import Comparison, Prompt
from cai.sources import PromptSet, read_prompts
from cai.sources.pairs import PairSet, read_pairs

PAPERS = Path(__file__).parents[1] / "examples" / "papers"
NAMES = ("cai", "rlaif", "hh_rlhf")

RECIPE = """
name: absent
constitution: harmlessness
models: {{default: microworld}}
prompts:
  red_team: [{red_team}]
comparisons: {{responder: assistant, human: [{human}]}}
"""


def paper(name: str) -> Recipe:
    return load_recipe(PAPERS / f"{name}.yaml")


def told(recipe: Recipe, folder: Path) -> Forecast:
    return forecast(Plan(recipe, RunFolder(folder / "none")))


def calls(told: Forecast) -> dict[str, int]:
    return {part.part: part.to_buy for part in told.parts}


def absent(folder: Path, red_team: str, human: str = "") -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(red_team=red_team, human=human))
    return load_recipe(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_is_costed_without_a_download(name: str, tmp_path: Path):
    foretold = told(paper(name).limited(40), tmp_path)

    assert foretold.bought == 0
    assert {part.tokens.source for part in foretold.parts if part.tokens} == {"recipe"}
    assert foretold.dollars.complete
    assert foretold.dollars.known > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit"), [("cai", 20_000), ("rlaif", None), ("hh_rlhf", None)], ids=NAMES
)
def test_a_paper_at_scale_buys_what_its_rows_ask_for(name: str, limit: int | None, tmp_path: Path):
    """Of CAI each set is cut: counting 1.3 million calls takes minutes."""
    recipe = paper(name).limited(limit)
    made = calls(told(recipe, tmp_path))

    rows = {
        of: sum(min(one.rows, limit or one.rows) for one in getattr(recipe.prompts, of))
        for of in recipe.prompts.model_fields_set
    }
    assert made["evaluation_helpful"] == rows["evaluation"]
    assert made.get("helpful", 0) == rows.get("helpful", 0)
    assert made.get("response", 0) + made.get("pair", 0) / 2 == rows["red_team"]
    assert made.get("revision", 0) == recipe.revisions.rounds * made.get("response", 0)
    assert made.get("comparison", 0) == made.get("pair", 0)


@pytest.mark.parametrize(
    ("name", "section", "field", "value"),
    [
        ("cai", "sft", "learning_rate", 0.5 * 3e-4),
        ("cai", "sft", "batch_size", 1024),
        ("cai", "preference_model", "learning_rate", 0.01 * 3e-4),
        ("cai", "rl", "learning_rate", 0.01 * 3e-4),
        ("cai", "rl", "beta", 0.001),
        ("rlaif", "sft", "optimizer", "adafactor"),
        ("rlaif", "preference_model", "epochs", 3.0),
        ("rlaif", "rl", "beta", 0.05),
        ("rlaif", "rl", "algorithm", "reinforce"),
        ("hh_rlhf", "sft", "learning_rate", 0.05 * 3e-4),
        ("hh_rlhf", "preference_pretraining", "learning_rate", 0.1 * 3e-4),
        ("hh_rlhf", "preference_model", "learning_rate", 0.01 * 3e-4),
        ("hh_rlhf", "rl", "max_completion_length", 128),
        ("cai", "sft", "warmup", 0),
        ("cai", "rl", "warmup", 0),
        ("rlaif", "rl", "warmup", 0),
        ("hh_rlhf", "sft", "warmup", 0),
        ("hh_rlhf", "rl", "warmup", 0),
    ],
)
def test_a_paper_has_its_settings(name: str, section: str, field: str, value: object):
    assert getattr(getattr(paper(name), section), field) == pytest.approx(value)


@pytest.mark.parametrize(("name", "epochs"), [("cai", 1), ("rlaif", 8), ("hh_rlhf", 1)])
def test_rl_goes_through_the_prompts_as_often_as_it_says(name: str, epochs: int):
    recipe = paper(name)
    sets = (*recipe.prompts.red_team, *recipe.prompts.helpful)
    prompts = sum(one.rows or 0 for one in sets) * (1 - recipe.datasets.test_share)

    assert recipe.rl.steps * recipe.rl.prompts_per_step == pytest.approx(epochs * prompts, rel=0.01)


def test_rows_that_are_not_at_hand_are_counted_as_said(tmp_path: Path):
    recipe = absent(
        tmp_path,
        "{dataset: org/none, kind: harmful, rows: 30}, {file: later.txt, kind: harmful, rows: 9}",
        "{dataset: org/pairs, rows: 5}",
    )

    made = calls(told(recipe, tmp_path))

    assert made["response"] + made["pair"] / 2 == 39


def test_what_is_named_twice_is_counted_once(tmp_path: Path):
    twice = "{dataset: org/none, kind: harmful, rows: 30}"

    made = calls(told(absent(tmp_path, f"{twice}, {twice}"), tmp_path))

    assert made["response"] + made["pair"] / 2 == 30


def test_a_set_of_unknown_size_is_refused_by_name(tmp_path: Path):
    recipe = absent(tmp_path, "{dataset: org/none, kind: harmful}", "{dataset: org/pairs}")

    with pytest.raises(
        InputError, match=r"org/none train: is not at hand(.|\n)*rows: 1000"
    ) as told_:
        told(recipe, tmp_path)
    assert "org/pairs train" in str(told_.value)


def test_what_is_at_hand_is_read_whatever_is_said_of_it(tmp_path: Path):
    folder = data_set(tmp_path)
    recipe = absent(tmp_path, f"{{dataset: {folder}, data_dir: one, kind: harmful, rows: 900}}")

    made = calls(told(recipe, tmp_path))

    assert made["response"] + made["pair"] / 2 == 2


def test_a_run_that_was_begun_is_not_foretold_from_stand_ins(tmp_path: Path):
    recipe = absent(tmp_path, "{file: later.txt, kind: harmful, rows: 9}")
    folder = RunFolder(tmp_path / "run")
    folder.make()
    from cai.engine import Ledger

    Ledger.open(folder.ledger).close()

    with pytest.raises(InputError, match=r"later\.txt: is not a file"):
        forecast(Plan(recipe, folder))


def data_set(folder: Path) -> Path:
    """A data set of two folders, as the hub has them."""
    for name, questions in (("one", ("a", "b")), ("other", ("c",))):
        (folder / "set" / name).mkdir(parents=True)
        rows = [
            {
                "chosen": f"\n\nHuman: {question}?\n\nAssistant: yes",
                "rejected": f"\n\nHuman: {question}?\n\nAssistant: no",
            }
            for question in questions
        ]
        lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        (folder / "set" / name / "train.jsonl").write_bytes(lines)
    return folder / "set"


def test_a_folder_of_a_data_set_has_prompts_and_pairs(tmp_path: Path):
    name = str(data_set(tmp_path))

    prompts = read_prompts(
        PromptSet(dataset=name, data_dir="one", column="chosen", kind="harmful"), 0
    )
    (pair,) = read_pairs(PairSet(dataset=name, data_dir="other"), 0)

    assert [one.messages[-1].content for one in prompts if isinstance(one, Prompt)] == ["a?", "b?"]
    assert isinstance(pair, Comparison)
    assert (pair.response_a, pair.response_b) == ("yes", "no")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"file": "a.txt", "data_dir": "one"}, "name it as dataset"),
        ({"microworld": "train", "limit": 3, "rows": 3}, "use limit"),
    ],
)
def test_what_a_source_has_no_use_for_is_refused(given: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        PromptSet(kind="harmful", **given)
