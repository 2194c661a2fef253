"""What differs between two constitutions, and what a run would recompute: told as it then is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli.constitution import app
from cai.constitution import Constitution, Principle, load_constitution
from cai.constitution.difference import difference
from cai.errors import CaiError, RunError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.change import forecast_change
from cai.pipeline.rerunning import Wanted, rerun
from cai.recipe import Recipe, load_recipe

KIND = Principle(id="kind", comparison="Which is kinder?", tags=("mild",))
TRUE = Principle(id="true", comparison="Which is truer?")

SHIPPED = Path(__file__).parents[1] / "constitution/microworld.yaml"
EXAMPLE = Path(__file__).parents[1] / "examples/microworld.yaml"
STEPS = ("revisions", "preferences")
SMALLER = ("comparisons.responder=assistant", "evaluation.label_probes=16", "revisions.rounds=2")


def made_of(*principles: Principle, **keys: str) -> Constitution:
    return Constitution(id="x", principles=principles, **keys)


def changes(before: Constitution, after: Constitution) -> list[tuple[str, str, list[str]]]:
    found = difference(before, after).principles
    return [(one.change, one.id, [field.field for field in one.fields]) for one in found]


def test_principles_are_added_removed_reworded_and_changed():
    reworded = KIND.model_copy(update={"comparison": "Which is gentler?", "weight": 2.0})
    changed = TRUE.model_copy(update={"tags": ("honest",)})
    brief = Principle(id="brief", comparison="Which is briefer?")

    assert changes(made_of(KIND), made_of(reworded)) == [
        ("reworded", "kind", ["comparison", "weight"])
    ]
    assert changes(made_of(TRUE), made_of(changed)) == [("changed", "true", ["tags"])]
    assert changes(made_of(KIND, TRUE), made_of(brief, KIND)) == [
        ("added", "brief", ["comparison"]),
        ("removed", "true", ["comparison"]),
    ]


def test_a_renamed_principle_is_told_by_what_it_says():
    renamed = KIND.model_copy(update={"id": "kindness"})

    added, removed = difference(made_of(KIND), made_of(renamed)).principles

    assert (added.change, added.id, added.was) == ("added", "kindness", "kind")
    assert (removed.change, removed.id) == ("removed", "kind")


def test_order_and_layout_make_no_difference():
    assert difference(made_of(KIND, TRUE), made_of(TRUE, KIND)).is_empty
    assert not difference(made_of(KIND), made_of(KIND, language="de")).is_empty


# Against a run


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, RunFolder]:
    """A finished run on the microworld's constitution, and its recipe."""
    folder = tmp_path_factory.mktemp("ran")
    before = folder / "before.yaml"
    before.write_text(SHIPPED.read_text())
    recipe = load_recipe(EXAMPLE, (*SMALLER, f"constitution={before}")).limited(12)
    run = RunFolder(folder / "run")
    run_recipe(recipe, run, steps=STEPS)
    return recipe, run


def edited(folder: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text()
    assert old in text
    path = folder / "after.yaml"
    path.write_text(text.replace(old, new))
    return path


def bought_by_rerun(recipe: Recipe, run: RunFolder, after: Path, folder: Path) -> int:
    copy = RunFolder(folder / "copy")
    shutil.copytree(run.path, copy.path)
    changed = recipe.model_copy(update={"constitution": str(after)})
    return run_recipe(changed, copy, steps=STEPS)["calls"]["made"]


REMOVED = SHIPPED.read_text().split("  - id: no-preaching")[1].split("  - id: no-evasion")[0]
CONDITION = "comparison: Choose the reply that avoids evasion.\n    applies_if: {keywords: [never]}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Choose the reply that avoids", "Pick the reply that avoids"),
        ("  - id: no-preaching" + REMOVED, ""),
        ("    tags: [evasion]", "    weight: 3\n    tags: [evasion]"),
        ("comparison: Choose the reply that avoids evasion.", CONDITION),
        ("title: Everyday requests", "title: Common requests"),
    ],
    ids=["reworded", "removed", "heavier", "condition", "title"],
)
def test_the_forecast_of_a_change_is_what_the_rerun_then_buys(
    ran: tuple[Recipe, RunFolder], tmp_path: Path, old: str, new: str
):
    recipe, run = ran
    after = edited(tmp_path, old, new)

    told = forecast_change(run.path, after)

    assert told.forecast.following == 0
    assert told.forecast.to_buy == bought_by_rerun(recipe, run, after, tmp_path)
    assert told.forecast.to_buy == 2 * sum(len(rows) for rows in told.rows.values())
    assert {*told.rows} <= {"comparison", "label_probe"}


def test_what_follows_from_new_answers_is_told_as_a_range(
    ran: tuple[Recipe, RunFolder], tmp_path: Path
):
    recipe, run = ran
    after = edited(tmp_path, "Point out where the response supports", "Say where it supports")

    told = forecast_change(run.path, after).forecast

    assert told.following > 0
    bought = bought_by_rerun(recipe, run, after, tmp_path)
    assert told.to_buy - told.following <= bought <= told.to_buy


def test_what_comes_after_the_last_run_does_not_change_what_is_counted(
    ran: tuple[Recipe, RunFolder], tmp_path: Path
):
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(ran[1].path, copy.path)
    after = edited(tmp_path, "Choose the reply that avoids", "Pick the reply that avoids")
    before = forecast_change(copy.path, after)

    rerun(copy, Wanted(("error",)))
    with pytest.raises(CaiError, match="foo"):
        rerun(copy, Wanted(("ok",), settings=("foo=1",)))

    told = forecast_change(copy.path, after)
    assert (told.rows, told.forecast.to_train) == (before.rows, before.forecast.to_train)


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(
        app, ["diff", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "200"}
    )
    return result.stdout


def test_the_command_names_rows_calls_and_cost(ran: tuple[Recipe, RunFolder], tmp_path: Path):
    recipe, run = ran
    after = edited(tmp_path, "Choose the reply that avoids", "Pick the reply that avoids")

    told = invoke(recipe.constitution, after, "--run", run.path)
    data = json.loads(invoke(recipe.constitution, after, "--run", run.path, "--json"))["run"]

    assert "~ no-evasion: reworded" in told
    assert "    - comparison: Choose the reply that avoids evasion." in told
    assert "    + comparison: Pick the reply that avoids evasion." in told
    rows = data["rows"]["comparison"]
    assert f"{len(rows)} rows of comparison would be made anew: {rows[0]}" in told
    assert (data["calls"], data["dollars"]) == (2 * sum(map(len, data["rows"].values())), 0)
    assert "the run was made with the version" not in told


def test_a_run_of_another_version_is_told_apart(ran: tuple[Recipe, RunFolder], tmp_path: Path):
    after = edited(tmp_path, "Choose the reply that avoids", "Pick the reply that avoids")

    told = invoke(after, "microworld", "--run", ran[1].path)

    shipped = load_constitution("microworld").hash
    assert f"the run was made with the version {shipped}, and " in told
    assert "Every call is in the ledger: nothing would be bought." in told


def test_a_forecast_needs_a_run(tmp_path: Path):
    with pytest.raises(RunError, match="holds no run"):
        forecast_change(tmp_path, "microworld")
    with pytest.raises(CaiError, match=r"add --run FOLDER"):
        invoke("microworld", "harmlessness", "--until", "revisions")


def test_two_versions_that_say_the_same_are_told_to():
    assert invoke("microworld", "microworld") == "both say the same\n"
