"""The messages that each stage would send for a prompt, made by the stages' own functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cai.constitution import STAGES, Principle, Stage
from cai.engine import RowEnded
from cai.records import Message, Prompt, Response, RowKey
from cai.stages import choose, classify, rate
from cai.stages.choose import comparison_questions, reasoning_question
from cai.stages.classify import classify_question
from cai.stages.rate import rating_question
from cai.stages.revise import Exchange, critique_request, revision_key, revision_request
from cai.stages.setting import Setting


@dataclass(frozen=True)
class Replies:
    """Texts that stand for what models would have said before.

    Args:
        response: the reply that is looked at.
        other: the one that it is compared with.
        critique: of the response.
        reasoning: about both.
    """

    response: str = "<the reply>"
    other: str = "<another reply>"
    critique: str = "<the critique>"
    reasoning: str = "<the reasoning>"


@dataclass(frozen=True)
class Shown:
    """One call that a stage would make.

    Args:
        call: what it is for, for people.
        principle: id of the principle; empty if none takes part.
        messages: what is sent; empty if nothing is.
        note: why nothing is sent.
        answers: the options that are weighed, where the template writes them in its own way.
        stop: what ends a reply in plain text.
    """

    call: str
    principle: str = ""
    messages: tuple[Message, ...] = ()
    note: str = ""
    answers: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


def shown_calls(
    prompt: Prompt,
    setting: Setting,
    *,
    principle: Principle | None = None,
    replies: Replies | None = None,
    stages: Sequence[Stage] = STAGES,
) -> Iterator[Shown]:
    """The calls of some stages, in the order in which a run makes them.

    Args:
        prompt: what is asked.
        setting: constitution, templates and seed.
        principle: under which; None for the one that each stage draws for the prompt.
        replies: texts for what models would have said.
        stages: whose calls to show.
    """
    yield Shown("respond", "", setting.prompts.render("respond", conversation=prompt.messages))
    for stage in stages:
        key = revision_key(prompt, 1) if stage == "revision" else RowKey(stage, prompt.id)
        drawn = principle
        if drawn is None and setting.constitution.of_stage(stage):
            try:
                drawn = setting.draw(stage, prompt, key, key.round)
            except RowEnded as ended:
                yield Shown(stage, note=ended.row.reason)
                continue
        if drawn is not None and stage in drawn.stages:
            yield from _calls(stage, prompt, drawn, replies or Replies(), setting)


def _calls(
    stage: Stage, prompt: Prompt, principle: Principle, replies: Replies, setting: Setting
) -> Iterator[Shown]:
    response = Response(prompt, replies.response, 0, "", "")
    other = Response(prompt, replies.other, 1, "", "")
    exchange = Exchange(prompt, replies.response)
    key, id = RowKey("comparison", prompt.id), principle.id
    pair, prompts = (response, other), setting.prompts

    def asks(call: str, template: str, messages: tuple[Message, ...]) -> Shown:
        return Shown(call, id, messages, stop=prompts.templates[template].stop)

    def weighs(
        call: str, template: str, options: tuple[str, ...], messages: tuple[Message, ...]
    ) -> Shown:
        answers = prompts.answers(template, options)
        return Shown(call, id, messages, answers=answers if answers != options else ())

    if stage == "revision":
        yield asks("critique", "critique", critique_request(exchange, principle, setting))
        asked = revision_request(exchange, principle, replies.critique, setting)
        yield asks("revision, after the critique", "revise", asked)
    elif stage == "comparison":
        first, second = comparison_questions(pair, principle, key, setting)
        yield weighs("comparison, the reply at (A)", "compare", choose.OPTIONS, first)
        yield weighs("comparison, the reply at (B)", "compare", choose.OPTIONS, second)
    elif stage == "reasoning":
        asked = reasoning_question(pair, "a", principle, key, setting)
        yield asks("reasoning, the reply at (A)", "reason", asked)
        asked = reasoning_question(pair, "a", principle, key, setting, replies.reasoning)
        yield weighs("comparison, after the reasoning", "reason", choose.OPTIONS, asked)
    elif stage == "rating":
        asked = rating_question(response, principle, setting)
        yield weighs("rating", "rate", rate.OPTIONS, asked)
    else:
        asked = classify_question(response, principle, setting)
        yield weighs("classify", "classify", classify.OPTIONS, asked)
