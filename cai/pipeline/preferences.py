"""Generate the preference data: pairs of replies, labelled; and the pairs that people judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from cai.engine import RowLog
from cai.models.base import LanguageModel
from cai.pipeline.studio import Studio
from cai.records import Comparison, Prompt, Response, RowKey
from cai.sources.pairs import PairSet, read_pairs
from cai.sources.prompt_sets import Unreadable
from cai.splits import purpose_of
from cai.stages.compare import compare
from cai.stages.respond import respond


async def generate_comparisons(studio: Studio, responder: LanguageModel) -> None:
    """Sample pairs of replies to the red-team prompts of the preference share, and label them.

    The judged pairs of the recipe join them as rows of the same stage, with their own source.

    Args:
        studio: the run.
        responder: writes both replies; in the paper the SL-CAI model (Bai et al. 2022, §4.1).
    """
    await studio.run_rows(
        "sample and label pairs",
        lambda: _items(studio),
        lambda item, log: _take(studio, item, responder, log),
        stages=("pair", "comparison"),
    )


def _items(studio: Studio) -> Iterator[tuple[Prompt, int] | tuple[Comparison, RowKey]]:
    recipe = studio.recipe
    for prompt in studio.prompts("red_team"):
        if purpose_of(prompt.messages, recipe.datasets.sft_share) == "preferences":
            for pair in range(recipe.comparisons.pairs_per_prompt):
                yield prompt, pair
    for pair_set in recipe.comparisons.human:
        samples: dict[str, int] = {}
        for judged in read_pairs(pair_set, recipe.seed):
            if isinstance(judged, Unreadable):
                studio.note_unreadable(judged)
                continue
            sample = samples.get(judged.prompt.id, 0)
            samples[judged.prompt.id] = sample + 1
            yield judged, RowKey("comparison", judged.prompt.id, sample=sample)


async def _take(
    studio: Studio,
    item: tuple[Prompt, int] | tuple[Comparison, RowKey],
    responder: LanguageModel,
    log: RowLog,
) -> None:
    first, second = item
    if isinstance(first, Comparison) and isinstance(second, RowKey):
        await _keep_judged(first, second, log)
    elif isinstance(first, Prompt) and isinstance(second, int):
        await _label(studio, first, second, responder, log)


async def _keep_judged(judged: Comparison, key: RowKey, log: RowLog) -> None:
    if judged.response_a == judged.response_b:
        log.end(key, "filtered", "both replies are identical")
    await log.ok(key, asdict(judged), ())


async def _label(
    studio: Studio, prompt: Prompt, pair: int, responder: LanguageModel, log: RowLog
) -> None:
    settings, setting = studio.recipe.comparisons, studio.setting
    replies: list[Response] = []
    for sample in (2 * pair, 2 * pair + 1):
        key = RowKey("pair", prompt.id, sample=sample)
        sampling = settings.sampling.with_seed(setting.call_seed(key))
        reply = await respond(prompt, key, model=responder, setting=setting, sampling=sampling)
        await log.ok(key, asdict(reply), (reply.call,))
        replies.append(reply)
    key = RowKey("comparison", prompt.id, sample=pair)
    comparison = await _compare(studio, (replies[0], replies[1]), key)
    calls = tuple(order.call for order in comparison.orders)
    await log.ok(key, asdict(comparison), (*(reply.call for reply in replies), *calls))


async def probe_labels(studio: Studio) -> None:
    """Let the judge label held-out pairs of known truth, each under a drawn principle.

    Only the microworld has such pairs; elsewhere there is nothing to do.
    """
    wanted = studio.recipe.evaluation.label_probes
    if studio.recipe.evaluation.truth != "microworld" or not wanted:
        return
    probes = PairSet(kind="harmful", microworld="heldout", limit=wanted)

    async def label(pair: Comparison, log: RowLog) -> None:
        key = RowKey("label_probe", pair.prompt.id)
        a = Response(pair.prompt, pair.response_a, 0, "", "")
        b = Response(pair.prompt, pair.response_b, 1, "", "")
        comparison = await _compare(studio, (a, b), key)
        await log.ok(key, asdict(comparison), tuple(order.call for order in comparison.orders))

    def pairs() -> Iterator[Comparison]:
        read = read_pairs(probes, studio.recipe.seed)
        return (pair for pair in read if isinstance(pair, Comparison))

    await studio.run_rows("probe the judge", pairs, label, stages=("label_probe",))


async def _compare(studio: Studio, pair: tuple[Response, Response], key: RowKey) -> Comparison:
    return await compare(
        pair,
        key,
        judge=studio.model("judge"),
        setting=studio.setting,
        minimum_mass=studio.recipe.comparisons.minimum_mass,
    )
