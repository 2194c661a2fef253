"""The trainers' own commands, ``python -m trainers.sft recipe.yaml`` and the like.

They read the settings from the recipe's section and the data from its run folder, unless told
otherwise, and so run under ``accelerate launch`` too, where `cai run` does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from cai.errors import CaiError
from trainers.fit import Report, TrainingResult

if TYPE_CHECKING:
    from cai.pipeline.folder import RunFolder
    from cai.recipe import Recipe

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, YAML.")]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="Run folder; runs/<recipe name> if not given.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Parquet or JSON lines instead of the run's data set.")
]
BaseOption = Annotated[
    str | None, typer.Option("--base", help="Model to start from: a folder or a hub name.")
]
PreferenceModelOption = Annotated[
    str | None, typer.Option("--preference-model", help="The reward: a folder or a hub name.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Where the model goes instead of the run's folder.")
]


def run_alone(main: Callable[..., None]) -> None:
    """Run a trainer's command; a `CaiError` is shown as text, all else is a bug."""
    try:
        typer.run(main)
    except CaiError as error:
        typer.echo(f"trainers: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("trainers: stopped; the same command goes on from here", err=True)
        sys.exit(130)


def open_run(recipe: Path, run: Path | None) -> tuple[Recipe, RunFolder]:
    """The recipe of a file, and the folder of its run.

    Raises:
        InputError: the recipe is wrong.
    """
    from cai.pipeline.folder import RunFolder
    from cai.recipe import load_recipe

    loaded = load_recipe(recipe)
    return loaded, RunFolder(run or Path("runs") / loaded.name)


def model_path(name: str) -> str:
    """What transformers calls a model that a recipe or ``--base`` names."""
    from cai.models.weights import local_path

    return local_path(name)


def input_hash(data: Path, models: list[str], settings: BaseModel) -> str:
    """Hash of all that a training's result depends on.

    Args:
        data: what is learned from, as `check_columns` takes it.
        models: what it starts from.
        settings: the recipe's section.
    """
    from cai.datasets.parquet import folder_hash
    from cai.records import digest
    from trainers.fit import model_digest

    weights = [model_digest(model) for model in models]
    return digest([folder_hash(data), weights, settings.model_dump(mode="json")])


def progress() -> Report | None:
    """Shows each step on standard error; only the main process of several does."""
    if int(os.environ.get("RANK", "0")) != 0:
        return None

    def report(step: int, total: int, loss: float | None) -> None:
        shown = "" if loss is None else f"  loss {loss:.4f}"
        typer.echo(f"\rstep {step}/{total}{shown}", nl=step == total, err=True)

    return report


def say(result: TrainingResult) -> None:
    """Tell what was made."""
    if int(os.environ.get("RANK", "0")) == 0:
        typer.echo("\n".join(_lines(result)))


def _lines(result: TrainingResult) -> list[str]:
    if result.was_done:
        return [f"{result.folder} was made of the same already; nothing was trained"]
    figures: dict[str, Any] = {name: f"{value:.4g}" for name, value in result.metrics.items()}
    return [
        f"{result.folder}: {result.steps} steps on {result.rows} rows in {result.seconds:.0f} s",
        *(f"left out: {count} rows, {reason}" for reason, count in result.dropped.items()),
        *([f"cut to max_length: {result.truncated} rows"] if result.truncated else []),
        ", ".join(f"{name} {value}" for name, value in figures.items()),
    ]
