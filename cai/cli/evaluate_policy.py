"""`cai evaluate policy`: what a run's policies do, or which of any models is the better one."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.cli.options import Spending, countable, taking
from cai.cli.run import Order, Run, Set, planned
from cai.errors import CaiError
from cai.terminal import say

if TYPE_CHECKING:
    from cai.pipeline.contenders import Contenders
    from cai.pipeline.preview import Plan
    from cai.sources import PromptSet
    from cai.sources.prompt_sets import PromptKind

WITH_MODELS = (
    *("harmful", "borderline", "harmless", "mixed", "kind_column", "kind", "judge", "endpoint"),
    *("family", "recipe", "constitution", "gate_data", "gate", "out"),
)
"""Options that have no meaning for a run's own policies: its recipe says all that."""


@dataclass(frozen=True, kw_only=True)
class PoliciesWanted(Spending):
    """What `cai evaluate policy` was asked for; see the options of their names."""

    own: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECIPE]", help="Recipe of a run whose policies are measured; or use --model."
        ),
    ] = None
    run: Run = None
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MODEL", help="A model to compare; the first is the zero."),
    ] = None
    harmful: Annotated[
        list[str] | None,
        typer.Option(help="Prompts that tempt to harm: FILE, FILE:COLUMN, microworld:heldout."),
    ] = None
    borderline: Annotated[
        list[str] | None, typer.Option(help="Prompts that may look harmful, likewise.")
    ] = None
    harmless: Annotated[list[str] | None, typer.Option(help="Everyday prompts, likewise.")] = None
    mixed: Annotated[
        list[str] | None,
        typer.Option(help="Prompts of several kinds, which --kind-column tells apart, likewise."),
    ] = None
    kind_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column that says a prompt's kind.")
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=KIND", help="What it means: --kind safe=borderline"),
    ] = None
    judge: Annotated[str | None, typer.Option(help="Who judges, as a recipe names it.")] = None
    endpoint: Annotated[str | None, typer.Option(help="Address of the judge's server.")] = None
    family: Annotated[
        Literal["chat", "completion"] | None,
        typer.Option(help="How the judge is asked: messages, or plain text for base models."),
    ] = None
    recipe: Annotated[
        Path | None,
        typer.Option(help="Take judge, prompts, templates, sampling and contest from it."),
    ] = None
    constitution: Annotated[
        str | None,
        typer.Option(
            help="What the judge is asked, by principles with the tags harmlessness and "
            "helpfulness; judging if not given."
        ),
    ] = None
    gate_data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[CRITERION=]FILE", help="Questions with right answers to measure the judge on."
        ),
    ] = None
    gate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=LIMIT", help="What it must keep: --gate accuracy=0.8"),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Folder for calls and figures; runs/evaluation-NAME.")
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            callback=countable,
            help="Most prompts of each kind, and most rows of gate data of a run.",
        ),
    ] = None
    set_: Set = None
    json: Annotated[bool, typer.Option("--json", help="Every figure, as JSON.")] = False

    def plan(self) -> Plan:
        """What is measured where.

        Raises:
            CaiError: options do not go together, or something that they name is wrong.
        """
        from cai.pipeline import RunFolder, existing_run
        from cai.pipeline.contenders import recipe_of_contenders
        from cai.pipeline.own_folder import refuse_folder_of_a_run
        from cai.pipeline.preview import Plan
        from cai.recipe import load_recipe, with_settings

        strange = [name for name in WITH_MODELS if getattr(self, name)]
        if self.own is not None and (self.model or strange):
            option = "model" if self.model else strange[0].replace("_", "-")
            raise CaiError(
                f"--{option} is for models that are named; leave out {self.own}, or give it as "
                "--recipe to take settings from it"
            )
        if self.own is not None:
            plan, _ = planned(Order(self.own, self.run, overrides=self.set_), "evaluate")
            existing_run(plan.folder.path)
            # What the run was made from stays as it is: only what it is measured on is cut.
            return plan._replace(recipe=plan.recipe.measured_on(self.limit))
        if not self.model:
            raise CaiError("name a recipe, or models to measure: --model NAME=MODEL, once or more")
        if self.run is not None:
            raise CaiError("--run is for a run's own policies; say with --out where this goes")
        base = load_recipe(self.recipe) if self.recipe else None
        recipe = recipe_of_contenders(self._contenders(), base)
        recipe = with_settings(recipe, self.set_ or (), "--set")
        folder = RunFolder(self.out or Path("runs") / recipe.name)
        refuse_folder_of_a_run(folder)
        return Plan(recipe, folder)

    def _contenders(self) -> Contenders:
        from cai.models.settings import settings_of
        from cai.pipeline.contenders import Contenders

        judge = self.judge and settings_of(self.judge, endpoint=self.endpoint, family=self.family)
        return Contenders(
            models=self.model or (),
            prompts=self._prompts(),
            judge=judge or None,
            constitution=self.constitution,
            gate_data=self.gate_data or (),
            gates=self.gate,
            prompts_of_each_kind=self.limit,
        )

    def _prompts(self) -> tuple[PromptSet, ...]:
        from cai.sources.named import kind_column, named_prompt_set

        if bool(self.mixed) != (self.kind_column is not None) or (self.kind and not self.mixed):
            raise CaiError(
                "--mixed, --kind-column and --kind go together: --mixed FILE --kind-column label "
                "--kind safe=borderline --kind unsafe=harmful"
            )
        by_column = kind_column(self.kind_column or "", self.kind or ())
        kinds: dict[PromptKind, list[str] | None] = {
            "harmful": self.harmful,
            "borderline": self.borderline,
            "harmless": self.harmless,
        }
        of_one_kind = [
            named_prompt_set(name, kind, limit=self.limit)
            for kind, names in kinds.items()
            for name in names or ()
        ]
        return (*of_one_kind, *(named_prompt_set(name, by_column) for name in self.mixed or ()))


@taking(PoliciesWanted)
def policy(wanted: PoliciesWanted) -> None:
    """Measure the policies that a run has so far, or compare any models by a judge.

    Example: cai evaluate policy examples/microworld.yaml

    Example: cai evaluate policy --model a=hf:A --model b=hf:B --harmful red.txt --judge hf:J
    """
    from cai.cli.forecast_table import counting, print_forecast
    from cai.engine.budget import Budget
    from cai.pipeline import run_recipe
    from cai.pipeline.forecast import forecast

    plan = wanted.plan()
    if wanted.dry_run:
        with counting(shown=not wanted.sample):
            told = forecast(plan._replace(sample=wanted.sample or 0), ("evaluate",))
        print_forecast(told, sampled=bool(wanted.sample))
        return
    metrics = run_recipe(
        plan.recipe,
        plan.folder,
        steps=("evaluate",),
        command=shlex.join(["cai", *sys.argv[1:]]),
        budget=Budget(wanted.max_cost, wanted.max_calls),
    )
    if wanted.json:
        import orjson

        typer.echo(orjson.dumps(metrics, option=orjson.OPT_INDENT_2).decode())
        return
    from cai.report.table import print_table

    print_table(metrics)
    say(f"report: {plan.folder.report}")
