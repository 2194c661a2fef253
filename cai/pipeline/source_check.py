"""Look at all files and data sets of a recipe before anything is bought: all that is wrong at once.

Faults that only a later row has are met, and counted, when the set is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

from cai.document import Document, Place, dotted
from cai.errors import Fault, InputError
from cai.mix_settings import MixedData, MixedSource
from cai.pipeline.contest import CRITERIA
from cai.pipeline.filtering import prompt_files
from cai.pipeline.steps import GENERATION, Step
from cai.recipe import PromptSets, Recipe
from cai.sources import Unreadable, read_prompts
from cai.sources.canned import read_canned_refusals
from cai.sources.hub import HubSource
from cai.sources.mixed_rows import read_conversations, read_labelled_pairs
from cai.sources.pairs import read_pairs
from cai.sources.questions import is_microworld, read_questions
from cai.sources.votes import read_ranked_pairs

FIRST_ROWS = 20
"""Rows of a source of a mix that are looked at; one that can be read is enough."""

_READ: dict[MixedData, Callable[[MixedSource], Iterator[Any]]] = {
    "sft": read_conversations,
    "preferences": read_labelled_pairs,
}

_LEARNING: frozenset[Step] = frozenset({"revisions", "preferences", "rl"})

_READ_BY: dict[tuple[str, str], frozenset[Step]] = {
    ("prompts", "red_team"): _LEARNING,
    ("prompts", "helpful"): _LEARNING,
    ("prompts", "evaluation"): frozenset({"evaluate"}),
    ("comparisons", "human"): frozenset({"preferences"}),
    ("evaluation", "human"): frozenset({"evaluate"}),
}
"""Which steps read the sets of a place."""


class _Given(NamedTuple):
    """A file or data set that a recipe names: where, what it is called, and how it is read."""

    place: Place
    title: str
    read: Callable[[], Iterable[Any]]
    source: HubSource | None = None
    most: int | None = None


def check_sources(
    recipe: Recipe,
    steps: Collection[Step],
    document: Document | None = None,
    *,
    foretold: bool = False,
    with_hub: bool = True,
) -> None:
    """Refuse files and data sets that are not there, cannot be read, or have no row to work on.

    Steps that make rows need every file of the recipe; others what they read themselves.

    Args:
        recipe: any.
        steps: that are to be done.
        document: the file that it was read from, for the lines of faults; None for none.
        foretold: whether the run is only foretold: then data sets on the hub are not asked for,
            nor files that say how many rows they will have.
        with_hub: whether data sets on the hub are asked for.

    Raises:
        InputError: there are such; all are named.
    """
    found: dict[str, list[Place]] = {}
    for one in _given(recipe, frozenset(steps)):
        source = one.source
        if source is not None and not source.is_at_hand:
            if source.file is None and (foretold or not with_hub):
                continue
            if foretold and source.rows is not None and not _is_folder(source):
                continue
        if told := _fault(one):
            found.setdefault(told + _advice(one, foretold=foretold), []).append(one.place)
    if found:
        where: Path | str = f"the recipe {recipe.name}" if document is None else document.path
        faults = [
            Fault(told, ", ".join(map(dotted, places)), _line(document, places[0]))
            for told, places in found.items()
        ]
        raise InputError(where, sorted(faults, key=lambda fault: fault.line or 0))


def _given(recipe: Recipe, steps: frozenset[Step]) -> Iterator[_Given]:
    generates = not GENERATION.isdisjoint(steps)
    for one in _sets(recipe):
        assert one.source is not None
        reads = not _READ_BY[str(one.place[0]), str(one.place[1])].isdisjoint(steps)
        if reads or (generates and one.source.file is not None):
            yield one
    if "evaluate" in steps:
        yield from _gate_data(recipe)
    if generates:
        yield from _mixed(recipe)
        yield from _other_files(recipe)


def _sets(recipe: Recipe) -> Iterator[_Given]:
    """Sets of prompts and pairs, but for the microworld's."""
    for name in PromptSets.model_fields:
        for index, one in enumerate(getattr(recipe.prompts, name)):
            if not one.microworld:
                place = ("prompts", name, index, _field(one))
                yield _Given(place, one.name, partial(read_prompts, one, recipe.seed), one)
    for part, sets in (("comparisons", recipe.comparisons), ("evaluation", recipe.evaluation)):
        for index, one in enumerate(sets.human):
            if not one.microworld:
                place = (part, "human", index, _field(one))
                yield _Given(place, one.name, partial(read_pairs, one, recipe.seed), one)


def _gate_data(recipe: Recipe) -> Iterator[_Given]:
    """Questions that judges of policies are measured on, but for the microworld's."""
    contest, harmfulness = recipe.evaluation.contest, recipe.evaluation.harmfulness
    data: dict[Place, Sequence[str]] = {}
    if contest is not None:
        data |= {("contest", name): contest.criterion(name).gate_data for name in CRITERIA}
    if harmfulness is not None:
        data["harmfulness",] = harmfulness.gate_data
    for within, sources in data.items():
        for index, source in enumerate(sources):
            if not is_microworld(source):
                place = ("evaluation", *within, "gate_data", index)
                yield _Given(place, Path(source).name, partial(read_questions, source))


def _mixed(recipe: Recipe) -> Iterator[_Given]:
    for data in get_args(MixedData):
        for index, one in enumerate(recipe.mix.of(data)):
            if not one.origin:
                place = ("mix", data, index, _field(one))
                yield _Given(place, one.title, partial(_READ[data], one), one, FIRST_ROWS)


def _other_files(recipe: Recipe) -> Iterator[_Given]:
    if (votes := recipe.preference_pretraining) is not None:
        read = partial(read_ranked_pairs, votes.votes, votes.pairs_per_question)
        yield _Given(("preference_pretraining", "votes"), votes.votes.name, read)
    if (canned := recipe.comparisons.canned_refusals) is not None:
        read = partial(read_canned_refusals, "", canned)
        yield _Given(("comparisons", "canned_refusals"), canned.name, read)
    contamination = recipe.filters.contamination
    if contamination is not None and (files := contamination.files) is not None:
        yield _Given(
            ("filters", "contamination", "files"), files.name, partial(_evaluation_files, files)
        )


def _evaluation_files(place: Path) -> list[Path]:
    if not place.exists():
        raise InputError(place, [Fault("is not there; name a file of prompts, or a folder")])
    return prompt_files(place)


def _field(source: HubSource) -> str:
    return "file" if source.file is not None else "dataset"


def _line(document: Document | None, place: Place) -> int | None:
    return None if document is None else document.line(place)


def _is_folder(source: HubSource) -> bool:
    return source.file is not None and source.file.is_dir()


def _advice(one: _Given, *, foretold: bool) -> str:
    """How a forecast can count a file that is still to be written."""
    if not foretold or one.source is None or one.source.file is None or one.source.file.exists():
        return ""
    return "; if it is still to be written, say how many rows it will have, as rows: 1000"


def _fault(one: _Given) -> str | None:
    """What is wrong with a source; None if one of its rows can be used."""
    reasons, looked_at = Counter[str](), 0
    try:
        for row in islice(one.read(), one.most):
            if not isinstance(row, Unreadable):
                return None
            looked_at += 1
            reasons[row.reason] += 1
    except InputError as error:
        source = Path(error.source)
        name = source.name if source.is_absolute() else error.source
        return "; ".join(f"{name} {fault}" for fault in error.faults)
    if not looked_at:
        return f"{one.title} has no row; name a file that has some, or delete it"
    told = "; ".join(reason for reason, _ in reasons.most_common(3))
    if looked_at == 1:
        return f"{one.title}: its one row cannot be used: {told}"
    rows = f"{'' if one.most is None else 'first '}{looked_at} rows"
    return f"{one.title}: none of its {rows} can be used: {told}"
