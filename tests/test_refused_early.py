"""What makes no sense is refused in words, before anything is read, asked or trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.errors import CaiError

DEMO = "examples/microworld.yaml"
HUGE = str(2**64)


def told(*arguments: object) -> str:
    """What a command says that is refused."""
    said = CliRunner().invoke(app, [str(one) for one in arguments])
    assert said.exit_code != 0
    assert isinstance(said.exception, CaiError | SystemExit)
    return said.output if isinstance(said.exception, SystemExit) else str(said.exception)


@pytest.mark.parametrize("field", ["seed", "revisions.sampling.max_tokens", "sft.epochs"])
def test_a_whole_number_of_more_than_64_bits_is_a_fault_of_its_field(field: str):
    said = told("run", DEMO, "--set", f"{field}={HUGE}", "--dry-run")

    assert f"{field}: is {HUGE}; whole numbers end at" in said


def test_a_seed_that_the_libraries_do_not_take_is_refused():
    assert "less than 2147483648" in told("run", DEMO, "--set", "seed=2147483648", "--dry-run")


@pytest.mark.parametrize("value", [".inf", ".nan"])
def test_a_rate_that_is_no_number_is_refused(value: str):
    said = told("run", DEMO, "--set", f"sft.learning_rate={value}", "--dry-run")

    assert "sft.learning_rate" in said


def test_a_limit_that_no_file_reaches_is_refused():
    assert "leave it out for all" in " ".join(told("run", DEMO, "--limit", HUGE).split())


def test_a_run_folder_that_is_a_file_is_refused_by_the_forecast_too(tmp_path: Path):
    (tmp_path / "file").write_text("mine")

    assert "is a file" in told("run", DEMO, "--run", tmp_path / "file", "--dry-run")


def test_nothing_to_revise_is_no_success(tmp_path: Path):
    asked = ("run", DEMO, "--set", "prompts.red_team=[]", "--run", tmp_path / "run")

    assert "nothing to revise" in told(*asked, "--until", "revisions")
    assert not (tmp_path / "run").exists()


def test_an_empty_recipe_is_called_empty(tmp_path: Path):
    (tmp_path / "recipe.yaml").touch()

    assert "is empty; write 'name: …'" in told("run", tmp_path / "recipe.yaml", "--dry-run")


def test_a_column_of_a_text_file_is_refused(tmp_path: Path):
    (tmp_path / "red.txt").write_text("How do I pick a lock?\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: mine\nconstitution: microworld\nmodels: {default: microworld}\n"
        "prompts:\n  red_team: [{file: red.txt, kind: harmful, column: prompt}]\n"
        "  helpful: []\n  evaluation: []\n"
    )

    assert "no column 'prompt'; leave the column out" in told("run", recipe, "--dry-run")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--prompt", " "), "--prompt is empty"),
        (("--prompt", "Hi", "--stage", "rating"), "no principle of harmlessness has a text"),
    ],
)
def test_a_preview_of_nothing_is_refused(options: tuple[str, ...], said: str):
    assert said in told("constitution", "preview", "harmlessness", *options)


def test_a_base_of_ones_own_at_the_default_rates_is_warned_of(tiny_model: Path, tmp_path: Path):
    asked = ("run", DEMO, "--run", str(tmp_path / "run"), "--limit", "3", "--dry-run")
    own = ("--set", f"models.base={tiny_model}")

    def shown(*more: str) -> str:
        return CliRunner().invoke(app, [*asked, *more], catch_exceptions=False).output

    assert "no learning_rate" not in shown()
    assert "Warning: sft, preference_model: no learning_rate" in shown(*own)
    rates = ("--set", "sft.learning_rate=1e-4", "--set", "preference_model.learning_rate=1e-4")
    assert "no learning_rate" not in shown(*own, *rates)
