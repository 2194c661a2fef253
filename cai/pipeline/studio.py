"""What the steps of one run share: recipe, folder, ledger, models and progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cai.datasets.mixing import Mixed
from cai.engine import Ledger, Progress, RowLog, Tally, make_rows
from cai.engine.budget import Budget
from cai.evaluation.patterns import Patterns
from cai.models import ModelSettings, open_model
from cai.models.base import LanguageModel
from cai.models.roles import IsRefusal, ModelInRole
from cai.pipeline.batching import Batching
from cai.pipeline.counted import Counted
from cai.pipeline.folder import DataName, RunFolder
from cai.pipeline.given import Given, patterns_of, read_given
from cai.pipeline.pressures import Pressures
from cai.pipeline.reruns import ChosenItems
from cai.pipeline.trial import Trial
from cai.recipe import Recipe
from cai.records import Comparison, Prompt, RowKey
from cai.roles import RoleName
from cai.sources import PromptSet, Unreadable, read_prompts
from cai.sources.pairs import read_pairs
from cai.sources.seen import Seen
from cai.splits import Purpose, Shard, purpose_of

Item = TypeVar("Item")
SetName = Literal["red_team", "helpful", "evaluation"]

COMPARED = frozenset({"pair", "canned_refusal", "contrast"})
"""Stages whose replies are to be compared."""


@dataclass
class Studio:
    """Owns the open models of a run; each is opened at its first use, and once.

    Args:
        recipe: what to do.
        folder: where.
        ledger: every call and row.
        progress: what the person at the terminal sees.
        chosen: the only items to be made again; None for all.
        shard: the slice of the prompts to work on; None for all.
        trial: how passes are taken if not in earnest.
        budget: the most that may be spent.
        given: constitution, templates and the like; None to read them.
    """

    recipe: Recipe
    folder: RunFolder
    ledger: Ledger
    progress: Progress
    chosen: ChosenItems | None = None
    shard: Shard | None = None
    trial: Trial | None = None
    budget: Budget = field(default_factory=Budget)
    given: Given | None = None
    tally: Tally = field(default_factory=Tally)
    mixed: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    left_out_of: dict[str, Counter[str]] = field(default_factory=dict[str, "Counter[str]"])
    _open: dict[str, LanguageModel] = field(default_factory=dict[str, LanguageModel])
    _playing: dict[tuple[RoleName, bool, tuple[str, ...]], LanguageModel] = field(
        default_factory=dict[tuple[RoleName, bool, tuple[str, ...]], LanguageModel]
    )

    def __post_init__(self) -> None:
        """Read what it is given, if it is not read yet: a fault shows before any call."""
        given = self.given or read_given(self.recipe, self.folder.reruns, self.budget)
        self.setting, self.filters = given.setting, given.filters
        self.rows_with_settings = given.rows_with_settings
        self._row_settings, self._recipes = given.row_settings, given.recipes
        self._patterns = dict(given.patterns)
        recipes = [self.recipe, *self._recipes.values()]
        self._pressures = Pressures(recipes, self.tally)
        self._batching = Batching(
            recipes,
            self.folder,
            self.ledger,
            self.progress,
            tally=self.tally,
            sends=self.trial is None,
        )

    def recipe_for(self, key: RowKey) -> Recipe:
        """The recipe of a row: the run's, with what a rerun has set for the row."""
        settings = self._row_settings.of(key)
        return self._recipes[settings] if settings else self.recipe

    def takes(self, item: RowKey) -> bool:
        """Whether an item is to be made: every one, or those that a rerun has chosen."""
        return self.chosen is None or self.chosen.take(item)

    def begin_iteration(self, iteration: int) -> None:
        """Go on with an iteration of online training: rows, data sets and models are its own."""
        self.folder = self.folder.at(iteration)

    def titled(self, title: str) -> str:
        """The title of a part of the run, with the iteration if it is a later one."""
        return f"{title}, iteration {self.iteration}" if self.iteration else title

    @property
    def iteration(self) -> int:
        """Of online training, 0 at first."""
        return self.folder.iteration

    def holds(self, prompt: Prompt) -> bool:
        """Whether a prompt is in the slice that is worked on."""
        return self.shard is None or self.shard.holds(prompt.messages)

    def model(self, role: RoleName, key: RowKey) -> LanguageModel:
        """The model that plays a role for a row, or its fallback; all answers are bought."""
        settings, compared = self._row_settings.of(key), key.stage in COMPARED
        if (role, compared, settings) not in self._playing:
            recipe = self._recipes[settings] if settings else self.recipe
            self._playing[role, compared, settings] = self._in_role(role, compared, recipe)
        return self._playing[role, compared, settings]

    def _in_role(self, role: RoleName, compared: bool, recipe: Recipe) -> LanguageModel:
        """A model in its role, or as it is if the role adds nothing to it.

        Replies that are to be compared may be worded as refusals: whether they should be is what
        the comparison is about.
        """
        settings = recipe.models.of(role)
        worded = role in recipe.worded_refusals and not compared
        wording = self._patterns_of(recipe).is_refusal if worded else None
        last = recipe.models.fallback
        if wording is None and last is None:
            return self.model_of(settings)
        fallback = None
        if last is not None:
            fallback = ModelInRole(self._opened(last), wording, last.sampling)
        return ModelInRole(self._opened(settings), wording, settings.sampling, fallback)

    def wording(self, key: RowKey) -> IsRefusal:
        """Tells refusals by their wording, for a row.

        Raises:
            CaiError: there are no patterns for the constitution's language.
        """
        return self._patterns_of(self.recipe_for(key)).is_refusal

    def patterns(self) -> Patterns:
        """The wording of refusals and evasions, as the run's recipe has it.

        Raises:
            CaiError: there are no patterns for the constitution's language.
        """
        return self._patterns_of(self.recipe)

    def _patterns_of(self, recipe: Recipe) -> Patterns:
        path = recipe.refusals.patterns
        if path not in self._patterns:
            language = self.setting.constitution.language
            self._patterns[path] = patterns_of(path, language)
        return self._patterns[path]

    def model_of(self, settings: ModelSettings) -> LanguageModel:
        """A model by its settings, which draws as they say; its answers are bought."""
        model, own = self._opened(settings), settings.sampling
        return model if own is None else ModelInRole(model, sampling=own)

    def _opened(self, settings: ModelSettings) -> LanguageModel:
        name = settings.model_dump_json(exclude={"sampling"})
        if name not in self._open:
            opener = self.trial.opener if self.trial else None
            self._open[name] = (opener or self._bought)(settings)
        return self._open[name]

    def _bought(self, settings: ModelSettings) -> LanguageModel:
        model = open_model(settings)
        return self._batching.bought(
            model,
            settings,
            tally=self.tally,
            attempts=self.recipe.engine.attempts,
            prices=settings.known_prices,
            pressure=self._pressures.on(settings, model.identity),
            budget=self.budget,
        )

    def prompts(self, name: SetName) -> Iterator[Prompt]:
        """The prompts of a set that are worked on; each once, others counted by reason.

        What is measured on is filtered by no setting.
        """
        sets: Sequence[PromptSet] = getattr(self.recipe.prompts, name)
        left_out = Counter[str]()
        with Seen() as seen:
            for prompt_set in sets:
                for prompt in read_prompts(prompt_set, self.recipe.seed):
                    if isinstance(prompt, Unreadable):
                        left_out[f"{prompt.source}: {prompt.reason}"] += 1
                    elif not self.holds(prompt):
                        continue
                    elif not seen.add(prompt.text_hash):
                        left_out[f"{prompt.source}: is a repeated prompt"] += 1
                    elif name != "evaluation" and (reason := self.filters.of_prompt(prompt)):
                        left_out[f"{prompt.source}: {reason}"] += 1
                    else:
                        yield prompt
        self.left_out_of[name] = left_out

    def judged_pairs(self) -> Iterator[Comparison]:
        """The pairs of the recipe that people judged and that are worked on; others are counted."""
        left_out = Counter[str]()
        for pair_set in self.recipe.comparisons.human:
            for pair in read_pairs(pair_set, self.recipe.seed):
                if isinstance(pair, Unreadable):
                    left_out[f"{pair.source}: {pair.reason}"] += 1
                elif not self.holds(pair.prompt):
                    continue
                elif reason := self.filters.of_pair(pair):
                    left_out[f"{pair.prompt.source}: {reason}"] += 1
                else:
                    yield pair
        self.left_out_of["judged pairs"] = left_out

    def note_left_out(self, name: str, counts: Mapping[str, int]) -> None:
        """Keep how many rows were left out of something, in place of what was said of it before."""
        self.left_out_of[name] = Counter(counts)

    def note_mixed(self, name: DataName, mixed: Mixed) -> None:
        """Keep how many rows of each source a data set has, and what was left out of it."""
        place = self.folder.place(name)
        self.mixed[place] = mixed.to_json()
        self.left_out_of[place] = Counter(mixed.reasons(place))

    @property
    def left_out(self) -> dict[str, int]:
        """Prompts and pairs that were left out, by source and reason; each counts once."""
        return dict(sum(self.left_out_of.values(), Counter[str]()))

    def purpose_of(self, prompt: Prompt) -> Purpose:
        """Whether a prompt serves the supervised stage or the preference stage."""
        share = self.recipe.datasets.sft_share
        return purpose_of(prompt.messages, share, self.filters.own_smallest)

    def note_unreadable(self, row: Unreadable) -> None:
        """Count a row of a file that is no pair to be measured on."""
        self.note_unmeasured({f"{row.source}: {row.reason}": 1})

    def note_unmeasured(self, counts: Mapping[str, int]) -> None:
        """Count rows and replies that nothing could be measured on, by reason."""
        if counts:
            self.left_out_of.setdefault("measured on", Counter()).update(counts)

    async def run_rows(
        self,
        title: str,
        items: Callable[[], Iterable[Item]],
        step: Callable[[Item, RowLog], Awaitable[None]],
        *,
        stages: Sequence[str],
    ) -> None:
        """Take every item through a step; rows of these stages not made this time are removed.

        In a rerun, items are those chosen, and rows of other items stay.

        Args:
            title: of the stage, for people.
            items: gives the items, the same each time: they are counted first, then streamed.
            step: makes the rows of one item.
            stages: those whose rows it makes.
        """
        total = sum(1 for _ in items())
        sweep = await make_rows(
            Counted(items, total, self.trial.sample if self.trial else None),
            step,
            ledger=self.trial.keeper if self.trial else self.ledger,
            in_flight=max(1, min(self._batching.in_flight, total)),
            progress=self.progress.stage(self.titled(title), self.tally),
            stages=stages,
        )
        if self.trial is not None:
            return
        if self.chosen is None:
            await self.ledger.prune(stages, sweep.number, self.iteration)
        else:
            rows = self.chosen.rows(stages, self.recipe.revisions.rounds)
            own = [row for row in rows if row.iteration == self.iteration]
            await self.ledger.remove(own, sweep.number)

    async def close(self) -> None:
        """Close every open model; batches go on at their providers."""
        await self._batching.close()
        for model in self._open.values():
            await model.close()
