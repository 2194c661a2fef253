"""Take the steps of a run with foreseen models, and see which calls it would make.

A policy that is still to be trained, or to be trained anew, has answered nothing yet, so all of
its calls are new. Whether a trained one would stay is known without training: as long as every
call is found, the data sets that the run would write are written in a folder aside, and hashed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cai.engine import Ledger, Progress
from cai.engine.foreseen import (
    ForeseenModel,
    ForeseenPrompts,
    Foresight,
    ModelName,
    PassingRows,
)
from cai.models import ModelSettings
from cai.models.base import LanguageModel
from cai.pipeline import ingredients
from cai.pipeline.aside import foreseen_model, quiet
from cai.pipeline.folder import ModelName as ModelFolder
from cai.pipeline.folder import RunFolder
from cai.pipeline.judged import passes_of_judges
from cai.pipeline.measurable import check_measurable
from cai.pipeline.policies import StagePolicy, policies, sample_policy
from cai.pipeline.preferences import generate_comparisons, probe_labels
from cai.pipeline.rating_reward import Ratings
from cai.pipeline.revisions import generate_helpful_replies, generate_revisions
from cai.pipeline.stand_ins import with_stand_ins
from cai.pipeline.steps import Step, in_iterations
from cai.pipeline.studio import Studio
from cai.pipeline.templates import templates_of
from cai.pipeline.trained import TRAINED
from cai.pipeline.trial import Trial
from cai.recipe import Recipe
from cai.records import RowKey
from cai.splits import Shard
from trainers.work_folder import SNAPSHOTS

Pass = Callable[[Studio], Awaitable[None]]

LEARNED_PARTS = (
    *("response", "critique", "revision", "revision_check", "helpful"),
    *("pair", "comparison", "reasoning", "canned_refusal", "contrast"),
)
"""Parts of a run whose answers end in a data set."""


class Plan(NamedTuple):
    """What is to be foreseen.

    Args:
        recipe: what the run does.
        folder: where it is, or would be.
        sample: how many items of each pass to take in earnest, buying their calls; 0 for none.
        shard: the slice of the prompts to work on; None for all.
        reuse: ledgers of other runs, whose calls count as bought.
        rows: gets the rows that calls to be made belong to; None: they are not noted.
    """

    recipe: Recipe
    folder: RunFolder
    sample: int = 0
    shard: Shard | None = None
    reuse: Sequence[Path] = ()
    rows: set[RowKey] | None = None


class Preview:
    """Takes the steps of a run: a sample with real models first, then all of it with foreseen ones.

    Args:
        counter: takes every item, in a folder aside.
        sampler: takes a sample in the run's folder; None to buy nothing.
        foresight: counts the calls of the counter's models.
        to_train: the models that the run trains, as far as its steps were taken; see
            `RunFolder.place`.
    """

    def __init__(
        self,
        counter: Studio,
        sampler: Studio | None,
        foresight: Foresight,
        to_train: list[str],
    ) -> None:
        """Take nothing yet."""
        self.foresight = foresight
        self.to_train = to_train
        self._counter = counter
        self._sampler = sampler

    @property
    def left_out(self) -> Mapping[str, int]:
        """Rows of the recipe's sets that the steps taken leave out, by source and reason."""
        return self._counter.left_out

    async def take(self, steps: Sequence[Step]) -> None:
        """Take steps in their order.

        Raises:
            CaiError: what would stop the run as well, such as a file that is not there.
        """
        try:
            check_measurable(self._counter, steps)
            for iteration, step in in_iterations(steps, self._counter.recipe.iterations):
                self._begin_iteration(iteration)
                await _TAKE[step](self)
        finally:
            for studio in (self._counter, self._sampler):
                if studio is not None:
                    await studio.close()

    async def revisions(self) -> None:
        """Foresee the supervised data, and the labels of known pairs."""
        for one in (generate_revisions, generate_helpful_replies, probe_labels):
            await self._take_pass(one)

    async def preferences(self) -> None:
        """Foresee the preference data."""
        folder = self._counter.folder
        by = "sl_cai" if self._counter.recipe.comparisons.responder == "sl_cai" else None
        if folder.iteration:
            by = folder.at(folder.iteration - 1).place("rl_cai")
        await self._take_pass(generate_comparisons, by)

    async def evaluate(self) -> None:
        """Foresee the replies of every policy that there will be."""
        last = self._counter.iteration
        for policy in policies(self._counter, self._will_be_there):
            self._begin_iteration(policy.iteration)
            trained = policy.trained and self._counter.folder.place(policy.trained)
            await self._take_pass(partial(sample_policy, policy=policy), trained)
        asked = list(policies(self._counter, self._will_be_there))
        self._begin_iteration(0)
        for one in passes_of_judges(self._counter.recipe, asked):
            await self._take_pass(one.take, self._untrained(asked) if one.of_replies else None)
        self._begin_iteration(last)

    def _untrained(self, asked: Sequence[StagePolicy]) -> str | None:
        """A model of these that is still to be trained."""
        folder = self._counter.folder
        places = [folder.at(one.iteration).place(one.trained) for one in asked if one.trained]
        return next((place for place in places if place in self.to_train), None)

    def _will_be_there(self, folder: RunFolder, name: ModelFolder) -> bool:
        trained = ingredients.inputs_of(folder.model(name)) is not None
        return trained or folder.place(name) in self.to_train

    async def preference_models(self) -> None:
        """Note which preference models the run would train."""
        await self.train("pm")
        if self._counter.recipe.datasets.preference_halves:
            await self.train("pm_test")

    async def train(self, name: ModelFolder) -> None:
        """Note whether the run would train a model, or keep the one that is there."""
        folder = self._counter.folder
        anew = any(folder.place(start) in self.to_train for start in TRAINED[name].starts)
        if anew or self.foresight.to_buy(LEARNED_PARTS) or not self._stays(name):
            self.to_train.append(folder.place(name))
            if name == "rl_cai" and self._counter.recipe.rl.reward.rating:
                await self._take_pass(_ratings, by=folder.place(name))

    def _stays(self, name: ModelFolder) -> bool:
        made_of = ingredients.inputs_of(self._counter.folder.model(name))
        if made_of is None:
            return False
        TRAINED[name].write_data(self._counter)
        return made_of == TRAINED[name].made_of(self._counter).hash

    async def _take_pass(self, one: Pass, by: str | None = None) -> None:
        if self._sampler is not None and by not in self.to_train:
            await one(self._sampler)
        await one(self._counter)

    def _begin_iteration(self, iteration: int) -> None:
        for studio in (self._counter, self._sampler):
            if studio is not None:
                studio.begin_iteration(iteration)


@contextmanager
def preview_of(plan: Plan) -> Generator[Preview, None, None]:
    """Open what a preview needs; the run's folder is written to only for a sample.

    Raises:
        RunError: the run's ledger cannot be read or, for a sample, another process writes to it.
    """
    with ExitStack() as opened:
        place = opened.enter_context(tempfile.TemporaryDirectory(prefix="cai-forecast-"))
        aside = _aside(plan.folder, Path(place))
        fresh = not plan.sample and not plan.folder.ledger.is_file()
        # Of a run that was begun every text matters: the ledger may have what follows from it.
        unbought = fresh and not plan.reuse
        rows = opened.enter_context(Ledger.open(aside.ledger, reuse=plan.reuse if fresh else ()))
        ledger = rows if fresh else opened.enter_context(_ledger(plan))
        foresight, to_train = Foresight(ledger, plan.rows), list[str]()
        trained = ingredients.inputs_of(plan.folder.model("sl_cai")) is not None
        keeper = PassingRows(rows, lambda: trained and not foresight.to_buy(LEARNED_PARTS))
        opener = _foreseen(aside, foresight, to_train, nothing_bought=unbought)
        trial = Trial(keeper, opener)
        unseen = opened.enter_context(quiet())
        recipe = with_stand_ins(plan.recipe, Path(place)) if unbought else plan.recipe
        counter = Studio(recipe, aside, rows, unseen, shard=plan.shard, trial=trial)
        prompts = templates_of(recipe, counter.setting.constitution, ForeseenPrompts)
        counter.setting = replace(counter.setting, prompts=prompts)
        sampler = opened.enter_context(_sampler(plan, ledger)) if plan.sample else None
        if sampler is not None:
            # Its recipe lacks judged pairs, which may be near its prompts.
            sampler.filters = counter.filters
        yield Preview(counter, sampler, foresight, to_train)


def _aside(folder: RunFolder, place: Path) -> RunFolder:
    """A folder that has the run's models and settings, and its own ledger and data sets."""
    aside = RunFolder(place)
    for path in (folder.model("sl_cai").parent, folder.reruns):
        if path.exists():
            (place / path.name).symlink_to(path.resolve())
    return aside


def _ledger(plan: Plan) -> Ledger:
    if plan.sample:
        plan.folder.path.mkdir(parents=True, exist_ok=True)
    return Ledger.open(plan.folder.ledger, read_only=not plan.sample, reuse=plan.reuse)


def _foreseen(
    aside: RunFolder,
    foresight: Foresight,
    to_train: Sequence[str],
    *,
    nothing_bought: bool,
) -> Callable[[ModelSettings], LanguageModel]:
    models = aside.model("sl_cai").parent.resolve()

    def opener(settings: ModelSettings) -> LanguageModel:
        policy, prices = _place(settings, models), settings.known_prices
        if policy in to_train:
            shown = f"{policy} (to train)"
            return ForeseenModel(ModelName(shown, shown, prices, exists=False), foresight)
        return foreseen_model(
            settings, foresight, nothing_bought=nothing_bought, shown=policy or settings.name
        )

    return opener


def _place(settings: ModelSettings, models: Path) -> str | None:
    """Where a policy of the run lies among its models; None for any other model."""
    path = Path(settings.adapter or settings.name)
    if not path.is_relative_to(models):
        return None
    return path.relative_to(models).as_posix().partition(f"/{SNAPSHOTS}/")[0]


@contextmanager
def _sampler(plan: Plan, ledger: Ledger) -> Generator[Studio, None, None]:
    """Takes prompts alone: judged pairs make no calls."""
    comparisons = plan.recipe.comparisons.model_copy(update={"human": ()})
    recipe = plan.recipe.model_copy(update={"comparisons": comparisons})
    trial = Trial(PassingRows(ledger), sample=plan.sample)
    with Progress() as progress:
        yield Studio(recipe, plan.folder, ledger, progress, shard=plan.shard, trial=trial)


async def _ratings(studio: Studio) -> None:
    rl = studio.recipe.rl
    prompts = (*studio.prompts("red_team"), *studio.prompts("helpful"))
    await Ratings(studio).foresee(rl.steps * rl.prompts_per_step * rl.generations, prompts)


_TAKE: Mapping[Step, Callable[[Preview], Awaitable[None]]] = {
    "revisions": Preview.revisions,
    "distill": lambda preview: preview.train("distilled"),
    "sft": lambda preview: preview.train("sl_cai"),
    "preferences": Preview.preferences,
    "pm": Preview.preference_models,
    "dpo": lambda preview: preview.train("dpo"),
    "rl": lambda preview: preview.train("rl_cai"),
    "evaluate": Preview.evaluate,
}
