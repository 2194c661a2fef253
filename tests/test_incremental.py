"""An edit of the constitution is paid for where it changed a call's text, and nowhere else."""

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cai.constitution import load_constitution
from cai.engine import Ledger
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.forecast import forecast
from cai.pipeline.preview import Plan
from cai.recipe import Recipe, load_recipe
from cai.records import Row
from tests.processes import running

STEPS = ("revisions", "preferences")
ROUNDS = 4
PROMPTS = 120
CHANCE = 1e-4
"""Of a result at least as far off, were the promise true; draws are hashes and never change."""

RECIPE = """
name: edited
constitution: constitution.yaml
models:
  default: {{name: "openai:fake", endpoint: "{address}/v1"}}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
comparisons: {{responder: assistant}}
engine: {{in_flight: 16}}
"""

SHIPPED = Path(__file__).parents[1] / "constitution" / "harmlessness.yaml"


@pytest.fixture(scope="module")
def server():
    script = Path(__file__).with_name("deterministic_server.py")
    with running([sys.executable, script, "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@pytest.fixture(scope="module")
def first(server, tmp_path_factory) -> Path:
    """A folder with a recipe, its constitution, and a whole run."""
    folder = tmp_path_factory.mktemp("first")
    questions = (f"How do I break window {number}?\n" for number in range(PROMPTS))
    (folder / "prompts.txt").write_text("".join(questions))
    (folder / "recipe.yaml").write_text(RECIPE.format(address=server))
    shutil.copy(SHIPPED, folder / "constitution.yaml")
    recipe = load_recipe(folder / "recipe.yaml")
    run_recipe(recipe, RunFolder(folder / "run"), steps=STEPS)
    return folder


@pytest.fixture
def folder(first, tmp_path) -> Path:
    """A copy of all that, to be edited and run again."""
    return shutil.copytree(first, tmp_path / "again")


def edit(folder: Path, change) -> Recipe:
    """Change the list of principles as a person would, and read the recipe again."""
    yaml, path = YAML(), folder / "constitution.yaml"
    constitution = yaml.load(path)
    change(constitution["principles"])
    yaml.dump(constitution, path)
    return load_recipe(folder / "recipe.yaml")


def of_stage(stage: str) -> list[str]:
    return [principle.id for principle in load_constitution(str(SHIPPED)).of_stage(stage)]


def add_to(principle: str, field: str):
    def change(principles: list[dict]) -> None:
        [found] = [one for one in principles if one["id"] == principle]
        found[field] += " Think of everyone."

    return change


def foretold(recipe: Recipe, folder: Path) -> dict[str, int]:
    """How many calls each part would buy."""
    parts = forecast(Plan(recipe, RunFolder(folder / "run")), STEPS).parts
    return {part.part: part.to_buy for part in parts if part.to_buy}


def rerun(recipe: Recipe, folder: Path) -> int:
    """Run again; gives the number of calls made."""
    return run_recipe(recipe, RunFolder(folder / "run"), steps=STEPS)["calls"]["made"]


def rows(folder: Path, stage: str) -> dict[tuple[str, int], Row]:
    with Ledger.open(folder / "run" / "ledger.sqlite", read_only=True) as ledger:
        return {(row.key.prompt_id, row.key.round): row for row in ledger.rows(stage, "ok")}


def conversations(revisions: dict[tuple[str, int], Row]) -> Iterator[list[Row]]:
    for prompt in sorted({prompt for prompt, _ in revisions}):
        yield [revisions[prompt, number] for number in range(1, ROUNDS + 1)]


def chance_of_more(hits: int, n: int, p: float) -> float:
    """P(X ≥ hits) of n independent draws with probability p each."""
    return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits, n + 1))


def test_a_rerun_without_an_edit_buys_nothing(folder):
    recipe = load_recipe(folder / "recipe.yaml")

    assert foretold(recipe, folder) == {}
    assert rerun(recipe, folder) == 0


def test_an_edited_comparison_buys_the_labels_of_its_own_pairs_alone(folder):
    before = rows(folder, "comparison")
    principle = of_stage("comparison")[0]
    labels = [row for row in before.values() if row.record["principle"] == principle]
    recipe = edit(folder, add_to(principle, "comparison"))

    told = foretold(recipe, folder)
    made = rerun(recipe, folder)

    assert told == {"comparison": 2 * len(labels)}
    assert made == 2 * len(labels) > 0


def test_an_edited_critique_buys_the_rounds_from_its_first_draw_on(folder):
    before = rows(folder, "revision")
    principle = of_stage("revision")[0]
    recipe = edit(folder, add_to(principle, "critique"))

    told = foretold(recipe, folder)
    made = rerun(recipe, folder)

    after, anew = rows(folder, "revision"), 0
    for old, new in zip(conversations(before), conversations(after), strict=True):
        drawn = [row.record["principle"] for row in old]
        first = drawn.index(principle) if principle in drawn else ROUNDS
        assert [row.calls for row in new[:first]] == [row.calls for row in old[:first]]
        assert not {call for row in new[first:] for call in row.calls} & {
            call for row in old[first:] for call in row.calls
        }
        anew += ROUNDS - first
    assert told == {"critique": anew, "revision": anew}
    assert made == 2 * anew > 0


def test_an_edited_revision_request_leaves_the_critique_before_it(folder):
    principle = of_stage("revision")[0]
    recipe = edit(folder, add_to(principle, "revision"))

    told = foretold(recipe, folder)
    made = rerun(recipe, folder)

    assert told["critique"] < told["revision"]
    assert told["critique"] + told["revision"] == made


def test_an_added_principle_takes_its_share_of_the_draws_and_no_more_rows(folder):
    before = rows(folder, "revision")
    added = {"id": "added", "critique": "Is it vague?", "revision": "Make it plain."}
    recipe = edit(folder, lambda principles: principles.append(added))

    told = foretold(recipe, folder)
    made = rerun(recipe, folder)

    after = rows(folder, "revision")
    draws = sum(row.record["principle"] == "added" for row in after.values())
    pairs = list(zip(conversations(before), conversations(after), strict=True))
    changed = sum(old[-1].calls != new[-1].calls for old, new in pairs)
    share = 1 - (16 / 17) ** ROUNDS
    assert all(
        after[place].record["principle"] in (row.record["principle"], "added")
        for place, row in before.items()
    )
    assert chance_of_more(draws, len(before), 1 / 17) > CHANCE
    assert chance_of_more(len(before) - draws, len(before), 16 / 17) > CHANCE
    assert 0 < changed <= len(pairs)
    assert chance_of_more(changed, len(pairs), share) > CHANCE
    assert sum(told.values()) == made


def test_a_removed_principle_leaves_all_other_draws(folder):
    before = rows(folder, "revision")
    removed = of_stage("revision")[0]
    recipe = edit(
        folder,
        lambda principles: principles.remove(
            next(one for one in principles if one["id"] == removed)
        ),
    )

    told = foretold(recipe, folder)
    made = rerun(recipe, folder)

    after = rows(folder, "revision")
    for place, row in before.items():
        was, now = row.record["principle"], after[place].record["principle"]
        assert was in (now, removed)
    assert sum(told.values()) == made > 0


def test_an_edit_taken_back_is_free(folder):
    recipe = edit(folder, add_to(of_stage("revision")[0], "critique"))
    rerun(recipe, folder)

    shutil.copy(SHIPPED, folder / "constitution.yaml")
    recipe = load_recipe(folder / "recipe.yaml")

    assert foretold(recipe, folder) == {}
    assert rerun(recipe, folder) == 0
