"""Let a model write prompts after seeds, and keep those that are new.

Two passes, each with rows of its own in the run's folder: `written_prompt` asks the model, and
`new_prompt` tells what is new among what it wrote. Every call is bought once: the same command goes
on after a stop, and a larger number asks only for what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cai.engine import Ledger, Progress, RowLog
from cai.engine.budget import Budget
from cai.errors import Fault, InputError
from cai.evaluation.patterns import read_patterns
from cai.filters.contamination import Contamination
from cai.models import ModelSettings
from cai.pipeline.aside import Taken, foretell
from cai.pipeline.folder import RunFolder
from cai.pipeline.forecast_parts import Forecast
from cai.pipeline.own_folder import refuse_folder_without
from cai.pipeline.prompt_file import check_prompt_file, write_prompt_file
from cai.pipeline.prompt_novelty import faults_of, read_avoided
from cai.pipeline.readback import read_prompt
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, save_recipe
from cai.records import Prompt, RowKey
from cai.roles import Roles
from cai.run_settings import PromptSets
from cai.sources import PromptSet, Unreadable, read_prompts
from cai.stages.write_prompts import Writing, write_prompt
from cai.stopping import run_until_stopped
from cai.wording import read_wording

WRITTEN, NEW = "written_prompt", "new_prompt"
PROMPTS = "prompts"
"""Stands in the rows' keys where others have a prompt's id: these rows begin from none."""


@dataclass(frozen=True)
class Task:
    """What is to be written.

    Args:
        writing: how, and after which seeds.
        number: how many prompts to ask for.
        topics: asked for in turn; none: anything.
        avoid: files or folders of evaluation prompts that nothing written may be like.
        words: sharing so many words in a row with one of them is being like it.
        similarity: Jaccard index from which two prompts are nearly the same.
        language: of the seeds; chooses the patterns that refusals are told by.
    """

    writing: Writing
    number: int
    topics: tuple[str, ...] = ()
    avoid: tuple[Path, ...] = ()
    words: int = 8
    similarity: float = 0.8
    language: str = "en"


@dataclass(frozen=True)
class Written:
    """What came of it.

    Args:
        asked: prompts asked for.
        kept: written into the file.
        left_out: how many others there were, by reason.
        made: calls bought now.
    """

    asked: int
    kept: int
    left_out: Mapping[str, int]
    made: int

    def to_json(self) -> dict[str, Any]:
        """The part ``prompts`` of the folder's `metrics.json`."""
        return {"asked": self.asked, "kept": self.kept, "left_out": dict(self.left_out)}


def read_seeds(file: Path, *, several_turns: bool) -> tuple[Prompt, ...]:
    """The prompts of a file that have one turn of the person's, or those that have several.

    Raises:
        InputError: the file cannot be read, has a row that is no prompt, or fewer than two such.
    """
    read = list(read_prompts(PromptSet(kind="harmless", file=file), seed=0))
    faults = [Fault(one.reason, f"row {one.row}") for one in read if isinstance(one, Unreadable)]
    if faults:
        raise InputError(file, faults)
    prompts = [one for one in read if isinstance(one, Prompt)]
    fit = {
        prompt.text_hash: prompt
        for prompt in prompts
        if (sum(turn.role == "user" for turn in prompt.messages) > 1) == several_turns
    }
    if len(fit) < 2:
        kind = "several turns" if several_turns else "one turn"
        other = "without" if several_turns else "with"
        raise InputError(
            file,
            [
                Fault(
                    f"has {len(fit)} prompts of {kind}; give 2 or more, or go {other} --multi-turn"
                )
            ],
        )
    return tuple(fit.values())


def write_prompts(
    task: Task,
    model: ModelSettings,
    folder: RunFolder,
    out: Path,
    *,
    templates: Path | None = None,
    command: str = "",
    budget: Budget | None = None,
) -> Written:
    """Write a file of new prompts, one JSON object a line.

    Args:
        task: what is to be written.
        model: writes it.
        folder: where calls and rows go; the same one is gone on with.
        out: the file, ending in .jsonl; it appears when all is done.
        templates: a folder whose templates replace shipped ones.
        command: how this was started, for the log.
        budget: the most that may be spent; None for any amount.

    Raises:
        BudgetReached: nothing more may be spent; the same command goes on.
        CaiError: the folder is that of a run, or what stops a run as well; everything bought is
            kept.
    """
    check_prompt_file(out)
    avoided = read_avoided(task.avoid, task.words)
    refuse_folder_without(folder, "prompts")
    folder.make()
    recipe = _recipe(task, model, templates)
    with (
        Ledger.open(folder.ledger) as ledger,
        Progress(folder.log, about={"command": command}) as progress,
    ):
        save_recipe(recipe, folder.recipe)
        studio = Studio(recipe, folder, ledger, progress, budget=budget or Budget())
        run_until_stopped(_Prompts(studio, task).make(avoided))
        kept = write_prompt_file(_kept(ledger), out)
        written = Written(task.number, kept, left_out(ledger), studio.tally.total.made)
    folder.write_metrics({"prompts": written.to_json()})
    return written


def foretell_prompts(
    task: Task,
    model: ModelSettings,
    folder: RunFolder,
    *,
    templates: Path | None = None,
    sample: int = 0,
) -> Forecast:
    """Say what `write_prompts` would buy; buys the calls of a sample and nothing else.

    Args:
        task: as there.
        model: as there.
        folder: as there.
        templates: as there.
        sample: how many prompts to ask for in earnest; 0 for none.

    Raises:
        CaiError: what would stop the writing as well.
    """
    # As the writing reads them, before it asks for anything.
    read_avoided(task.avoid, task.words)

    async def take(studio: Studio) -> None:
        await _Prompts(studio, task).ask()

    return foretell([Taken(_recipe(task, model, templates), take)], folder, sample=sample)


def _recipe(task: Task, model: ModelSettings, templates: Path | None) -> Recipe:
    """As much of a recipe as it takes to ask one model."""
    return Recipe(
        name="prompts",
        seed=task.writing.seed,
        constitution="harmlessness",
        templates=templates,
        models=Roles(default=model),
        prompts=PromptSets(red_team=()),
    )


class _Prompts:
    """Makes the rows of both passes."""

    def __init__(self, studio: Studio, task: Task) -> None:
        self._studio = studio
        self._task = task
        self._is_refusal = read_patterns(task.language).is_refusal
        self._wording = read_wording(task.language)

    async def make(self, avoided: Contamination) -> None:
        """Ask the model, then tell what is new."""
        try:
            await self.ask()
            task = self._task
            faults = faults_of(
                {key.sample: read_prompt(one["prompt"]) for key, one in self._written()},
                task.writing.seeds,
                avoided=avoided,
                similarity=task.similarity,
            )

            async def keep(item: tuple[RowKey, Mapping[str, Any]], log: RowLog) -> None:
                key, record = item
                if reason := faults.get(key.sample):
                    log.end(key, "filtered", reason)
                await log.ok(key, record, ())

            await self._studio.run_rows("keep new ones", self._written, keep, stages=(NEW,))
        finally:
            await self._studio.close()

    async def ask(self) -> None:
        """Ask the model alone."""
        await self._studio.run_rows("write prompts", self._asked, self._write, stages=(WRITTEN,))

    def _asked(self) -> Iterator[tuple[str, RowKey]]:
        topics = self._task.topics or ("",)
        for number in range(self._task.number):
            yield topics[number % len(topics)], RowKey(WRITTEN, PROMPTS, sample=number)

    async def _write(self, item: tuple[str, RowKey], log: RowLog) -> None:
        topic, key = item
        written = await write_prompt(
            topic,
            key,
            model=self._studio.model("assistant", key),
            writing=self._task.writing,
            prompts=self._studio.setting.prompts,
            is_refusal=self._is_refusal,
            wording=self._wording,
        )
        await log.ok(key, asdict(written), (written.call,), written.refusals)

    def _written(self) -> Iterator[tuple[RowKey, Mapping[str, Any]]]:
        for row in self._studio.ledger.rows(WRITTEN, "ok"):
            assert row.record is not None
            yield RowKey(NEW, PROMPTS, sample=row.key.sample), row.record


def _kept(ledger: Ledger) -> Iterator[Mapping[str, Any]]:
    for row in ledger.rows(NEW, "ok"):
        assert row.record is not None
        yield row.record


def left_out(ledger: Ledger) -> dict[str, int]:
    """How many prompts were asked for and not kept, by reason; numbers in a reason count as one."""
    reasons = Counter[str]()
    for stage in (WRITTEN, NEW):
        for row in ledger.rows(stage):
            if row.status != "ok":
                what = f"{row.status}: " if stage == WRITTEN else ""
                reasons[f"{what}{row.reason}"] += 1
    return dict(reasons.most_common())
