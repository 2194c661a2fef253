"""Make single rows of a run again, by how they ended, with other settings if need be.

Each row's item goes through its step again: calls that would be the same are found in the ledger,
so that only what failed, what was set anew and what follows from them is bought. Where a policy's
reply is made again, so is what judges say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from cai.datasets.parquet import folder_hash
from cai.engine import Ledger, Progress
from cai.engine.budget import Budget
from cai.errors import PermanentError
from cai.pipeline.baselines import pairs_revisions
from cai.pipeline.best_of import REPLIES
from cai.pipeline.folder import DataName, ModelName, RunFolder
from cai.pipeline.judged import ask_judges, judgements_of
from cai.pipeline.policies import policies, sample_policy
from cai.pipeline.preferences import generate_comparisons, probe_labels
from cai.pipeline.rating_reward import STAGE as REWARD
from cai.pipeline.rerun_figures import PAIRS, REVISIONS, measure_again
from cai.pipeline.reruns import (
    ChosenItems,
    RerunFile,
    RowSettings,
    item_of,
    read_reruns,
    write_reruns,
)
from cai.pipeline.revisions import generate_helpful_replies, generate_revisions
from cai.pipeline.row_settings import SETTABLE, check_stage, settings_by_stage
from cai.pipeline.studio import Studio
from cai.pipeline.training import write_preference_data, write_sft_data
from cai.recipe import Recipe, load_recipe, with_settings
from cai.records import RowKey, RowStatus
from cai.stopping import run_until_stopped
from trainers.work_folder import RECORD

Counts = Mapping[tuple[str, RowStatus], int]

LEARNED_BY: Mapping[DataName, ModelName] = {"sft": "sl_cai", "preferences": "pm"}
"""Models of the data sets that a rerun writes; others of the same data follow from them."""


@dataclass(frozen=True)
class Wanted:
    """Which rows to make again, and how.

    Args:
        statuses: rows that ended so.
        stage: only rows of this stage; empty for all.
        settings: ``a.b=value`` overrides of the recipe; each holds for those of the rows whose
            stage it belongs to.
        by_fallback: also "ok" rows that only the fallback has answered.
    """

    statuses: tuple[RowStatus, ...]
    stage: str = ""
    settings: tuple[str, ...] = ()
    by_fallback: bool = False


@dataclass(frozen=True)
class Redone:
    """What a rerun did.

    Args:
        rows: rows chosen by their status.
        continued: further rows, left by a rerun that was stopped.
        lost: rows of both that were left as they are: the recipe no longer has their prompts, or
            the run their model.
        calls: made now.
        before: rows of the stages made, by stage and status, before.
        after: and after.
        datasets: those written anew, and whether they differ from what they were.
        outdated: models that were trained on what these data sets were.
    """

    rows: int
    continued: int = 0
    lost: int = 0
    calls: int = 0
    before: Counts = field(default_factory=dict[tuple[str, RowStatus], int])
    after: Counts = field(default_factory=dict[tuple[str, RowStatus], int])
    datasets: Mapping[str, bool] = field(default_factory=dict[str, bool])
    outdated: tuple[str, ...] = ()


def rerun(
    folder: RunFolder, wanted: Wanted, *, command: str = "", budget: Budget | None = None
) -> Redone:
    """Make rows of a run again, with the recipe of its folder.

    The settings are kept in the folder before the first call, and every later run uses them for
    the same rows. Data sets, figures and report that the run has are written anew.

    Args:
        folder: of the run.
        wanted: which rows, and what is set for them.
        command: how the rerun was started, for the run's log.
        budget: the most that may be spent; None for any amount.

    Raises:
        RunError: another process writes to the run.
        BudgetReached: nothing more may be spent; the same command goes on.
        CaiError: there is no such stage, a setting belongs to none of the rows, or what a run
            raises; calls are kept, and the same command goes on.
    """
    about = {"command": command, "steps": ("rerun",)}
    with Ledger.open(folder.ledger) as ledger:
        # What is refused has not begun: the log still tells how the run itself ended.
        recipe, rows, reruns = _planned(folder, ledger, wanted)
        if not reruns.unfinished:
            return Redone(rows=0)
        write_reruns(reruns, folder.reruns)
        replies = recipe.comparisons.replies
        items = frozenset(item_of(row, replies) for row in reruns.unfinished)
        chosen = ChosenItems(items, replies)
        with Progress(folder.log, about=about) as progress:
            studio = Studio(recipe, folder, ledger, progress, chosen, budget=budget or Budget())
            redone = _redo(
                studio, chosen, reruns.unfinished, with_new_settings=bool(wanted.settings)
            )
            write_reruns(reruns.to_do(()), folder.reruns)
        return replace(redone, rows=len(rows), continued=len(reruns.unfinished) - len(rows))


def _planned(
    folder: RunFolder, ledger: Ledger, wanted: Wanted
) -> tuple[Recipe, list[RowKey], RerunFile]:
    """The run's recipe, the rows chosen, and what is to be made again with which settings."""
    recipe, reruns = load_recipe(folder.recipe), read_reruns(folder.reruns)
    rows = _rows(ledger, wanted)
    meant = [wanted.stage] if wanted.stage else SETTABLE
    stages = dict.fromkeys(row.stage for row in rows) or meant
    for stage, settings in settings_by_stage(recipe, wanted.settings, stages).items():
        reruns = reruns.keeping(settings, [row for row in rows if row.stage == stage])
    reruns = reruns.to_do(dict.fromkeys([*rows, *reruns.unfinished]))
    for settings in RowSettings(reruns.kept).combinations():
        with_settings(recipe, settings, "--set")
    return recipe, rows, reruns


def forget(folder: RunFolder, stage: str = "") -> int:
    """Drop the settings that reruns gave to rows, of one stage or of all.

    The rows stay as they are until the next run makes them as the recipe says.

    Returns:
        The number of rows whose settings were dropped.

    Raises:
        RunError: another process writes to the run.
        CaiError: there is no such stage.
    """
    check_stage(stage)
    with Ledger.open(folder.ledger):
        reruns = read_reruns(folder.reruns)
        left = reruns.without(stage)
        write_reruns(left, folder.reruns)
        return len(reruns.rows - left.rows)


def _rows(ledger: Ledger, wanted: Wanted) -> list[RowKey]:
    check_stage(wanted.stage)
    rows: list[RowKey] = []
    for stage, status in sorted(ledger.counts()):
        if not wanted.stage and stage in (REWARD, REPLIES):
            continue  # A policy has learned from them; `cai generate best-of` makes its own again.
        if status in wanted.statuses and wanted.stage in ("", stage):
            check_stage(stage)
            rows += [row.key for row in ledger.rows(stage, status)]
        elif status == "ok" and wanted.by_fallback and wanted.stage in ("", stage):
            rows += [row.key for row in ledger.rows(stage, status) if row.by_fallback]
    return rows


def _redo(
    studio: Studio, chosen: ChosenItems, rows: Collection[RowKey], *, with_new_settings: bool
) -> Redone:
    judged = judgements_of(studio, list(policies(studio)), rows)
    chosen.items |= judged
    stages = frozenset(row.stage for row in (*rows, *judged))
    before, datasets = _counts(studio, stages), dict[str, bool]()
    try:
        run_until_stopped(_make_and_measure(studio, chosen, stages, datasets))
    except PermanentError as error:
        if not with_new_settings:
            raise
        raise PermanentError(
            f"{error}\nthe settings of this rerun are kept for its rows: correct them with another "
            "--set, or drop them with --forget"
        ) from error
    return Redone(
        rows=len(rows),
        lost=sum(item_of(row, chosen.replies) not in chosen.found for row in rows),
        calls=studio.tally.total.made,
        before=before,
        after=_counts(studio, stages),
        datasets=datasets,
        outdated=_outdated(studio, datasets),
    )


async def _make_and_measure(
    studio: Studio, chosen: ChosenItems, stages: Collection[str], datasets: dict[str, bool]
) -> None:
    """Make rows, data sets and figures; `datasets` gets those written and whether they changed."""
    try:
        await _make(studio, chosen, stages)
        datasets |= _write_datasets(studio, stages)
        measure_again(studio, stages)  # It may open a judge, to say which one it was.
    finally:
        await studio.close()


async def _make(studio: Studio, chosen: ChosenItems, stages: Collection[str]) -> None:
    """Take the chosen items of these stages through their steps."""
    if not REVISIONS.isdisjoint(stages):
        await generate_revisions(studio)
    if "helpful" in stages:
        await generate_helpful_replies(studio)
    if not PAIRS.isdisjoint(stages):
        for iteration in sorted({item.iteration for item in chosen.items}):
            studio.begin_iteration(iteration)
            await generate_comparisons(studio)
        studio.begin_iteration(0)
    if "label_probe" in stages:
        await probe_labels(studio)
    for one in policies(studio):
        if one.row_stage in stages:
            studio.begin_iteration(one.iteration)
            await sample_policy(studio, one)
    await ask_judges(studio, list(policies(studio)), stages)


def _counts(studio: Studio, stages: frozenset[str]) -> Counts:
    """Rows of these stages and of those that are made with them."""
    for together in (REVISIONS, PAIRS):
        stages |= frozenset() if together.isdisjoint(stages) else together
    return {key: n for key, n in studio.ledger.counts().items() if key[0] in stages}


def _write_datasets(studio: Studio, stages: Collection[str]) -> Mapping[str, bool]:
    """Write anew the data sets that the run has of these stages; tells which have changed."""
    changed: dict[str, bool] = {}
    if not (REVISIONS | {"helpful"}).isdisjoint(stages):
        changed |= _write_dataset(studio, "sft", write_sft_data)
    paired = REVISIONS if pairs_revisions(studio) else frozenset[str]()
    if not (PAIRS | paired).isdisjoint(stages):
        for iteration in range(studio.recipe.iterations):
            studio.begin_iteration(iteration)
            changed |= _write_dataset(studio, "preferences", write_preference_data)
        studio.begin_iteration(0)
    return changed


def _write_dataset(
    studio: Studio, name: DataName, write: Callable[[Studio], None]
) -> Mapping[str, bool]:
    folder = studio.folder.dataset(name)
    if not folder.is_dir():
        return {}
    before = folder_hash(folder)
    write(studio)
    return {studio.folder.place(name): folder_hash(folder) != before}


def _outdated(studio: Studio, datasets: Mapping[str, bool]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for iteration in range(studio.recipe.iterations):
        folder = studio.folder.at(iteration)
        for data, model in LEARNED_BY.items():
            if datasets.get(folder.place(data)) and (folder.model(model) / RECORD).is_file():
                found[folder.place(model)] = None
    return tuple(found)
