"""The policies that a run measures, and their replies to prompts that no training saw."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from typing import NamedTuple

from cai.engine import RowLog, making
from cai.errors import CaiError
from cai.models import ModelSettings
from cai.pipeline.folder import ITERATED, POLICIES, ModelName, PolicyName, RunFolder
from cai.pipeline.ingredients import policy_settings
from cai.pipeline.studio import Studio
from cai.records import Completion, Prompt, RowKey, digest
from cai.stage_titles import BEST_OF
from trainers.work_folder import RECORD


class StagePolicy(NamedTuple):
    """A policy that is measured.

    Args:
        name: of its kind: "helpful", that of its folder, or "best_of".
        settings: of the model that is asked.
        trained: the model of the run that this is; None if it was there before.
        iteration: of online training that it is of.
        replies: drawn to each prompt; of several the best is kept.
    """

    name: str
    settings: ModelSettings
    trained: PolicyName | None = None
    iteration: int = 0
    replies: int = 1

    @property
    def stage(self) -> str:
        """Its name among the stages of `metrics.json`: ``rl_cai``, then ``rl_cai_1``."""
        return f"{self.name}_{self.iteration}" if self.iteration else self.name

    @property
    def row_stage(self) -> str:
        """Of the rows with its replies, those of its iteration among others."""
        return f"evaluation_{self.name}"


def policies(
    studio: Studio, there: Callable[[RunFolder, ModelName], bool] | None = None
) -> Iterator[StagePolicy]:
    """The run's own policies, and the further models of the recipe's contest.

    The run's own are the helpful-only assistant, each trained policy, and best-of-N of SL-CAI if
    there is a PM.

    Args:
        studio: of the run.
        there: whether the run has, or will have, a model; None: it is in its folder.

    Raises:
        CaiError: a further model has the name of one of the run's.
    """
    contest, names = studio.recipe.evaluation.contest, set[str]()
    for one in _own_policies(studio, there) if contest is None or contest.stages else ():
        names.add(one.stage)
        yield one
    for name, settings in contest.models.items() if contest else ():
        if name in names:
            raise CaiError(
                f"evaluation.contest.models: {name} is a policy of the run; choose another name"
            )
        yield StagePolicy(name, settings)


def _own_policies(
    studio: Studio, there: Callable[[RunFolder, ModelName], bool] | None
) -> Iterator[StagePolicy]:
    there = there or (lambda folder, name: (folder.model(name) / RECORD).is_file())
    first, base = studio.folder.at(0), studio.recipe.models.of("base")
    yield StagePolicy("helpful", studio.recipe.models.of("assistant"))
    for iteration in range(studio.recipe.iterations):
        folder = first.at(iteration)
        for name in POLICIES:
            again = iteration > 0 and name not in ITERATED
            if not again and there(folder, name):
                yield StagePolicy(name, policy_settings(folder.model(name), base), name, iteration)
    replies = studio.recipe.evaluation.replies_to_choose_from
    if replies > 1 and there(first, "sl_cai") and there(first, "pm"):
        settings = policy_settings(first.model("sl_cai"), base)
        yield StagePolicy(BEST_OF, settings, "sl_cai", replies=replies)


async def sample_policy(studio: Studio, policy: StagePolicy) -> None:
    """Let a policy answer every evaluation prompt; broken and cut-off replies count too.

    Args:
        studio: at the iteration that the policy is of.
        policy: who answers.
    """

    def items() -> Iterator[tuple[Prompt, RowKey]]:
        for prompt in prompts_measured_on(studio):
            for sample in range(policy.replies):
                key = reply_key(policy, prompt, sample)
                if studio.takes(key):
                    yield prompt, key

    async def answer(item: tuple[Prompt, RowKey], log: RowLog) -> None:
        prompt, key = item
        completion = await reply_of(studio, policy, prompt, key)
        record = {
            "prompt": asdict(prompt),
            "text": completion.text,
            "stop_reason": completion.stop_reason,
            "model": completion.model,
        }
        await log.ok(key, record, (completion.call,))

    title = f"evaluate {policy.name.replace('_', '-')}"
    await studio.run_rows(title, items, answer, stages=(policy.row_stage,))


def reply_key(policy: StagePolicy, prompt: Prompt, sample: int = 0) -> RowKey:
    """The row of a policy's reply."""
    return RowKey(policy.row_stage, prompt.id, sample=sample, iteration=policy.iteration)


async def reply_of(
    studio: Studio,
    policy: StagePolicy,
    prompt: Prompt,
    key: RowKey,
    temperature: float | None = None,
) -> Completion:
    """A policy's reply to a prompt, bought once however often it is asked for.

    Args:
        studio: of the run.
        policy: who answers.
        prompt: what is asked.
        key: as of `reply_key`.
        temperature: that all tokens are drawn at, whatever recipe and policy say; None for theirs.

    Raises:
        RowEnded: it cannot be had.
    """
    messages = studio.setting.prompts.render("respond", conversation=prompt.messages)
    sampling, settings = studio.recipe_for(key).evaluation.sampling, policy.settings
    if temperature is not None:
        drawn = {"temperature": temperature, "top_p": 1.0}
        sampling = sampling.model_copy(update=drawn)
        if settings.sampling is not None:
            own = settings.sampling.model_copy(update=drawn)
            settings = settings.model_copy(update={"sampling": own})
    # The first of several replies is the one that the policy itself was measured by: no call.
    own = replace(key, stage=f"evaluation_{policy.trained or policy.name}")
    seeded = sampling.with_seed(studio.setting.call_seed(own))
    with making(key):
        return await studio.model_of(settings).complete(messages, seeded)


def prompts_measured_on(studio: Studio) -> Iterator[Prompt]:
    """The evaluation prompts, or so many of each kind as ``evaluation.prompts`` says."""
    most = studio.recipe.evaluation.prompts
    return some_of_each_kind(studio.prompts("evaluation"), most, studio.setting.seed)


def some_of_each_kind(prompts: Iterable[Prompt], most: int | None, seed: int) -> Iterator[Prompt]:
    """At most so many prompts of each kind, in their order; more of them hold the same ones.

    They are chosen by a hash, and not from the beginning: files are often ordered by subject.

    Args:
        prompts: read once.
        most: of each kind; None for all.
        seed: same seed, same prompts.
    """
    if most is None:
        yield from prompts
        return
    kept: dict[str, list[tuple[int, int, Prompt]]] = {}
    for place, prompt in enumerate(prompts):
        of_kind = kept.setdefault(prompt.kind, [])
        # The largest hash of those kept is the first one: a heap has its smallest there.
        one = (-int(digest([seed, prompt.text_hash]), 16), -place, prompt)
        if len(of_kind) < most:
            heapq.heappush(of_kind, one)
        else:
            heapq.heappushpop(of_kind, one)
    chosen = [one for of_kind in kept.values() for one in of_kind]
    yield from (prompt for _, _, prompt in sorted(chosen, key=lambda one: -one[1]))
