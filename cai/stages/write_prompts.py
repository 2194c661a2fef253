"""Write new prompts after a few examples (Bai et al. 2022a, §4.1; Bai et al. 2022b, §3.2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from cai.engine import RowEnded, making
from cai.models.base import LanguageModel
from cai.prompts import Prompts
from cai.records import Message, Prompt, Refusal, RowKey, Sampling
from cai.sources.transcripts import MARKER, parse_transcript
from cai.stages.setting import call_seed, usable_text
from cai.wording import Wording

NAMES = {"user": "Human", "assistant": "Assistant"}
"""How the turns of a conversation are marked, in examples and in what is written."""

QUOTES = ('""', "''", "“”", "«»", "``")


@dataclass(frozen=True)
class Writing:
    """How prompts are written.

    Args:
        seeds: the prompts that examples are drawn from; all of one turn, or all of several.
        shown: how many of them are shown for each new one.
        sampling: of the calls; each gets a seed of its own.
        seed: of the draws and calls.
        kind: what the written prompts are taken to be.
        source: name of the set that they make.
    """

    seeds: tuple[Prompt, ...]
    shown: int
    sampling: Sampling
    seed: int
    kind: str
    source: str

    @property
    def of_several_turns(self) -> bool:
        """Whether conversations are written, that end with the person."""
        return any(len(_turns(seed)) > 1 for seed in self.seeds)


@dataclass(frozen=True)
class WrittenPrompt:
    """A prompt that a model wrote.

    Args:
        prompt: as it was read from the reply.
        topic: that was asked for; empty if none was.
        seeds: ids of the prompts that were shown.
        model: the model's name as the provider reported it.
        call: the ledger's key.
        refusals: of models that were asked before and declined.
    """

    prompt: Prompt
    topic: str
    seeds: tuple[str, ...]
    model: str
    call: str
    refusals: tuple[Refusal, ...] = ()


async def write_prompt(
    topic: str,
    key: RowKey,
    *,
    model: LanguageModel,
    writing: Writing,
    prompts: Prompts,
    is_refusal: Callable[[str], bool],
    wording: Wording,
) -> WrittenPrompt:
    """Ask for one more prompt of the kind of some seeds.

    Args:
        topic: what it is to be about; empty for anything.
        key: the row made; its sample takes part in the draw of the seeds.
        model: writes it.
        writing: how.
        prompts: the templates.
        is_refusal: tells a refusal by its wording.
        wording: how models introduce what they write.

    Raises:
        RowEnded: the model declined ("refused"), was cut off ("truncated"), or wrote something
            that is no prompt ("unparsed").
    """
    shown = drawn_seeds(writing, key)
    examples = [example_of(seed) for seed in shown]
    messages = prompts.render("write_prompts", examples=examples, topic=topic or None)
    asked = prompts.ending("write_prompts", writing.sampling)
    asked = replace(asked, seed=call_seed(writing.seed, key))
    with making(key):
        completion = await model.complete(messages, asked)
    text = usable_text(completion, key, "prompt")
    calls = (completion.call,)
    if is_refusal(text):
        raise RowEnded(key, "refused", "what was written is worded as a refusal", calls)
    try:
        turns = parse_written(text, several_turns=writing.of_several_turns, wording=wording)
    except ValueError as error:
        raise RowEnded(key, "unparsed", f"what was written {error}", calls) from error
    return WrittenPrompt(
        Prompt(turns, writing.source, writing.kind),
        topic,
        tuple(seed.id for seed in shown),
        completion.model,
        completion.call,
        completion.refusals,
    )


def drawn_seeds(writing: Writing, key: RowKey) -> list[Prompt]:
    """The seeds that are shown for a row: different ones, in random order."""
    source = random.Random(f"{writing.seed}:{key.stage}:{key.prompt_id}:{key.sample}")
    return source.sample(writing.seeds, min(writing.shown, len(writing.seeds)))


def example_of(seed: Prompt) -> str:
    """A seed as it is shown: its text, or all of its turns with who speaks."""
    turns = _turns(seed)
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"{NAMES[turn.role]}: {turn.content}" for turn in turns)


def parse_written(text: str, *, several_turns: bool, wording: Wording) -> tuple[Message, ...]:
    """The prompt that a reply holds, and nothing else.

    White space around it goes, and so does the "> " that begins each line of the examples, if it
    begins each line of the reply.

    Args:
        text: the reply.
        several_turns: whether a conversation was asked for.
        wording: how models introduce what they write.

    Raises:
        ValueError: the reply holds no prompt, more than one, or something beside it; says which.
    """
    bare = _unquoted(text.strip())
    if not bare:
        raise ValueError("is blank")
    if wording.is_introduced(bare):
        raise ValueError("begins with words about itself")
    if any(bare[0] == pair[0] and bare[-1] == pair[1] for pair in QUOTES) and len(bare) > 1:
        raise ValueError("stands in quotation marks")
    marked = MARKER.search(bare) is not None
    if not several_turns:
        if marked:
            raise ValueError("has several turns, where one was asked for")
        return (Message("user", bare),)
    turns = tuple(replace(turn, content=turn.content.strip()) for turn in parse_transcript(bare))
    return _alternating(turns)


def _alternating(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    if len(turns) < 2:
        raise ValueError("has one turn, where several were asked for")
    for place, turn in enumerate(turns):
        expected = "user" if place % 2 == 0 else "assistant"
        if turn.role != expected:
            raise ValueError(f"has a turn of {NAMES[turn.role]} out of order")
        if not turn.content:
            raise ValueError("has a blank turn")
    if turns[-1].role != "user":
        raise ValueError("does not end with the person")
    return turns


def _unquoted(text: str) -> str:
    lines = text.split("\n")
    if all(line == ">" or line.startswith("> ") for line in lines):
        return "\n".join(line[2:] for line in lines).strip()
    return text


def _turns(seed: Prompt) -> tuple[Message, ...]:
    return tuple(turn for turn in seed.messages if turn.role != "system")
