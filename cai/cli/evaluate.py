"""`cai evaluate`: measure what a run has made, and judges before anything is made."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.cli import evaluate_policy, outliers
from cai.cli.options import Spending, countable, taking
from cai.cli.run import Set
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.models import ModelSettings
    from cai.pipeline.labeler import Trials

app = typer.Typer(help="Measure models.", no_args_is_help=True)
app.command()(evaluate_policy.policy)
app.command()(outliers.ood)
app.command()(outliers.coverage)


@app.command()
def pm(
    model: Annotated[
        str, typer.Argument(help="A run, whose preference model is meant, or any model.")
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(help="A file of judged pairs, or microworld:heldout; else the test split."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, callback=countable, help="Most rows of each file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Every figure, as JSON.")] = False,
) -> None:
    """Measure a preference model on judged pairs: accuracy by part, calibration, bias to length.

    Example: cai evaluate pm runs/microworld --data microworld:heldout
    """
    from cai.cli.pm_table import print_json, print_scored
    from cai.pipeline.pair_scores import score_pairs

    found = score_pairs(model, data or (), limit)
    if json:
        print_json(found)
    else:
        print_scored(found)


@dataclass(frozen=True, kw_only=True)
class TrialsWanted(Spending):
    """What `cai evaluate labeler` was asked for; see the options of their names."""

    data: Annotated[
        list[str],
        typer.Option(help="A file of questions with right answers, or microworld:heldout."),
    ]
    judge: Annotated[
        list[str] | None,
        typer.Option(help="A model, as a recipe names it; several are compared."),
    ] = None
    recipe: Annotated[
        Path | None,
        typer.Option(help="Take judge, constitution, templates and way of labelling from it."),
    ] = None
    endpoint: Annotated[str | None, typer.Option(help="Address of the judges' server.")] = None
    family: Annotated[
        Literal["chat", "completion"] | None,
        typer.Option(help="Messages, or plain text for base models; by default messages."),
    ] = None
    constitution: Annotated[
        str | None, typer.Option(help="Whose principles pairs are labelled under.")
    ] = None
    each_principle: Annotated[
        bool, typer.Option("--each-principle", help="Label every pair under every principle.")
    ] = False
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LIMIT", help="Fail below it: --gate accuracy=0.8"),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Folder for calls and figures; runs/judge-NAME by default.")
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, callback=countable, help="Most rows of each file.")
    ] = None
    set_: Set = None
    json: Annotated[bool, typer.Option("--json", help="Every figure, as JSON.")] = False

    def trials(self) -> Trials:
        """Who is asked what, and how.

        Raises:
            CaiError: no judge is named, or the recipe or a name has faults.
        """
        overrides = [
            *([f"constitution={self.constitution}"] if self.constitution else []),
            *(self.set_ or ()),
        ]
        judges = [_settings(name, self.endpoint, self.family) for name in self.judge or ()]
        trials = _trials(tuple(self.data), judges, self.recipe, overrides, self.out)
        return replace(trials, each_principle=self.each_principle, limit=self.limit)


@app.command()
@taking(TrialsWanted)
def labeler(wanted: TrialsWanted) -> None:
    """Measure a judge on questions with known answers, and fail if a gate is not kept.

    Example: cai evaluate labeler --data microworld:heldout --judge microworld --gate accuracy=0.8
    """
    from cai.cli.labeler_table import broken_gates, print_json, print_trialled
    from cai.engine.budget import Budget
    from cai.evaluation.gates import read_gate
    from cai.pipeline.labeler import measure_judges

    gates = [read_gate(text) for text in wanted.gate or ()]
    trials = wanted.trials()
    if wanted.dry_run:
        _foretell(trials, wanted.sample or 0)
        return
    command = shlex.join(["cai", *sys.argv[1:]])
    budget = Budget(wanted.max_cost, wanted.max_calls)
    found = measure_judges(trials, command=command, budget=budget)
    broken = broken_gates(found, gates)
    if wanted.json:
        print_json(found, broken)
    else:
        print_trialled(found, broken, trials.folder)
    if broken:
        raise typer.Exit(1)


def _foretell(trials: Trials, sample: int) -> None:
    from cai.cli.forecast_table import counting, print_forecast
    from cai.pipeline.labeler_forecast import foretell_trials

    with counting(shown=not sample):
        told = foretell_trials(trials, sample=sample)
    print_forecast(told, sampled=sample > 0, states=False)


def _settings(
    name: str, endpoint: str | None, family: Literal["chat", "completion"] | None
) -> ModelSettings:
    from cai.models.settings import settings_of

    return settings_of(name, endpoint=endpoint, family=family)


def _trials(
    data: tuple[str, ...],
    judges: list[ModelSettings],
    path: Path | None,
    overrides: list[str],
    out: Path | None,
) -> Trials:
    from cai.pipeline import RunFolder
    from cai.pipeline.labeler import Trials
    from cai.recipe import Recipe as WholeRecipe
    from cai.recipe import load_recipe, with_settings
    from cai.roles import Roles
    from cai.run_settings import PromptSets

    if path is not None:
        recipe = load_recipe(path, overrides)
        judges = judges or [recipe.models.of("judge")]
    elif judges:
        name = "judge-" + re.sub(r"[^A-Za-z0-9.-]+", "-", judges[0].name).strip("-.")
        plain = WholeRecipe(
            name=name,
            constitution="harmlessness",
            models=Roles(default=judges[0]),
            prompts=PromptSets(red_team=()),
        )
        recipe = with_settings(plain, overrides, "--set")
    else:
        raise CaiError("no judge is named; add --judge NAME, or --recipe FILE for its judge")
    named = path is not None or any(one.startswith("constitution=") for one in overrides)
    folder = out or Path("runs") / (recipe.name if path is None else f"judge-{recipe.name}")
    return Trials(data, tuple(judges), recipe, RunFolder(folder), names_constitution=named)
