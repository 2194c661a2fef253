"""Training prompts against evaluation prompts: what every evaluation says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.filter_settings import ContaminationSettings
from cai.filters.contamination import Overlap, overlap
from cai.models import ModelSettings
from cai.pipeline.folder import RunFolder
from cai.pipeline.policies import policies, prompts_measured_on
from cai.pipeline.studio import Studio
from cai.records import Comparison, Message, digest
from cai.sources.pairs import read_pairs
from cai.sources.seen import Seen
from cai.untyped import untyped

Prompts = Sequence[Message]

WORDS: int = ContaminationSettings().words
"""Words in a row, as the filter has them where a recipe says nothing else."""


def measure_contamination(studio: Studio) -> Mapping[str, Any]:
    """What a run was trained on against what it is measured on, as ``contamination``.

    The training prompts are those of the data sets of the run, and of the runs that further models
    of its contest come from; without any, ``contamination`` is None.
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
    runs = runs_of_models(one.settings for one in policies(studio))
    folders = dict.fromkeys((studio.folder.path.resolve(), *runs))
    found = held_against(folders, evaluated, settings.words)
    return {"contamination": found.to_json() if found else None}


def held_against(
    runs: Iterable[Path], evaluated: Mapping[str, Sequence[Prompts]], words: int = WORDS
) -> Overlap | None:
    """The training prompts of some runs against evaluation prompts; None if they have none.

    Args:
        runs: folders of runs.
        evaluated: by set.
        words: so many in a row are too many to share.
    """
    found = overlap(training_prompts(runs), evaluated, words)
    return found if found.training_prompts else None


def runs_of(models: Iterable[str]) -> list[Path]:
    """The run folders that models lie in, each once; a name on the hub lies in none.

    Args:
        models: names as a recipe gives them: folders of models, runs, or others.
    """
    found = (_run_of(Path(name).resolve()) for name in models)
    return list(dict.fromkeys(run for run in found if run is not None))


def runs_of_models(models: Iterable[ModelSettings]) -> list[Path]:
    """The run folders that models lie in, and their adapters, as of `runs_of`."""
    # What a LoRA training leaves is an adapter in the run; the name is that of its base.
    return runs_of(name for one in models for name in (one.name, one.adapter) if name is not None)


def _run_of(place: Path) -> Path | None:
    """The run that a folder is, or lies in; models lie at most three folders deep."""
    around = (place, *place.parents[:3]) if place.exists() else ()
    return next((one for one in around if RunFolder(one).ledger.is_file()), None)


def training_prompts(runs: Iterable[Path]) -> Iterator[Prompts]:
    """The prompts of all that the models of runs have learned from, each once.

    Args:
        runs: their folders, whose data sets are read.
    """
    with Seen() as seen:
        for run in runs:
            for path in sorted((run / "datasets").glob("**/train/*.parquet")):
                for messages in _prompts(path):
                    if seen.add(digest(list(messages))):
                        yield messages


def _prompts(path: Path) -> Iterator[Prompts]:
    file = untyped("pyarrow.parquet").ParquetFile(path)
    column = next(one for one in ("prompt", "messages") if one in file.schema_arrow.names)
    for batch in file.iter_batches(columns=[column]):
        for value in batch.column(0).to_pylist():
            yield _asked(value)


def _asked(value: Any) -> Prompts:
    """The prompt of a row: a text, turns, or turns with the reply behind them."""
    if isinstance(value, str):
        return (Message("user", value),)
    turns = [Message(turn["role"], turn["content"]) for turn in value]
    return turns[:-1] if turns[-1].role == "assistant" else turns
