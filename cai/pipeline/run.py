"""The steps of a run in their order; each can be the last one.

Whatever a killed run had finished is found again: calls in the ledger, models by the hash of what
they were made from. So going on after a kill and running again after an edit are the same thing.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cai.datasets.preferences import count_by_source
from cai.engine import Ledger, Progress
from cai.engine.budget import Budget
from cai.models.price_list import told_prices
from cai.pipeline import training
from cai.pipeline.contamination import measure_contamination
from cai.pipeline.default_rates import default_rates
from cai.pipeline.evaluating import evaluate_policies, measure_labels, measure_revisions
from cai.pipeline.folder import RunFolder
from cai.pipeline.given import read_given
from cai.pipeline.made_with import save_made_with
from cai.pipeline.measurable import check_measurable
from cai.pipeline.model_cards import write_model_cards
from cai.pipeline.preferences import generate_comparisons, probe_labels
from cai.pipeline.principles import measure_principles
from cai.pipeline.provenance import run_identity
from cai.pipeline.revisions import generate_helpful_replies, generate_revisions
from cai.pipeline.robustness import measure_robustness
from cai.pipeline.source_check import check_sources
from cai.pipeline.steps import STEPS, Step, in_iterations, steps_of
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, save_recipe
from cai.report import write_cards, write_report
from cai.splits import Shard
from cai.stopping import run_until_stopped

KEPT = frozenset({"reward", "robustness", "best_of_data"})
"""Figures of models and data that a run of fewer steps leaves as they are."""

OF_POLICIES = frozenset(
    {"stages", "contest", "harmfulness", "verdicts", "style", "best_of", "pm", "iterations"}
    | {"contamination"}
)
"""Figures that the step `evaluate` makes, under the recipe's `evaluation`."""


@dataclass
class Figures:
    """What a run has measured so far; written after every step."""

    folder: RunFolder
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, figures: Mapping[str, Any]) -> None:
        """Keep figures and write them all."""
        self.values.update(figures)
        self.folder.write_metrics(self.values)

    def time(self, name: str, began: float) -> None:
        """Add the seconds since `began` to those of a part of the run."""
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)
        self.values["seconds"] = {**self.values.get("seconds", {}), **self.seconds}


def run_recipe(
    recipe: Recipe,
    folder: RunFolder,
    *,
    steps: Sequence[Step] | None = None,
    command: str = "",
    shard: Shard | None = None,
    reuse: Sequence[Path] = (),
    events: BinaryIO | None = None,
    budget: Budget | None = None,
) -> Mapping[str, Any]:
    """Do some steps of a recipe, in their order; gives the figures.

    Args:
        recipe: what to do.
        folder: where; made if it is not there, gone on with if it is.
        steps: what to do; a step takes up what the steps before it have left in the folder.
            None for all that the recipe asks for.
        command: how the run was started, for the report.
        shard: the slice of the prompts to work on, by `generation_steps` only; None for all.
        reuse: ledgers of other runs, whose calls count as bought.
        events: gets the events of the run's log as they come, in place of a progress display.
        budget: the most that may be spent; None for any amount.

    Raises:
        BudgetReached: nothing more may be spent; all finished calls and rows are kept.
        CaiError: what the person at the terminal can put right; all finished calls are kept.
    """
    steps = steps_of(recipe) if steps is None else steps
    budget = budget or Budget()
    # Before the folder is made, so that a mistake leaves none behind.
    check_sources(recipe, steps)
    given = read_given(recipe, folder.reruns, budget)
    folder.make()
    with (
        Ledger.open(folder.ledger, reuse=reuse) as ledger,
        Progress(folder.log, about={"command": command, "steps": steps}, events=events) as progress,
    ):
        studio = Studio(recipe, folder, ledger, progress, shard=shard, budget=budget, given=given)
        save_recipe(recipe, folder.recipe)
        save_made_with(folder, recipe, studio.setting)
        _say_what_is_not_found(studio)
        if rates := default_rates(recipe, steps):
            progress.say(rates)
        figures = Figures(folder)
        identity = run_identity(studio, command)
        earlier = _earlier(folder, identity)
        goes_on = steps[0] != STEPS[0]
        figures.add({name: earlier[name] for name in earlier if goes_on or name in KEPT})
        figures.add({"run": identity})
        run_until_stopped(_steps(studio, figures, steps))
        figures.add({"rows": row_counts(ledger), **left_out_counts(studio, figures.values)})
        figures.add({"mix": {**figures.values.get("mix", {}), **studio.mixed}})
        pairs = count_by_source(ledger, studio.iteration)
        figures.add({"filtered": filter_counts(ledger), "pairs": pairs})
        figures.add({"by_fallback": ledger.counts_by_fallback()})
        figures.add({"calls": studio.tally.to_json()})
        playing = recipe.playing
        figures.add({"prices": {one.name: told_prices(one) for one in playing}})
        write_cards(folder.path, figures.values)
        write_model_cards(folder, figures.values)
        write_report(folder.path)
    return figures.values


def _say_what_is_not_found(studio: Studio) -> None:
    lost = studio.ledger.calls_of_other_keys()
    if lost:
        studio.progress.say(
            f"{lost} calls are there with keys that another version of this program made: they are "
            "kept, but not found again, so what the recipe needs of them is bought anew; Ctrl-C "
            "stops, and that version finds them"
        )


def _earlier(folder: RunFolder, identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was measured before of this very recipe and constitution.

    Under another `evaluation`, figures of policies are no longer this recipe's; others still are.
    """
    metrics = folder.read_metrics()
    was = metrics.get("run", {})

    def same(*names: str) -> bool:
        return all(was.get(name) == identity[name] for name in names)

    if same("recipe_hash", "constitution"):
        return metrics
    if same("hash_before_evaluation", "constitution"):
        return {name: metrics[name] for name in metrics if name not in OF_POLICIES}
    return {}


async def _steps(studio: Studio, figures: Figures, steps: Sequence[Step]) -> None:
    try:
        check_measurable(studio, steps)
        # Of iterations that the recipe no longer has, calls and models stay, for one that has.
        await studio.ledger.drop_iterations(studio.recipe.iterations)
        for iteration, step in in_iterations(steps, studio.recipe.iterations):
            studio.begin_iteration(iteration)
            await _DO[step](studio, figures)
    finally:
        await studio.close()


async def _revisions(studio: Studio, figures: Figures) -> None:
    began = time.monotonic()
    await generate_revisions(studio)
    await generate_helpful_replies(studio)
    training.write_sft_data(studio)
    figures.time("generate", began)
    began = time.monotonic()
    figures.add(measure_revisions(studio))
    await probe_labels(studio)
    figures.add(measure_labels(studio))
    figures.add(measure_principles(studio))
    figures.time("evaluate", began)


async def _distill(studio: Studio, figures: Figures) -> None:
    await _train(training.train_distilled, "distill", studio, figures)


async def _sft(studio: Studio, figures: Figures) -> None:
    await _train(training.train_sft, "sft", studio, figures)


async def _preferences(studio: Studio, figures: Figures) -> None:
    began = time.monotonic()
    await generate_comparisons(studio)
    training.write_preference_data(studio)
    figures.time("preferences", began)
    figures.add(measure_labels(studio))
    figures.add(measure_principles(studio))


async def _pm(studio: Studio, figures: Figures) -> None:
    await _train(training.train_preference_model, "pm", studio, figures)


async def _dpo(studio: Studio, figures: Figures) -> None:
    await _train(training.train_dpo, "dpo", studio, figures)


async def _rl(studio: Studio, figures: Figures) -> None:
    began = time.monotonic()
    await training.train_rl(studio)
    figures.time("rl", began)
    figures.add({"reward": studio.recipe.rl.reward.model_dump(mode="json")})
    figures.add(measure_robustness(studio))


async def _evaluate(studio: Studio, figures: Figures) -> None:
    began = time.monotonic()
    async for found in evaluate_policies(studio):
        figures.add(found)
    figures.add(measure_contamination(studio))
    figures.time("evaluate", began)


async def _train(
    train: Callable[[Studio], None], name: str, studio: Studio, figures: Figures
) -> None:
    began = time.monotonic()
    train(studio)
    figures.time(name, began)
    figures.add({})


_DO = {
    "revisions": _revisions,
    "distill": _distill,
    "sft": _sft,
    "preferences": _preferences,
    "dpo": _dpo,
    "pm": _pm,
    "rl": _rl,
    "evaluate": _evaluate,
}


def filter_counts(ledger: Ledger) -> dict[str, dict[str, int]]:
    """How many rows of each stage were filtered, by reason; numbers in a reason count as one."""
    counts: dict[str, Counter[str]] = {}
    for row in ledger.rows(status="filtered"):
        reason = re.sub(r"\d+\.\d+", "N", row.reason)
        counts.setdefault(row.key.stage, Counter())[reason] += 1
    return {stage: dict(found.most_common()) for stage, found in counts.items()}


def row_counts(ledger: Ledger) -> dict[str, dict[str, int]]:
    """How many rows of each stage ended how."""
    counts: dict[str, dict[str, int]] = {}
    for (stage, status), number in ledger.counts().items():
        counts.setdefault(stage, {})[status] = number
    return counts


def left_out_counts(studio: Studio, before: Mapping[str, Any]) -> dict[str, Any]:
    """What was left out: of each set that was read as it is now, of others as was counted before.

    Args:
        studio: that has read some of the sets.
        before: the figures of the run so far.

    Returns:
        ``left_out`` by source and reason, and ``left_out_of`` the same of each set.
    """
    counted: dict[str, dict[str, int]] = {**before.get("left_out_of", {})}
    counted |= {name: dict(counts) for name, counts in studio.left_out_of.items()}
    total = sum(map(Counter, counted.values()), Counter[str]())
    return {"left_out": dict(total), "left_out_of": counted}
