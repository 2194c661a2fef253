"""The cards of a run's models, with what the run has measured of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cai.evaluation.intervals import Rate
from cai.movable import movable, without_own_servers
from cai.pipeline.folder import POLICIES, RunFolder
from cai.report.metrics import Metrics, PreferenceModelMetrics, parse_metrics
from cai.report.policy_metrics import FIGURES
from cai.report.wording import interval, percent
from trainers.card import Figure, RunFacts, write_model_card
from trainers.work_folder import RECORD, read_record, write_record

REPLIES = "Shares of the replies to the recipe's evaluation prompts, one to each."
PAIRS = (
    "Shares of pairs of replies to evaluation prompts, and of the recipe's held-out pairs; n is of "
    "prompts, whose pairs share replies."
)

MADE_BY = "made_by"
"""Where the record of a training has the recipe, the constitution and the command behind it."""


def write_model_cards(folder: RunFolder, metrics: Mapping[str, Any]) -> None:
    """Write the card of every model of a run anew.

    Args:
        folder: the run's.
        metrics: its figures so far.
    """
    for file in sorted((folder.path / "models").rglob(RECORD)):
        if not folder.is_left_over(file):
            _keep_made_by(file.parent, _made_by(parse_metrics(metrics, folder.metrics)))
            write_card_of(folder, metrics, file.parent, file.parent)


def _keep_made_by(model: Path, made_by: Mapping[str, str]) -> None:
    """Note in the record of a new model what made it: later recipes of the run have not."""
    record = read_record(model)
    if record is not None and MADE_BY not in record:
        write_record(model, {**record, MADE_BY: made_by}, model)


def write_card_of(folder: RunFolder, metrics: Mapping[str, Any], model: Path, out: Path) -> None:
    """Write the card of one model of a run.

    Args:
        folder: the run's.
        metrics: its figures so far.
        model: the folder of the model, which has a record of its training.
        out: the folder that the card goes to.
    """
    read, record = parse_metrics(metrics, folder.metrics), read_record(model)
    if record is not None:
        measured, said = _measured(folder, read), _said(metrics.get("run", {}))
        made_by: Mapping[str, str] = record.get(MADE_BY) or _made_by(read)
        if "command" in made_by:  # records of earlier versions may name own servers in it
            made_by = {**made_by, "command": _for_others(made_by["command"])}
        facts = RunFacts(read.run.name, made_by, *measured.get(model, _NOTHING), **said)
        name = model.relative_to(folder.path / "models").as_posix()
        write_model_card(model, name, record, facts, out)


def _said(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe says for the cards."""
    publication: Mapping[str, Any] = run.get("publication", {})
    said = {name: publication.get(name) for name in ("license", "citation")}
    return {**said, "language": run.get("language")}


_Measured = tuple[list[Figure], str]
_NOTHING: _Measured = ([], "")


def _measured(folder: RunFolder, metrics: Metrics) -> Mapping[Path, _Measured]:
    """Figures of the models, and what they are of, by the models' folders."""
    found: dict[Path, _Measured] = {}
    judges = {one.iteration: one.pm for one in metrics.iterations} or {0: metrics.pm}
    for iteration, pm in judges.items():
        at = folder.at(iteration)
        found[at.model("pm")] = ([*_of_preference_model(pm)], PAIRS)
        for name in POLICIES:
            stage = f"{name}_{iteration}" if iteration else name
            found.setdefault(at.model(name), ([*_of_policy(metrics, stage)], REPLIES))
    return found


def _made_by(metrics: Metrics) -> dict[str, str]:
    run = metrics.run
    title = f" ({run.constitution.title})" if run.constitution.title else ""
    return {
        "recipe": run.recipe_hash,
        "seed": str(run.seed),
        "constitution": f"{run.constitution.id}{title}, {run.constitution.hash}",
        "command": _for_others(run.command),
    }


def _for_others(command: str) -> str:
    """A command with this machine's paths cut to their last part, and no address of its own."""

    def without(word: str) -> str:
        name, equals, value = word.rpartition("=")
        return without_own_servers(f"{name}{equals}{movable(value)}")

    return shlex.join(map(without, shlex.split(command)))


def _of_policy(metrics: Metrics, name: str) -> Iterator[Figure]:
    stage = metrics.stages.get(name)
    if stage is not None:
        judge = "by rule" if stage.method == "truth" else "by patterns"
        for title, (better, rate_of) in FIGURES.items():
            yield from _figure(f"{title}, {judge} ({better})", rate_of(stage))


def _of_preference_model(pm: PreferenceModelMetrics | None) -> Iterator[Figure]:
    if pm is None:
        return
    yield from _figure("Accuracy", pm.accuracy)
    for source, rate in pm.by_source.items():
        yield from _figure(f"Accuracy, labels by {source}", rate)
    for kind, rate in pm.by_kind.items():
        yield from _figure(f"Accuracy, {kind} prompts", rate)
    yield from _figure("Beside it: a baseline that prefers refusals", pm.keyword_baseline)


def _figure(name: str, rate: Rate | None) -> Iterator[Figure]:
    if rate is not None:
        yield name, percent(rate.value), interval(rate), f"{rate.n:,}"
