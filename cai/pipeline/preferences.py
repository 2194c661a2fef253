"""Generate the preference data: pairs of replies, labelled; and the pairs that people judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import asdict
from typing import TypeVar

from cai.at_once import all_of
from cai.engine import RowEnded, RowLog
from cai.models.base import LanguageModel
from cai.pipeline.baselines import Responder, generate_baselines
from cai.pipeline.ingredients import policy_settings, snapshots_before
from cai.pipeline.labelling import label_pair
from cai.pipeline.studio import Studio
from cai.records import Comparison, Prompt, Response, RowKey, digest
from cai.sources.pairs import PairSet, read_pairs
from cai.stages.compare import calls_of
from cai.stages.label_maths import best_and_worst, mean_wins, pairs_of
from cai.stages.respond import respond

Made = TypeVar("Made")


async def generate_comparisons(studio: Studio) -> None:
    """Sample pairs of replies to the red-team prompts of the preference share, and label them.

    Both replies are the responder's, in the paper the SL-CAI model's (Bai et al. 2022, §4.1), and
    in later iterations those of several snapshots of the policy (Bai et al. 2022b, §4.5). The
    judged pairs of the recipe join those of the first iteration as rows of the same stage, with
    their own source, and so do the baselines that need no judge, each as rows of a stage of its
    own.
    """
    responder = _responder(studio)
    await generate_baselines(studio, responder)
    await studio.run_rows(
        "sample and label pairs",
        lambda: _items(studio),
        lambda item, log: _take(studio, item, responder, log),
        stages=("pair", "comparison"),
    )


def _items(studio: Studio) -> Iterator[tuple[Prompt, int] | tuple[Comparison, RowKey]]:
    recipe = studio.recipe
    labelled = len(pairs_of(recipe.comparisons.replies))
    by_judge = "ai" in recipe.comparisons.sources
    for prompt in studio.prompts("red_team") if by_judge else ():
        if studio.purpose_of(prompt) == "preferences":
            for group in range(recipe.comparisons.pairs_per_prompt):
                if studio.takes(_label_key(studio, prompt, group * labelled)):
                    yield prompt, group
    if studio.iteration:
        return
    samples = Counter[str]()
    for judged in studio.judged_pairs():
        key = RowKey("comparison", judged.prompt.id, sample=samples[judged.prompt.id])
        samples[judged.prompt.id] += 1
        if studio.takes(key):
            yield judged, key


def _label_key(studio: Studio, prompt: Prompt, sample: int) -> RowKey:
    return RowKey("comparison", prompt.id, sample=sample, iteration=studio.iteration)


async def _take(
    studio: Studio,
    item: tuple[Prompt, int] | tuple[Comparison, RowKey],
    responder: Responder,
    log: RowLog,
) -> None:
    first, second = item
    if isinstance(first, Comparison) and isinstance(second, RowKey):
        await _keep_judged(studio, first, second, log)
    elif isinstance(first, Prompt) and isinstance(second, int):
        await _label(studio, first, second, responder, log)


async def _keep_judged(studio: Studio, judged: Comparison, key: RowKey, log: RowLog) -> None:
    if judged.response_a == judged.response_b:
        log.end(key, "filtered", "both replies are identical")
    if reason := studio.filters.texts.of_pair(judged):
        log.end(key, "filtered", reason)
    await log.ok(key, asdict(judged), ())


async def _label(
    studio: Studio, prompt: Prompt, group: int, responder: Responder, log: RowLog
) -> None:
    """Sample the replies of a group, label its pairs, and keep those that the ranking keeps."""
    settings = studio.recipe.comparisons
    replies = await _replies(studio, prompt, group, responder, log)
    if not replies:
        return
    pairs = pairs_of(settings.replies)
    keys = [_label_key(studio, prompt, group * len(pairs) + place) for place in range(len(pairs))]
    labels = await all_of(
        _attempt(label_pair(studio, (replies[first], replies[second]), key))
        for key, (first, second) in zip(keys, pairs, strict=True)
    )
    kept = range(len(pairs)) if settings.ranking == "all_pairs" else _best_and_worst(labels, pairs)
    for place, (key, label) in enumerate(zip(keys, labels, strict=True)):
        if isinstance(label, RowEnded):
            log.ended(label)
        elif place not in kept:
            reason = "not the best reply against the worst" if kept else "no ranking of the replies"
            log.ended(RowEnded(key, "filtered", reason, calls_of(label)))
        elif reason := studio.filters.texts.of_pair(label):
            log.ended(RowEnded(key, "filtered", reason, calls_of(label)))
        else:
            written = tuple(replies[number].call for number in pairs[place])
            await log.ok(key, asdict(label), (*written, *calls_of(label)), label.refusals)


async def _replies(
    studio: Studio, prompt: Prompt, group: int, responder: Responder, log: RowLog
) -> list[Response]:
    """The replies of a group; none if one of them could not be had."""
    of_group = studio.recipe.comparisons.replies
    keys = [
        RowKey("pair", prompt.id, sample=sample, iteration=studio.iteration)
        for sample in range(of_group * group, of_group * (group + 1))
    ]
    replies = await all_of(_attempt(_reply(studio, prompt, key, responder)) for key in keys)
    for key, reply in zip(keys, replies, strict=True):
        if isinstance(reply, RowEnded):
            log.ended(reply)
        else:
            await log.ok(key, asdict(reply), (reply.call,), reply.refusals)
    written = [reply for reply in replies if isinstance(reply, Response)]
    return written if len(written) == of_group else []


async def _reply(studio: Studio, prompt: Prompt, key: RowKey, responder: Responder) -> Response:
    sampling = studio.recipe_for(key).comparisons.sampling
    return await respond(
        prompt,
        key,
        model=responder(key),
        setting=studio.setting,
        sampling=sampling.with_seed(studio.setting.call_seed(key)),
    )


async def _attempt(work: Awaitable[Made]) -> Made | RowEnded:
    """What was made of a row, or why it has ended: the others of its group go on."""
    try:
        return await work
    except RowEnded as end:
        return end


def _best_and_worst(
    labels: Sequence[Comparison | RowEnded], pairs: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """The place of the pair of the best and the worst reply; none if a pair has no label."""
    p_first = [label.p_a for label in labels if isinstance(label, Comparison)]
    if len(p_first) < len(pairs):
        return ()
    replies = pairs[-1][1] + 1
    chosen = tuple(sorted(best_and_worst(mean_wins(replies, p_first))))
    return tuple(place for place, pair in enumerate(pairs) if pair == chosen)


def _responder(studio: Studio) -> Responder:
    if studio.iteration:
        return _by_snapshots(studio)
    if studio.recipe.comparisons.responder == "assistant":
        return lambda key: studio.model("assistant", key)
    base = studio.recipe.models.of("base")
    sl_cai = studio.model_of(policy_settings(studio.folder.model("sl_cai"), base))
    return lambda key: sl_cai


def _by_snapshots(studio: Studio) -> Responder:
    """Deals the replies to the policies that the iteration before has kept."""
    settings = snapshots_before(studio)
    policies = [studio.model_of(one) for one in settings]

    def responder(key: RowKey) -> LanguageModel:
        dealt = f"snapshot:{studio.setting.seed}:{key.iteration}:{key.prompt_id}:{key.sample}"
        return policies[int(digest(dealt), 16) % len(policies)]

    return responder


async def probe_labels(studio: Studio) -> None:
    """Let the judge label held-out pairs of known truth, each under a drawn principle.

    Only the microworld has such pairs; elsewhere there is nothing to do.
    """
    if not _has_probes(studio):
        return

    async def label(pair: Comparison, log: RowLog) -> None:
        key = _probe_key(pair)
        a = Response(pair.prompt, pair.response_a, 0, "", "")
        b = Response(pair.prompt, pair.response_b, 1, "", "")
        comparison = await label_pair(studio, (a, b), key)
        await log.ok(key, asdict(comparison), calls_of(comparison), comparison.refusals)

    def pairs() -> Iterator[Comparison]:
        return (pair for pair in probe_pairs(studio) if studio.takes(_probe_key(pair)))

    await studio.run_rows("probe the judge", pairs, label, stages=("label_probe",))


def probe_pairs(studio: Studio) -> Iterator[Comparison]:
    """The held-out pairs of known truth that the judge labels; none outside the microworld."""
    if not _has_probes(studio):
        return
    wanted = studio.recipe.evaluation.label_probes
    probes = PairSet(kind="harmful", microworld="heldout", limit=wanted)
    for pair in read_pairs(probes, studio.recipe.seed):
        if isinstance(pair, Comparison) and studio.holds(pair.prompt):
            yield pair


def _has_probes(studio: Studio) -> bool:
    settings = studio.recipe.evaluation
    return settings.truth == "microworld" and settings.label_probes > 0


def _probe_key(pair: Comparison) -> RowKey:
    return RowKey("label_probe", pair.prompt.id)
