"""Training prompts against evaluation prompts: what every evaluation says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cai.datasets.parquet import open_parquet
from cai.errors import Fault, InputError
from cai.filter_settings import ContaminationSettings
from cai.filters.contamination import Overlap, overlap
from cai.models import ModelSettings
from cai.models.weights import MICROWORLD
from cai.movable import movable
from cai.pipeline.folder import RunFolder
from cai.pipeline.policies import policies, prompts_measured_on
from cai.pipeline.studio import Studio
from cai.records import Comparison, Message, digest
from cai.sources.pairs import read_pairs
from cai.sources.seen import Seen
from trainers.work_folder import RECORD, read_record

Prompts = Sequence[Message]

TRAINED_ON = "datasets/**/train/*.parquet"
"""The files of a run that its models learn from."""

WORDS: int = ContaminationSettings().words
"""Words in a row, as the filter has them where a recipe says nothing else."""


def measure_contamination(studio: Studio) -> Mapping[str, Any]:
    """What a run was trained on against what it is measured on, as ``contamination``.

    The training prompts are those of the data sets of the run, and of the runs that further models
    of its contest come from, and of those that any of their models started from; without any,
    ``contamination`` is None.
    """
    recipe = studio.recipe
    settings = recipe.filters.contamination or ContaminationSettings()
    evaluated: dict[str, list[Prompts]] = {}
    for prompt in prompts_measured_on(studio):
        evaluated.setdefault(prompt.source, []).append(prompt.messages)
    for pair_set in recipe.evaluation.human:
        for pair in read_pairs(pair_set, recipe.seed):
            if isinstance(pair, Comparison):
                evaluated.setdefault(f"pairs of {pair.prompt.source}", []).append(
                    pair.prompt.messages
                )
    own = [studio.folder.path] if _has_data(studio.folder.path) else []
    models = (one.settings for one in policies(studio))
    found = held_against(origins_of([*map(str, own), *_names(models)]), evaluated, settings.words)
    return {"contamination": found.to_json() if found else None}


@dataclass(frozen=True)
class Origins:
    """Where the data lie that models have learned from.

    Args:
        runs: folders of runs, each once.
        unknown: names of those models of which no data sets are known.
    """

    runs: Sequence[Path]
    unknown: Sequence[str]


def held_against(
    origins: Origins, evaluated: Mapping[str, Sequence[Prompts]], words: int = WORDS
) -> Overlap | None:
    """The training prompts of models against evaluation prompts; None if none are known.

    Args:
        origins: of the models that are measured.
        evaluated: by set.
        words: so many in a row are too many to share.
    """
    found = overlap(training_prompts(origins.runs), evaluated, words)
    return replace(found, unknown=origins.unknown) if found.training_prompts else None


def model_held_against(model: str, evaluated: Mapping[str, Sequence[Prompts]]) -> Overlap | None:
    """As `held_against`, of one model, with the words in a row of the recipe of its run.

    Args:
        model: its name, as of `origins_of`.
        evaluated: by set.
    """
    origins = origins_of([model])
    words = words_of(origins.runs[0]) if origins.runs else WORDS
    return held_against(origins, evaluated, words)


def origins_of(models: Iterable[str]) -> Origins:
    """The run folders that models lie in; a name on the hub lies in none.

    What a model started from has taught it too: the runs that those models lie in are among them,
    as far as the records of the trainings name them, and where they lie in none, they are unknown
    as well.

    Args:
        models: names as a recipe gives them: folders of models, runs, or others.
    """
    looked_at, runs, unknown = set[Path](), dict[Path, None](), dict[str, None]()
    waiting = list(models)
    for name in waiting:
        place = Path(name).resolve()
        run = _run_of(place)
        if place in looked_at or run in looked_at:
            continue
        looked_at |= {place} if run is None else {place, run}
        if run is not None:
            runs[run] = None
        if run is None or not _has_data(run):
            unknown[_told(name)] = None
        waiting += _starts(run or place)
    return Origins(list(runs), list(unknown))


def origins_of_models(models: Iterable[ModelSettings]) -> Origins:
    """Where models come from, and their adapters, as of `origins_of`."""
    return origins_of(_names(models))


def _starts(place: Path) -> Iterator[str]:
    """What the models of a run, or the model in a folder, started from."""
    for file in (place / RECORD, *sorted((place / "models").rglob(RECORD))):
        record = read_record(file.parent) or {}
        for model in record.get("models", {}).values():
            yield model["name"]


def _told(name: str) -> str:
    """A model's name for people; without this machine's folders."""
    return "microworld" if name == str(MICROWORLD) else movable(name.removeprefix("hf:"))


def _names(models: Iterable[ModelSettings]) -> Iterator[str]:
    # What a LoRA training leaves is an adapter in the run; the name is that of its base.
    return (name for one in models for name in (one.name, one.adapter) if name is not None)


def words_of(run: Path) -> int:
    """Words in a row that are too many to share, as the recipe of a run has them."""
    match RunFolder(run).read_recipe():
        case {"filters": {"contamination": {"words": int(words)}}}:
            return words
        case _:
            return WORDS


def _run_of(place: Path) -> Path | None:
    """The run that a folder is, or lies in; models lie at most three folders deep."""
    around = (place, *place.parents[:3]) if place.exists() else ()
    return next((one for one in around if RunFolder(one).ledger.is_file()), None)


def _has_data(run: Path) -> bool:
    return next(run.glob(TRAINED_ON), None) is not None


def training_prompts(runs: Iterable[Path]) -> Iterator[Prompts]:
    """The prompts of all that the models of runs have learned from, each once.

    Args:
        runs: their folders, whose data sets are read.

    Raises:
        InputError: a file among their data sets is none of a data set.
    """
    with Seen() as seen:
        for run in runs:
            for path in sorted(run.glob(TRAINED_ON)):
                for messages in _prompts(path):
                    if seen.add(digest(list(messages))):
                        yield messages


def _prompts(path: Path) -> Iterator[Prompts]:
    with open_parquet(path) as file:
        there = file.schema_arrow.names
        column = next((one for one in ("prompt", "messages") if one in there), None)
        if column is None:
            told = f"has neither prompt nor messages, but {', '.join(there)}"
            raise InputError(path, [Fault(f"{told}; move it out of the run's data sets")])
        for batch in file.iter_batches(columns=[column]):
            for value in batch.column(0).to_pylist():
                yield _asked(value)


def _asked(value: Any) -> Prompts:
    """The prompt of a row: a text, turns, or turns with the reply behind them."""
    if isinstance(value, str):
        return (Message("user", value),)
    turns = [Message(turn["role"], turn["content"]) for turn in value]
    return turns[:-1] if turns[-1].role == "assistant" else turns
