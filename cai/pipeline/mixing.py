"""Open what a recipe mixes into the data of a run: files and data sets, read and filtered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from cai.datasets.mix_plan import MixPlan, Part
from cai.datasets.mixing import LeftOut
from cai.mix_settings import MixedData, MixedSource
from cai.pipeline.studio import Studio
from cai.records import Comparison
from cai.sources import Unreadable
from cai.sources.mixed_rows import Conversation, read_conversations, read_labelled_pairs

Item = TypeVar("Item")


def sft_mix(studio: Studio) -> MixPlan[Conversation]:
    """What ``datasets/sft`` is mixed of."""

    def reason(one: Conversation) -> str | None:
        filters = studio.filters
        return filters.of_messages(one.prompt.messages) or filters.texts.of_reply(one.reply)

    return _plan(studio, "sft", read_conversations, reason)


def pair_mix(studio: Studio) -> MixPlan[Comparison]:
    """What ``datasets/preferences`` is mixed of."""

    def reason(pair: Comparison) -> str | None:
        if pair.response_a == pair.response_b:
            return "both replies are identical"
        return studio.filters.of_pair(pair) or studio.filters.texts.of_pair(pair)

    return _plan(studio, "preferences", read_labelled_pairs, reason)


def _plan(
    studio: Studio,
    data: MixedData,
    read: Callable[[MixedSource], Iterator[Item | Unreadable]],
    reason: Callable[[Item], str | None],
) -> MixPlan[Item]:
    """The recipe's mix of a data set; none for a shard, whose rows are mixed once it is merged."""
    if studio.shard is not None:
        return MixPlan[Item]()
    parts = [
        Part[Item](
            name=source.title,
            weight=source.weight,
            most=source.most,
            read=None if source.origin else partial(_kept, read, reason, source),
        )
        for source in studio.recipe.mixed(data)
    ]
    by_prompt = studio.recipe.mix.repeated == "prompts"
    return MixPlan(parts, by_prompt, studio.filters.same_prompts)


def _kept(
    read: Callable[[MixedSource], Iterator[Item | Unreadable]],
    reason: Callable[[Item], str | None],
    source: MixedSource,
) -> Iterator[Item | LeftOut]:
    for item in read(source):
        if isinstance(item, Unreadable):
            yield LeftOut(item.reason)
        else:
            why = reason(item)
            yield item if why is None else LeftOut(why)
