"""Generate the supervised data: replies to red-team prompts, revised round by round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from cai.engine import RowLog
from cai.pipeline.studio import Studio
from cai.records import Prompt, RowKey
from cai.splits import purpose_of
from cai.stages.respond import respond
from cai.stages.revise import Exchange, Revisers, revise_once, revision_key


async def generate_revisions(studio: Studio) -> None:
    """Reply, critique and revise every red-team prompt of the supervised share.

    Each prompt goes through its rounds on its own; a failed round ends that prompt alone, and
    the rounds before it are kept.
    """
    await studio.run_rows(
        "critique and revise",
        lambda: _prompts(studio),
        lambda prompt, log: _revise(studio, prompt, log),
        stages=("response", "revision"),
    )


async def generate_helpful_replies(studio: Studio) -> None:
    """Reply to the helpful prompts: the other part of the supervised data (§3.2)."""
    samples = range(studio.recipe.datasets.helpful_samples)
    await studio.run_rows(
        "reply to helpful prompts",
        lambda: ((prompt, sample) for prompt in studio.prompts("helpful") for sample in samples),
        lambda item, log: _reply(studio, item, log),
        stages=("helpful",),
    )


def _prompts(studio: Studio) -> Iterator[Prompt]:
    share = studio.recipe.datasets.sft_share
    for prompt in studio.prompts("red_team"):
        if purpose_of(prompt.messages, share) == "sft":
            yield prompt


async def _revise(studio: Studio, prompt: Prompt, log: RowLog) -> None:
    settings, setting = studio.recipe.revisions, studio.setting
    key = RowKey("response", prompt.id)
    seed = setting.call_seed(key)
    response = await respond(
        prompt,
        key,
        model=studio.model("assistant"),
        setting=setting,
        sampling=settings.sampling.with_seed(seed),
    )
    await log.ok(key, asdict(response), (response.call,))
    critic = studio.model("critic") if settings.critique else None
    revisers = Revisers(studio.model("reviser"), critic)
    text = response.text
    for round_number in range(1, settings.rounds + 1):
        key = revision_key(prompt, round_number)
        revision = await revise_once(
            Exchange(prompt, text),
            key,
            models=revisers,
            setting=setting,
            sampling=settings.sampling.with_seed(0),
        )
        record = {"prompt": asdict(prompt), "before": text, **asdict(revision)}
        await log.ok(key, record, revision.calls)
        text = revision.text


async def _reply(studio: Studio, item: tuple[Prompt, int], log: RowLog) -> None:
    prompt, sample = item
    key = RowKey("helpful", prompt.id, sample=sample)
    sampling = studio.recipe.revisions.sampling.with_seed(studio.setting.call_seed(key))
    model = studio.model("assistant")
    response = await respond(prompt, key, model=model, setting=studio.setting, sampling=sampling)
    await log.ok(key, asdict(response), (response.call,))
