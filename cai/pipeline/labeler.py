"""Measure judges on questions whose right answers are known, before anything is labelled.

Each judge asks as a run's labels are made, by the same stage; what it answers is bought once, into
a folder that can be looked at as any run's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cai.engine import Ledger, Progress
from cai.engine.budget import Budget
from cai.errors import CaiError
from cai.evaluation.agreement import Agreement, Item, agreements
from cai.evaluation.judge import JudgeFigures
from cai.filter_settings import ContaminationSettings
from cai.filters.contamination import Overlap
from cai.models import ModelSettings
from cai.models.family import check_fallback
from cai.pipeline.contamination import held_against, origins_of_models
from cai.pipeline.folder import RunFolder
from cai.pipeline.judging import ask_questions, check_questions
from cai.pipeline.labeler_constitution import constitution_of
from cai.pipeline.labeler_figures import figures_from, sides
from cai.pipeline.labeler_items import Question, items_of
from cai.pipeline.labelling import judging_of
from cai.pipeline.own_folder import refuse_folder_without
from cai.pipeline.provenance import run_identity
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, save_recipe
from cai.records import Message
from cai.roles import Roles
from cai.sources import Unreadable
from cai.sources.questions import JudgedChoice, read_questions
from cai.stopping import run_until_stopped

STAGE = "label"


@dataclass(frozen=True)
class Trials:
    """What judges are measured on, and how.

    Args:
        data: files, or ``microworld:heldout``.
        judges: who is measured.
        recipe: its constitution, templates, seed and way of labelling are used, and the fallback.
        folder: where everything goes.
        names_constitution: whether the recipe's constitution was asked for; if not, that of the
            data is used: the files' own questions, or the microworld's.
        each_principle: label every pair under each principle, not under those that are drawn.
        limit: most rows of each file.

    Raises:
        RunError: the folder is that of a run, or of something else that is measured.
    """

    data: tuple[str, ...]
    judges: tuple[ModelSettings, ...]
    recipe: Recipe
    folder: RunFolder
    names_constitution: bool = True
    each_principle: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse a folder whose rows, recipe and figures would be replaced."""
        refuse_folder_without(self.folder, "judges")


@dataclass(frozen=True)
class Trialled:
    """What was found.

    Args:
        judges: figures of each one.
        between_principles: of the first judge, if each principle was asked for.
        between_judges: of every two.
        left_out: rows of the files that are no questions, by reason.
        run: identity of what was run.
        calls: what was bought now, and what was there already.
        contamination: training prompts of the judges against those of the questions; None where no
            judge's run is known.
    """

    judges: tuple[JudgeFigures, ...]
    between_principles: tuple[Agreement, ...] = ()
    between_judges: tuple[Agreement, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    run: Mapping[str, Any] = field(default_factory=dict[str, Any])
    calls: Sequence[Mapping[str, Any]] = ()
    contamination: Overlap | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of the folder's `metrics.json`; ``labels`` are the first judge's."""
        return {
            "run": self.run,
            "labels": self.judges[0].labels.to_json(),
            "judges": [judge.to_json() for judge in self.judges],
            "between_principles": [one.to_json() for one in self.between_principles],
            "between_judges": [one.to_json() for one in self.between_judges],
            "left_out": self.left_out,
            "bought": list(self.calls),
            "contamination": self.contamination.to_json() if self.contamination else None,
        }


def measure_judges(trials: Trials, *, command: str = "", budget: Budget | None = None) -> Trialled:
    """Ask each judge every question, and measure what it says; writes the folder's metrics.

    Args:
        trials: who is asked what, and how.
        command: how this was started.
        budget: the most that may be spent; None for any amount.

    Raises:
        CaiError: there is no question, a way of labelling that the questions do not have, or what
            stops a run as well; everything bought is kept.
    """
    left_out: dict[str, int] = {}
    questions = questions_of(trials, left_out)
    trials.folder.make()
    recipe = constitution_of(trials.recipe, questions, trials.folder, trials.names_constitution)
    trials = replace(trials, recipe=recipe)
    with (
        Ledger.open(trials.folder.ledger) as ledger,
        Progress(trials.folder.log, about={"command": command}) as progress,
    ):
        save_recipe(recipe_for(trials.judges[0], recipe), trials.folder.recipe)
        found = _Judges(trials, questions, ledger, progress, budget or Budget())
        run_until_stopped(found.measure(command))
    shared = _contamination(trials, questions)
    trialled = replace(found.trialled, left_out=left_out, contamination=shared)
    trials.folder.write_metrics(trialled.to_json())
    return trialled


def _contamination(trials: Trials, questions: Sequence[Question]) -> Overlap | None:
    asked: dict[str, list[Sequence[Message]]] = {}
    for one in questions:
        if isinstance(one, JudgedChoice):
            asked.setdefault(one.choice.source, []).append(one.choice.conversation)
        else:
            asked.setdefault(one.pair.prompt.source, []).append(one.pair.prompt.messages)
    settings = trials.recipe.filters.contamination or ContaminationSettings()
    return held_against(origins_of_models(trials.judges), asked, settings.words)


class _Judges:
    """Measures one judge after the other, over one ledger."""

    def __init__(
        self,
        trials: Trials,
        questions: Sequence[Question],
        ledger: Ledger,
        progress: Progress,
        budget: Budget,
    ) -> None:
        self._trials = trials
        self._questions = questions
        self._ledger = ledger
        self._progress = progress
        self._budget = budget
        self._chosen: dict[str, Mapping[Item, str]] = {}
        self.trialled = Trialled(())

    async def measure(self, command: str) -> None:
        """Ask each judge, and put what was found into `trialled`."""
        made: set[str] = set()
        for number, settings in enumerate(self._trials.judges):
            studio = self._studio(settings)
            try:
                stages = await ask(studio, self._questions, self._trials, number)
            finally:
                await studio.close()
            made.update(stages)
            self._add(studio, settings, stages)
            if number == 0:
                self.trialled = replace(self.trialled, run=run_identity(studio, command))
        await self._drop_others(made)
        self.trialled = replace(self.trialled, between_judges=agreements(self._chosen))

    def _add(self, studio: Studio, settings: ModelSettings, stages: Sequence[str]) -> None:
        chosen = sides(self._ledger, stages)
        self._chosen[settings.name] = {
            Item(item.prompt, f"{under}/{item.name}"): choice
            for under, of in chosen.items()
            for item, choice in of.items()
        }
        chosen.pop("", None)
        so_far = self.trialled
        self.trialled = replace(
            so_far,
            judges=(*so_far.judges, figures_from(studio, settings, stages)),
            between_principles=so_far.between_principles or agreements(chosen),
            calls=(*so_far.calls, {"judge": settings.name, **studio.tally.to_json()}),
        )

    def _studio(self, settings: ModelSettings) -> Studio:
        recipe = recipe_for(settings, self._trials.recipe)
        return Studio(
            recipe, self._trials.folder, self._ledger, self._progress, budget=self._budget
        )

    async def _drop_others(self, made: set[str]) -> None:
        """Remove rows of judges and principles that were asked for before, and are not now."""
        others = {stage for stage, _ in self._ledger.counts()} - made
        await self._ledger.prune(sorted(others), await self._ledger.begin_sweep())


async def ask(
    studio: Studio, questions: Sequence[Question], trials: Trials, number: int
) -> tuple[str, ...]:
    """Make the rows of one judge; gives their stages.

    Args:
        studio: whose judge is asked.
        questions: all that are asked.
        trials: how.
        number: the judge's place, from 0.
    """
    prefix = STAGE if number == 0 else f"{STAGE}-{number + 1}"
    judging = judging_of(studio)
    items = items_of(questions, judging, each_principle=trials.each_principle, stage=prefix)
    stages = tuple(dict.fromkeys((prefix, *(item.key.stage for item in items))))
    title = f"ask {studio.recipe.models.of('judge').name}"
    await ask_questions(studio, judging, items, stages, title)
    return stages


def questions_of(trials: Trials, left_out: dict[str, int]) -> list[Question]:
    """All that is asked.

    Args:
        trials: name the data.
        left_out: gets the rows of it that are no questions, counted by reason.

    Raises:
        CaiError: as `measure_judges`.
    """
    questions = list(_questions(trials, left_out))
    _check(questions, trials)
    return questions


def _questions(trials: Trials, left_out: dict[str, int]) -> Iterator[Question]:
    for source in trials.data:
        for one in read_questions(source, limit=trials.limit, seed=trials.recipe.seed):
            if isinstance(one, Unreadable):
                reason = f"{one.source}: {one.reason}"
                left_out[reason] = left_out.get(reason, 0) + 1
            else:
                yield one


def _check(questions: Sequence[Question], trials: Trials) -> None:
    names = [judge.name for judge in trials.judges]
    if len({*names}) < len(names):
        raise CaiError(f"a judge is named twice: {', '.join(names)}")
    check_questions(questions, trials.recipe.comparisons.label, trials.data)
    if trials.each_principle and trials.recipe.comparisons.label.principles > 1:
        raise CaiError("--each-principle asks under one at a time; leave out label.principles")


def recipe_for(settings: ModelSettings, recipe: Recipe) -> Recipe:
    """The recipe with one model alone, and its fallback: nobody else is asked anything."""
    check_fallback(settings, recipe.models.fallback)
    roles = Roles(default=settings, fallback=recipe.models.fallback)
    return recipe.model_copy(update={"models": roles})
