"""Which prompts and pairs of a recipe are worked on, and why the others are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

from cai.filters.contamination import Contamination
from cai.filters.near_duplicates import Clusters, Prompted, find_clusters
from cai.filters.texts import TextFilters
from cai.recipe import Recipe
from cai.records import Comparison, Message, Prompt
from cai.sources import PromptSet, read_prompts
from cai.sources.files import KINDS, read_values
from cai.sources.mixed_rows import mixed_prompts
from cai.sources.pairs import PairSet, read_pairs
from cai.sources.transcripts import to_messages

NO_CLUSTERS = Clusters({}, frozenset())


class Filters:
    """The filters of a recipe; what they need of whole files is read at their first use.

    Args:
        recipe: with its `filters`.
        language: of the constitution.
    """

    def __init__(self, recipe: Recipe, language: str) -> None:
        """Read patterns of wording.

        Raises:
            CaiError: patterns are needed, and none are shipped for the language.
            InputError: a file of patterns is faulty.
        """
        self._recipe = recipe
        checks = recipe.revisions.checks
        self.texts = TextFilters(
            recipe.filters, language, needs_wording=bool(checks.preamble or checks.unheeded)
        )

    def of_prompt(self, prompt: Prompt) -> str | None:
        """Why a prompt is left out; None if it is worked on."""
        near = self._recipe.filters.near_duplicates
        if reason := self.of_messages(prompt.messages):
            return reason
        if near is None or near.keep == "all":
            return None
        repeated = (prompt.text_hash, prompt.kind) in self._clusters.repeated
        return "is nearly another prompt" if repeated else None

    def of_pair(self, pair: Comparison) -> str | None:
        """Why a pair that people judged is left out, for its prompt."""
        return self.of_messages(pair.prompt.messages)

    def of_messages(self, messages: Sequence[Message]) -> str | None:
        """Why what others have written is left out, for its prompt."""
        settings = self._recipe.filters.contamination
        if reason := self.texts.of_prompt(messages):
            return reason
        if settings is not None and self._contamination.holds(messages):
            return f"shares {settings.words} words in a row with an evaluation prompt"
        return None

    @property
    def smallest(self) -> Mapping[str, str]:
        """Of each prompt that is near one with a smaller text hash, the smallest of its cluster.

        Of all that is learned from, so that nothing that is held out is near what is not.
        """
        return self._all_clusters.smallest

    @property
    def own_smallest(self) -> Mapping[str, str]:
        """The same of the run's own prompts: a mix must not change what calls they are for."""
        return self._clusters.smallest

    @property
    def same_prompts(self) -> Mapping[str, str]:
        """Prompts that count as another one, by their hash: near ones, if one is to be kept."""
        near = self._recipe.filters.near_duplicates
        return self.smallest if near is not None and near.keep == "one" else {}

    @cached_property
    def _clusters(self) -> Clusters:
        return self._clusters_of(self._learned())

    @cached_property
    def _all_clusters(self) -> Clusters:
        mix = self._recipe.mix
        if not mix.files:
            return self._clusters
        return self._clusters_of(chain(self._learned(), mixed_prompts(mix)))

    def _clusters_of(self, prompts: Iterable[Prompt]) -> Clusters:
        near = self._recipe.filters.near_duplicates
        if near is None:
            return NO_CLUSTERS
        prompted = (Prompted(prompt.messages, prompt.text_hash, prompt.kind) for prompt in prompts)
        return find_clusters(prompted, near.similarity)

    @cached_property
    def _contamination(self) -> Contamination:
        settings = self._recipe.filters.contamination
        assert settings is not None
        return Contamination(self._evaluated(), settings.words)

    def _learned(self) -> Iterator[Prompt]:
        """Every prompt that something may be learned from."""
        recipe = self._recipe
        yield from _prompts((*recipe.prompts.red_team, *recipe.prompts.helpful), recipe.seed)
        yield from _prompts_of_pairs(recipe.comparisons.human, recipe.seed)

    def _evaluated(self) -> Iterator[Sequence[Message]]:
        """Every prompt that something is measured on."""
        recipe, settings = self._recipe, self._recipe.filters.contamination
        assert settings is not None
        if settings.recipe:
            for prompt in _prompts(recipe.prompts.evaluation, recipe.seed):
                yield prompt.messages
            for prompt in _prompts_of_pairs(recipe.evaluation.human, recipe.seed):
                yield prompt.messages
        if settings.files is not None:
            yield from evaluation_prompts(settings.files)


def evaluation_prompts(place: Path) -> Iterator[Sequence[Message]]:
    """The prompts of a file, or of every prompt file of a folder; what is no prompt is passed over.

    Raises:
        InputError: a file is broken or has none of the usual columns, or there is no file.
    """
    for path in prompt_files(place):
        for _, value in read_values(path, None):
            try:
                yield to_messages(value)
            except ValueError:
                continue


def prompt_files(place: Path) -> list[Path]:
    """The file, or every file of a folder whose kind can be read, in the order of their names."""
    if not place.is_dir():
        return [place]
    return sorted(
        path
        for path in place.rglob("*")
        if path.is_file() and "".join(path.suffixes[-2:]).removesuffix(".gz").endswith(KINDS)
    )


def _prompts(sets: Iterable[PromptSet], seed: int) -> Iterator[Prompt]:
    for one in sets:
        for prompt in read_prompts(one, seed):
            if isinstance(prompt, Prompt):
                yield prompt


def _prompts_of_pairs(sets: Iterable[PairSet], seed: int) -> Iterator[Prompt]:
    for one in sets:
        for pair in read_pairs(one, seed):
            if isinstance(pair, Comparison):
                yield pair.prompt
