"""A data set of best-of-N: many replies to each prompt, all scored, the best one to learn from.

HH-RLHF (§2.3) collected data so, with N = 16; finetuning on it is the cheapest use of a preference
model. Every reply is a row of the run, its call bought once: the same command goes on after a stop,
and a larger N asks only for what is missing.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Literal

from cai.datasets.best_of import best_of_features, best_of_row
from cai.datasets.parquet import SplitWriter
from cai.engine import Ledger, Progress, RowEnded, RowLog
from cai.engine.budget import Budget
from cai.errors import CaiError
from cai.evaluation.best_of import kl_bound, kl_estimate
from cai.evaluation.intervals import Rate, mean_interval
from cai.pipeline.aside import Taken, foretell
from cai.pipeline.best_of import (
    REPLIES,
    drawn_replies,
    last_preference_model,
    open_scorer,
    scored,
)
from cai.pipeline.folder import RunFolder
from cai.pipeline.forecast_parts import Forecast
from cai.pipeline.policies import StagePolicy, policies
from cai.pipeline.run import filter_counts, row_counts
from cai.pipeline.studio import SetName, Studio
from cai.recipe import Recipe
from cai.records import Prompt, RowKey
from cai.report import write_cards
from cai.splits import split_of
from cai.stages.respond import respond
from cai.stopping import run_until_stopped
from trainers.work_folder import RECORD

SETS: tuple[SetName, ...] = ("red_team", "helpful")
PolicyWanted = Literal["helpful", "sl_cai", "dpo", "rl_cai"]


@dataclass(frozen=True)
class BestOfWritten:
    """What came of it.

    Args:
        rows: prompts of each split.
        left_out: replies and prompts that are not in the data, by reason.
        score: mean score of the replies.
        best_score: mean score of the best reply to each prompt.
        kl_bound: of best-of-N from the policy, in nats.
        kl: mean estimate of the same.
        made: calls bought now.
        intervals: of `score`, `best_score` and `kl` over the prompts; none of a single one.
    """

    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    score: float
    best_score: float
    kl_bound: float
    kl: float
    made: int
    intervals: Mapping[str, Rate] = field(default_factory=dict[str, Rate])

    def to_json(self) -> dict[str, Any]:
        """The part ``best_of_data`` of `metrics.json`."""
        return {name: value for name, value in asdict(self).items() if name != "made"}


@dataclass(frozen=True)
class BestOfTask:
    """What is wanted of a run.

    Args:
        recipe: the run's, with its prompts.
        folder: the run's, with a policy and a preference model.
        policy: who answers.
        replies: N, to each prompt.
    """

    recipe: Recipe
    folder: RunFolder
    policy: PolicyWanted = "sl_cai"
    replies: int = 16


def generate_best_of(
    task: BestOfTask, *, command: str = "", budget: Budget | None = None
) -> BestOfWritten:
    """Write ``datasets/best_of`` of a run: ``messages`` end with the best reply to each prompt.

    Args:
        task: what is wanted.
        command: how this was started, for the log.
        budget: the most that may be spent; None for any amount.

    Raises:
        BudgetReached: nothing more may be spent; the same command goes on.
        CaiError: the run has no such policy or no preference model, or there is no usable reply.
    """
    folder = task.folder
    _check_models(task)
    about = {"command": command, "steps": ("best-of",)}
    with Ledger.open(folder.ledger) as ledger, Progress(folder.log, about=about) as progress:
        studio = Studio(task.recipe, folder, ledger, progress, budget=budget or Budget())
        policy = _policy(studio, task)
        run_until_stopped(_draw(studio, policy))
        written = _write(studio, policy)
        metrics = folder.read_metrics()
        asked = {"policy": policy.stage, "replies": policy.replies}
        metrics["best_of_data"] = {**asked, **written.to_json()}
        metrics |= {"rows": row_counts(ledger), "filtered": filter_counts(ledger)}
        folder.write_metrics(metrics)
        if "run" in metrics:
            write_cards(folder.path, metrics)
    return written


def foretell_best_of(task: BestOfTask, *, sample: int = 0) -> Forecast:
    """Say what `generate_best_of` would buy; buys the calls of a sample and nothing else.

    Args:
        task: what is wanted.
        sample: how many replies to draw in earnest; 0 for none.

    Raises:
        CaiError: what would stop the generation as well.
    """
    _check_models(task)
    with Ledger.open(task.folder.ledger, read_only=True) as ledger, Progress() as progress:
        policy = _policy(Studio(task.recipe, task.folder, ledger, progress), task)

    async def take(studio: Studio) -> None:
        await _answers(studio, policy)

    return foretell([Taken(task.recipe, take)], task.folder, sample=sample)


def _check_models(task: BestOfTask) -> None:
    """Refuse a run without a preference model or without the policy, before anything is opened."""
    wanted = {"pm": "pm", "sl_cai": "sft", "dpo": "dpo", "rl_cai": "rl"}
    folder = task.folder
    for name in ("pm", task.policy):
        if name == "helpful" or (folder.model(name) / RECORD).is_file():
            continue
        raise CaiError(
            f"{folder.path} has no trained {name} yet; make it with: cai train {wanted[name]} "
            f"RECIPE --run {folder.path}"
        )


def _policy(studio: Studio, task: BestOfTask) -> StagePolicy:
    """The policy that was asked for, of the last iteration that has trained it."""
    found = [policy for policy in policies(studio) if policy.name == task.policy]
    return found[-1]._replace(replies=task.replies)


async def _draw(studio: Studio, policy: StagePolicy) -> None:
    try:
        await _answers(studio, policy)
    finally:
        await studio.close()


async def _answers(studio: Studio, policy: StagePolicy) -> None:
    """Let the policy answer each prompt several times; a reply that cannot be used ends its row."""
    model = studio.model_of(policy.settings)

    def items() -> Iterator[tuple[Prompt, RowKey]]:
        for name in SETS:
            for prompt in studio.prompts(name):
                for sample in range(policy.replies):
                    yield prompt, RowKey(REPLIES, prompt.id, sample=sample)

    async def answer(item: tuple[Prompt, RowKey], log: RowLog) -> None:
        prompt, key = item
        drawn = studio.recipe.comparisons.sampling.with_seed(studio.setting.call_seed(key))
        reply = await respond(prompt, key, model=model, setting=studio.setting, sampling=drawn)
        if reason := studio.filters.texts.of_reply(reply.text):
            raise RowEnded(key, "filtered", reason, (reply.call,))
        await log.ok(key, asdict(reply), (reply.call,), reply.refusals)

    await studio.run_rows("sample replies to choose from", items, answer, stages=(REPLIES,))


@dataclass
class _Gathered:
    """What is told of the rows, gathered while they are written: 24 bytes a prompt."""

    score: array[float] = field(default_factory=lambda: array("d"))
    best_score: array[float] = field(default_factory=lambda: array("d"))
    kl: array[float] = field(default_factory=lambda: array("d"))

    def add(self, scores: Sequence[float], replies: int) -> None:
        """Add the scores of the replies to one prompt."""
        self.score.append(fmean(scores))
        self.best_score.append(max(scores))
        self.kl.append(kl_estimate(scores, replies))

    @property
    def intervals(self) -> Mapping[str, Rate]:
        """Of each mean; none where one prompt says nothing of how far they vary."""
        return {name: mean_interval(of) for name, of in vars(self).items() if len(of) > 1}


def _write(studio: Studio, policy: StagePolicy) -> BestOfWritten:
    left_out, gathered = _unusable(studio.ledger), _Gathered()
    writer = SplitWriter(studio.folder.dataset("best_of"), best_of_features())
    writer.write(_rows(studio, policy, left_out, gathered))
    if not gathered.score:
        why = ", ".join(f"{reason}: {number}" for reason, number in left_out.items())
        raise CaiError(f"no prompt has a reply that can be scored ({why or 'there is no prompt'})")
    return BestOfWritten(
        rows=writer.counts,
        left_out=dict(left_out),
        score=fmean(gathered.score),
        best_score=fmean(gathered.best_score),
        kl_bound=kl_bound(policy.replies),
        kl=fmean(gathered.kl),
        made=studio.tally.total.made,
        intervals=gathered.intervals,
    )


def _rows(
    studio: Studio, policy: StagePolicy, left_out: Counter[str], gathered: _Gathered
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of the data set, a prompt's each, with their split."""
    from trainers.fit import model_digest

    model = last_preference_model(studio)
    assert model is not None, "checked before the first call"
    share, smallest = studio.recipe.datasets.test_share, studio.filters.smallest
    provenance = {
        "policy": policy.stage,
        "preference_model": model_digest(str(model)),
        "template": studio.setting.prompts.templates["respond"].hash,
        "seed": studio.recipe.seed,
    }
    drawn = drawn_replies(studio.ledger.rows(REPLIES, "ok"))
    for draws, rows in scored(open_scorer(model), drawn, left_out):
        gathered.add(draws.scores, policy.replies)
        split = split_of(draws.prompt.messages, share, smallest)
        yield split, best_of_row(draws, rows, provenance)


def _unusable(ledger: Ledger) -> Counter[str]:
    """Replies that cannot be used, by how they ended."""
    return Counter(
        {
            f"replies that ended as {status}": number
            for (stage, status), number in ledger.counts().items()
            if stage == REPLIES and status != "ok"
        }
    )
