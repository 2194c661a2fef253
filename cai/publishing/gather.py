"""Gather what is published of a run: its data sets, an export of them, or one of its models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cai.card import CARD
from cai.datasets.parquet import ROW_FILES
from cai.errors import CaiError
from cai.export.run_export import EXPORTERS, RECORD
from cai.pipeline.folder import RunFolder
from cai.pipeline.given_away import refuse_folders, refuse_other_constitution
from cai.pipeline.made_with import made_with
from cai.pipeline.model_cards import write_card_of
from cai.publishing.publication import Publication, publication_of
from cai.report.card import data_part, run_data, write_data_card
from cai.report.card_text import NOT_STATED, license_of_source
from cai.report.data_figures import count_data
from trainers.adapters import adapter_base
from trainers.card import root_license, root_model
from trainers.work_folder import RECORD as TRAINING
from trainers.work_folder import read_record

DATA = "data"
MADE_WITH = "made_with"

EXPORTS = tuple(name for name in EXPORTERS if name != "argilla")
"""Formats whose files the hub shows and `datasets` loads."""

MODEL_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("adapter_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"),
    "chat_template.jinja",
)
"""What a model's folder may send; checkpoints lie in folders of their own."""


def gather(folder: RunFolder, what: str, license: str | None = None) -> Publication:
    """Gather the files of a push; what is generated for it lies in ``published`` of the run.

    Args:
        folder: the run's.
        what: "data" for its data sets, one of `EXPORTS`, or a model, such as "rl_cai".
        license: in place of what the recipe states.

    Raises:
        CaiError: there is no such thing in the run, it cannot be published as it is, or it lacks a
            license.
    """
    metrics = _metrics(folder, license)
    if what == DATA:
        return _data(folder, metrics)
    if what in EXPORTS:
        return _export(folder, what, metrics, license)
    model = folder.path / "models" / what
    if folder.is_left_over(model) or not (model / TRAINING).is_file():
        raise CaiError(
            f"{folder.path} has no {what} to publish; it has {', '.join(_published(folder))}"
        )
    publication = _model(folder, what, metrics)
    if license not in (None, publication.license):
        raise CaiError(
            f"{what} goes back to a model of license {publication.license}, which holds for it "
            f"too; leave --license {license} out"
        )
    return publication


def _metrics(folder: RunFolder, license: str | None) -> Mapping[str, Any]:
    metrics = folder.read_metrics()
    if "run" not in metrics:
        raise CaiError(
            f"{folder.path} has no figures yet, so no card can be made; finish it with: "
            f"cai run {folder.recipe} --run {folder.path}"
        )
    if license is None:
        return metrics
    run: Mapping[str, Any] = metrics["run"]
    publication = {**run.get("publication", {}), "license": license}
    return {**metrics, "run": {**run, "publication": publication}}


def _published(folder: RunFolder) -> Iterator[str]:
    """What there is to publish."""
    models = folder.path / "models"
    if next(run_data(folder.path), None):
        yield DATA
    exports = folder.path / "exports"
    yield from (name for name in EXPORTS if (exports / name / RECORD).is_file())
    for record in sorted(models.rglob(TRAINING)):
        if not folder.is_left_over(record):
            yield record.parent.relative_to(models).as_posix()


def _data(folder: RunFolder, metrics: Mapping[str, Any]) -> Publication:
    parts = [
        data_part(name, path.name, path, place=f"{name}/") for name, path in run_data(folder.path)
    ]
    files = {
        f"{part.name}/{split}/{file.name}": file
        for part in parts
        for split, told in part.splits.items()
        if told.rows
        for file in sorted((part.counted / split).glob("*.parquet"))
    }
    if not files:
        raise CaiError(
            f"{folder.path} has no data set with rows; make one first, as with "
            f"`cai run {folder.recipe} --run {folder.path} --until preferences`"
        )
    data, run = [part.counted for part in parts], metrics["run"]
    refuse_other_constitution(folder, run, data)
    refuse_folders(data, f"cai run {folder.recipe} --run {folder.path}")
    place = _place(folder, DATA)
    title = f"{run['name']}: data by Constitutional AI"
    counted = write_data_card(place, title, parts, metrics)
    sources = sorted({name for figures in counted.values() for name in figures.sources})
    files |= {CARD: place / CARD, **_travelling(folder)}
    return publication_of(DATA, run["name"], "dataset", files, _unlicensed(sources, run))


def _unlicensed(sources: Sequence[str], run: Mapping[str, Any]) -> Iterator[str]:
    lacking = [name for name in sources if license_of_source(run, name) == NOT_STATED]
    if lacking:
        yield (
            f"the license of these sources is not stated: {', '.join(lacking)}; say it in the "
            "recipe under publication.sources, if you may publish what they hold"
        )


def _export(
    folder: RunFolder, what: str, metrics: Mapping[str, Any], license: str | None
) -> Publication:
    place = folder.path / "exports" / what
    if not (place / CARD).is_file():
        raise CaiError(
            f"{place} is no export with a card; make it with: "
            f"cai export {folder.path} --format {what}"
        )
    if not (place / MADE_WITH).is_dir():
        made_with(folder)
        raise CaiError(
            f"{place} has not what its rows were made with; make it again with: "
            f"cai export {folder.path} --format {what}"
        )
    if license is not None:
        raise CaiError(
            "an export has the license that the recipe states: state publication.license, run the "
            "recipe and export again, and leave --license out"
        )
    rows = (file for kind in ROW_FILES for file in place.rglob(f"*{kind}"))
    files = {file.relative_to(place).as_posix(): file for file in rows}
    files |= {CARD: place / CARD, **_files_in(place / MADE_WITH)}
    run, data = metrics["run"], [path for _, path in run_data(folder.path)]
    refuse_folders(data, f"cai run {folder.recipe} --run {folder.path}")
    refuse_folders([place], f"cai export {folder.path} --format {what}")
    sources = sorted({name for path in data for name in count_data(path).sources})
    return publication_of(what, run["name"], "dataset", files, _unlicensed(sources, run))


def _model(folder: RunFolder, what: str, metrics: Mapping[str, Any]) -> Publication:
    model = folder.path / "models" / what
    files = {file.name: file for pattern in MODEL_FILES for file in model.glob(pattern)}
    if not any(name.endswith(".safetensors") for name in files):
        raise CaiError(f"{model} has no weights (*.safetensors); train the model again")
    _refuse_own_base(model)
    place = _place(folder, what)
    write_card_of(folder, metrics, model, place)
    files |= {CARD: place / CARD, **_travelling(folder)}
    return publication_of(what, metrics["run"]["name"], "model", files, _unknown_base(model))


def _unknown_base(model: Path) -> Iterator[str]:
    """Say so if the license of what a model goes back to may be another than the card has."""
    record = read_record(model)
    root = root_model(record) if record is not None else ""
    if record is not None and root_license(root) is None:
        yield (
            f"the license of {Path(root).name if Path(root).is_absolute() else root} is not known "
            f"here, and holds for {model.name} too: the card has the license of the data; see that "
            "they agree, or give --license"
        )


def _refuse_own_base(model: Path) -> None:
    """Refuse an adapter that others could not load, for its base is a folder here."""
    base = adapter_base(model)
    place = Path(base or "").expanduser()
    if base is not None and (place.is_absolute() or place.is_dir()):
        raise CaiError(
            f"{model} is an adapter of {base}, a folder of this machine; merge it first with: "
            f"python -m trainers.adapters {model} {model.with_name(model.name + '-merged')}"
        )


def _travelling(folder: RunFolder) -> dict[str, Path]:
    """Constitution, templates and recipe."""
    return _files_in(made_with(folder))


def _files_in(kept: Path) -> dict[str, Path]:
    return {
        f"{MADE_WITH}/{file.relative_to(kept).as_posix()}": file
        for file in kept.rglob("*")
        if file.is_file()
    }


def _place(folder: RunFolder, what: str) -> Path:
    """A fresh folder for what is generated."""
    place = folder.path / "published" / what
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place
