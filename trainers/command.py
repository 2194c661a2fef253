"""The trainers' own commands, ``python -m trainers.sft recipe.yaml`` and the like.

They read the settings from the recipe's section and the data from its run folder, unless told
otherwise, and so run under ``accelerate launch`` too, where `cai run` does not. Without a recipe
they are told all of it: model, data, settings and where the new model goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypeVar

import typer
from pydantic import BaseModel

from cai import terminal
from cai.entry import run_app
from cai.errors import CaiError
from trainers.environment import is_launched
from trainers.fit import Report, TrainingResult
from trainers.rows import check_columns
from trainers.settings import TrainingSettings

if TYPE_CHECKING:
    from cai.pipeline.folder import RunFolder
    from cai.recipe import Recipe

Settings = TypeVar("Settings", bound=TrainingSettings)

RecipeIfAny = Annotated[
    Path | None,
    typer.Argument(help="The recipe, YAML; without it, give --base, --data and --out."),
]
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
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Replace a setting: --set epochs=2 --set lora.rank=8"),
]


def run_alone(main: Callable[..., None], epilog: str = "") -> None:
    """Run a trainer's command; a `CaiError` is shown as text, all else is a bug.

    Args:
        main: the command.
        epilog: what its ``--help`` says at the end.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(epilog=epilog)(main)
    # A launcher ends its processes by SIGTERM: one that waits for another would not hear of it.
    run_app(app, "trainers", heeds_termination=not is_launched())


@dataclass(frozen=True)
class Asked:
    """What a trainer's command was given; None for what was not.

    Args:
        recipe: the recipe's file.
        run: the run folder.
        data: rows to learn from.
        base: model to start from.
        out: where the new model goes.
        overrides: ``field=value``, of the recipe's section.
    """

    recipe: Path | None
    run: Path | None
    data: Path | None
    base: str | None
    out: Path | None
    overrides: Sequence[str] | None


class Places(NamedTuple):
    """Model to start from, data and the new model's folder, as a run has them."""

    base: str
    data: Path
    out: Path


@dataclass(frozen=True)
class Task(Generic[Settings]):
    """What a trainer is to do.

    Args:
        base: as transformers calls it.
        data: with the columns that are needed.
        out: where the new model goes.
        settings: of the training.
        inputs: hash of the first two and the last.
    """

    base: str
    data: Path
    out: Path
    settings: Settings
    inputs: str


class Section(NamedTuple):
    """The part of a recipe that a trainer reads, and the columns that it needs, or others do."""

    name: str
    kind: type[TrainingSettings]
    columns: Sequence[str]
    others: Sequence[Sequence[str]] = ()


def task_of(
    asked: Asked, section: Section, places: Callable[[Recipe, RunFolder], Places]
) -> Task[Any]:
    """What a command is to do; its data is looked at before any model is.

    Args:
        asked: what it was given.
        section: what it reads.
        places: where a run has model and data.

    Raises:
        InputError: recipe, settings or data are wrong.
        CaiError: neither a recipe nor everything that stands in for it is given.
    """
    loaded = None if asked.recipe is None else open_run(asked.recipe, asked.run)
    if loaded is None:
        options = {"--base": asked.base, "--data": asked.data, "--out": asked.out}
        missing = [name for name, value in options.items() if value is None]
        if missing:
            raise CaiError(f"without a recipe, give {' and '.join(missing)} too; see --help")
        found = Places(str(asked.base), Path(str(asked.data)), Path(str(asked.out)))
    else:
        found = places(*loaded)
    settings = _settings(asked.recipe, section, asked.overrides or ())
    if loaded is not None:
        # As in a run, so that what is trained here is the run's own model.
        settings = settings.model_copy(update={"seed": settings.seed + loaded[0].seed})
    data = asked.data or found.data
    check_columns(data, section.columns, *section.others)
    base = model_path(asked.base or found.base)
    return Task(base, data, asked.out or found.out, settings, input_hash(data, [base], settings))


def _settings(recipe: Path | None, section: Section, overrides: Sequence[str]) -> Any:
    """The section as the recipe's file has it, or the defaults, with overrides applied.

    What a preset sets is not among them: another preset, or another rate, is to set it anew.
    """
    from cai.document import Document, read_document
    from cai.overrides import override_field
    from cai.validation import validate

    written: Any = {} if recipe is None else read_document(recipe).data
    document = Document(Path("--set"), dict(written.get(section.name) or {}), {})
    for override in overrides:
        override_field(document, override)
    return validate(document, section.kind)


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


def input_hash(
    data: Path,
    models: Sequence[str],
    settings: BaseModel,
    held_out: Path | None = None,
    *,
    rated_by: str = "",
) -> str:
    """Hash of all that a training's result depends on.

    Args:
        data: what is learned from, as `check_columns` takes it.
        models: what it starts from.
        settings: the recipe's section.
        held_out: other data that is looked at; None for none.
        rated_by: hash of what ratings of a judge depend on; empty for none.
    """
    from cai.datasets.parquet import folder_hash
    from cai.records import digest
    from trainers.fit import model_digest

    weights = [model_digest(model) for model in models]
    seen = [folder_hash(held_out)] if held_out is not None else []
    rated = [rated_by] if rated_by else []
    return digest([folder_hash(data), weights, settings.model_dump(mode="json"), *seen, *rated])


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
        terminal.say("\n".join(_lines(result)))


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
