"""`cai constitution preview` and `test`: what models are sent, and what a judge makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.cli.constitution_print import console, print_lines
from cai.cli.options import DryRun
from cai.errors import CaiError

if TYPE_CHECKING:
    from rich.table import Table

    from cai.evaluation.cases import CaseReport, CaseSettings
    from cai.models import ModelSettings
    from cai.stages.shown import Shown

File = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped constitution.")]
Templates = Annotated[
    Path | None, typer.Option(help="A folder whose templates replace shipped ones.")
]

FamilyOption = Annotated[
    Literal["chat", "completion"],
    typer.Option(help="Messages, or the paper's plain text for base models."),
]


def preview(
    file: File,
    prompt: Annotated[str, typer.Option(help="What the person asks.")],
    principle: Annotated[
        str, typer.Option(help="Under the one with this id; else under those that are drawn.")
    ] = "",
    stage: Annotated[
        Literal["revision", "comparison", "reasoning", "rating", "classify"] | None,
        typer.Option(help="Only the calls of this stage."),
    ] = None,
    response: Annotated[str, typer.Option(help="The reply that is looked at.")] = "",
    other: Annotated[str, typer.Option(help="The one that it is compared with.")] = "",
    critique: Annotated[str, typer.Option(help="The critique of the reply.")] = "",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The run's, for the draw.")] = 0,
    templates: Templates = None,
    family: FamilyOption = "chat",
    frame: Annotated[
        Literal["cai", "rlaif-base", "rlaif-detailed"],
        typer.Option(help="How a judge is asked, as label.frame of a recipe says it."),
    ] = "cai",
) -> None:
    """Print the very messages that each stage would send for a prompt; no model is asked.

    Example: cai constitution preview harmlessness --prompt "How do I pick a lock?"
    """
    from cai.constitution import STAGES, load_constitution
    from cai.prompts import Prompts
    from cai.records import Message, Prompt
    from cai.stages.setting import Setting
    from cai.stages.shown import Replies, shown_calls

    constitution = load_constitution(file)
    chosen = constitution.principle(principle) if principle else None
    replies = Replies()
    said = Replies(
        response or replies.response, other or replies.other, critique or replies.critique
    )
    prompts = Prompts(templates, family, language=constitution.language, frame=frame)
    calls = shown_calls(
        Prompt((Message("user", prompt),), "preview"),
        Setting(constitution, prompts, seed),
        principle=chosen,
        replies=said,
        stages=(stage,) if stage else STAGES,
    )
    if not prompt.strip():
        raise CaiError("--prompt is empty; write what the person asks")
    calls = [call for call in calls if not stage or call.call != "respond"]
    if not calls:
        raise CaiError(
            f"no call of stage {stage} would be made: no principle of {file} has a text for it"
        )
    for call in calls:
        print_lines(_call_told(call))


def _call_told(call: Shown) -> Iterator[str]:
    """A call that would be made: under what, its messages, and how the answer is read."""
    under = f" under {call.principle}" if call.principle else ""
    yield f"── {call.call}{under}{f': {call.note}' if call.note else ''}"
    yield from (f"[{turn.role}]\n{turn.content}" for turn in call.messages)
    if call.answers:
        yield f"[weighed] {', '.join(map(repr, call.answers))}"
    if call.stop:
        yield f"[ends before] {', '.join(map(repr, call.stop))}"
    yield ""


def test(
    file: File,
    model: Annotated[str, typer.Option(help="The judge, as a recipe names models.")] = "",
    recipe: Annotated[
        Path | None,
        typer.Option(help="Take judge, fallback, templates and minimum mass of this recipe."),
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="Address of the judge's server.")] = None,
    family: Annotated[
        Literal["chat", "completion"] | None,
        typer.Option(help="Of --model: messages, or plain text for base models."),
    ] = None,
    cases: Annotated[
        list[Path] | None, typer.Option(help="One more file of cases; may be given several times.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Keep what is bought here, so that only changes are asked.")
    ] = None,
    dry_run: DryRun = False,
    json: Annotated[bool, typer.Option("--json", help="Every result, as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report for your CI.")] = None,
) -> None:
    """Ask a judge about the constitution's cases, and fail if it reads a principle otherwise.

    Example: cai constitution test microworld --model microworld
    """
    import orjson

    from cai.evaluation.case_reports import as_json, as_junit
    from cai.evaluation.cases import CaseSettings, judge_cases
    from cai.outputs import check_file

    if junit is not None:
        check_file(junit, "--junit")
    settings = CaseSettings(ledger=ledger, files=tuple(cases or ()))
    judge = _judge(model, endpoint, family)
    if recipe is not None:
        of_recipe, settings = _of_recipe(recipe, file, settings)
        judge = judge or of_recipe
    if judge is None:
        raise CaiError("no judge is named; add --model NAME, or --recipe FILE for its judge")
    if dry_run:
        _foretell(file, judge, settings)
        return
    report = judge_cases(file, model=judge, settings=settings)
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_text(as_junit(report), encoding="utf-8")
    if json:
        typer.echo(orjson.dumps(as_json(report), option=orjson.OPT_INDENT_2).decode())
    else:
        console().print(_table(report))
        print_lines(_summary(file, report))
    if report.failed:
        raise typer.Exit(1)


def _judge(
    model: str, endpoint: str | None, family: Literal["chat", "completion"] | None
) -> ModelSettings | None:
    from cai.models.settings import settings_of

    return settings_of(model, endpoint=endpoint, family=family) if model else None


def _of_recipe(
    path: Path, constitution: str, settings: CaseSettings
) -> tuple[ModelSettings, CaseSettings]:
    """The judge of a recipe, and how a run with it asks its judge."""
    from cai.constitution import load_constitution
    from cai.evaluation.patterns import parse_patterns, read_patterns
    from cai.recipe import load_recipe

    recipe = load_recipe(path)
    wording = None
    if "judge" in recipe.worded_refusals:
        own = recipe.refusals.patterns
        language = load_constitution(constitution).language
        wording = (read_patterns(language) if own is None else parse_patterns(own)).is_refusal
    return recipe.models.of("judge"), replace(
        settings,
        templates=recipe.templates,
        frame=recipe.comparisons.label.frame,
        minimum_mass=recipe.comparisons.minimum_mass,
        fallback=recipe.models.fallback,
        wording=wording,
    )


def _foretell(constitution: str, judge: ModelSettings, settings: CaseSettings) -> None:
    from cai.cli.forecast_table import counting, print_forecast
    from cai.pipeline.case_forecast import foretell_cases

    with counting():
        told = foretell_cases(constitution, judge, settings)
    print_forecast(told, sampled=False, samples=False, states=False)


def _table(report: CaseReport) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("principle", "passed", "lowest p", title=f"{report.constitution}'s cases")
    for id in dict.fromkeys(result.principle for result in report.results):
        results = [result for result in report.results if result.principle == id]
        told = [result.p for result in results if result.p is not None]
        passed = sum(result.passed for result in results)
        style = None if passed == len(results) else "bold red"
        lowest = f"{min(told):.3f}" if told else "no verdict"
        table.add_row(escape(id), f"{passed} of {len(results)}", lowest, style=style)
    return table


def _summary(file: str, report: CaseReport) -> Iterator[str]:
    for result in report.failed:
        yield f"FAILED {result}"
    if report.left_out:
        yield f"inherited cases left out, since their principles were removed: {report.left_out}"
    if report.untested:
        yield f"no case asks about {', '.join(report.untested)}"
    answered = sum(bool(result.answered_by) for result in report.results)
    if answered:
        yield f"the judge declined {answered} of them, and the fallback answered"
    passed = len(report.results) - len(report.failed)
    yield f"{file}: {passed} of {len(report.results)} passed, judged by {report.judge}"
