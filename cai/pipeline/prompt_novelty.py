"""What is new among written prompts: no seed, none written before, no evaluation prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cai.errors import Fault, InputError
from cai.filters.contamination import Contamination
from cai.filters.near_duplicates import Prompted, find_clusters
from cai.pipeline.filtering import evaluation_prompts
from cai.records import Message, Prompt


def read_avoided(places: Sequence[Path], words: int) -> Contamination:
    """Read the evaluation prompts that nothing written may be like.

    Args:
        places: files or folders of them.
        words: sharing so many words in a row with one of these is being like it.

    Raises:
        InputError: one is not there, is broken, or has no prompt.
    """

    def every() -> Iterator[Sequence[Message]]:
        for place in places:
            number = 0
            for number, prompt in enumerate(evaluation_prompts(place), 1):  # noqa: B007
                yield prompt
            if not number:
                raise InputError(place, [Fault("has no prompt; name a file or folder that has")])

    return Contamination(every(), words)


def faults_of(
    prompts: Mapping[int, Prompt],
    seeds: Sequence[Prompt],
    *,
    avoided: Contamination,
    similarity: float,
) -> dict[int, str]:
    """Why written prompts are not new, by their number; those before them come first.

    Args:
        prompts: by number, in order.
        seeds: that they were written after.
        avoided: knows the evaluation prompts; see `read_avoided`.
        similarity: Jaccard index from which two prompts are nearly the same.
    """

    def every() -> Iterator[Prompted]:
        for prompt in (*seeds, *prompts.values()):
            yield Prompted(prompt.messages, prompt.text_hash, "")

    smallest = find_clusters(every(), similarity).smallest
    there = {seed.text_hash: "is a seed again" for seed in seeds}
    near = {smallest.get(own, own): "is nearly a seed" for own in there}
    faults: dict[int, str] = {}
    for number, prompt in prompts.items():
        own = prompt.text_hash
        cluster = smallest.get(own, own)
        if fault := there.get(own) or near.get(cluster):
            faults[number] = fault
        elif avoided.holds(prompt.messages):
            faults[number] = "is like an evaluation prompt"
        else:
            there[own] = "was written before"
            near[cluster] = "is nearly one that was written before"
    return faults
