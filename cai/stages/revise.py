"""Critique and revision (Bai et al. 2022, §3.1).

Each round draws a fresh principle and starts from the prompt and the latest revision alone:
earlier critiques are not in context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cai.constitution import Principle
from cai.engine import making
from cai.models.base import LanguageModel
from cai.records import Message, Prompt, Revision, RowKey, Sampling
from cai.stages.setting import Setting, usable_text


@dataclass(frozen=True)
class Exchange:
    """A prompt and the reply that is to be looked at."""

    prompt: Prompt
    response: str


@dataclass(frozen=True)
class Revisers:
    """Who critiques and who rewrites; without a critic the rewrite is direct (§3.5)."""

    reviser: LanguageModel
    critic: LanguageModel | None


def revision_key(prompt: Prompt, round_number: int, iteration: int = 0) -> RowKey:
    """The row of a revision; rounds count from 1."""
    return RowKey("revision", prompt.id, round=round_number, iteration=iteration)


async def revise_once(
    exchange: Exchange, key: RowKey, *, models: Revisers, setting: Setting, sampling: Sampling
) -> Revision:
    """One critique and rewrite under a principle drawn for this prompt and round.

    Args:
        exchange: the prompt with its first response or latest revision.
        key: the row made; its round takes part in the draw.
        models: critic and reviser.
        setting: constitution, templates and seed.
        sampling: how both are drawn; each call gets its own seed.

    Raises:
        RowEnded: a reply was declined, cut off or blank, or no principle applies to the prompt.
    """
    principle = setting.draw("revision", exchange.prompt, key, key.round)
    critique, calls, refusals = None, (), ()
    if models.critic is not None:
        messages = critique_request(exchange, principle, setting)
        asked = replace(sampling, seed=setting.call_seed(key, "critique"))
        with making(key, "critique"):
            completion = await models.critic.complete(
                messages, setting.prompts.ending("critique", asked)
            )
        critique = usable_text(completion, key, "critique")
        calls, refusals = (completion.call,), completion.refusals
    messages = revision_request(exchange, principle, critique, setting)
    asked = replace(sampling, seed=setting.call_seed(key, "revision"))
    with making(key):
        completion = await models.reviser.complete(
            messages, setting.prompts.ending("revise", asked)
        )
    text = usable_text(completion, key, "revision")
    calls, refusals = (*calls, completion.call), (*refusals, *completion.refusals)
    return Revision(key.round, principle.id, critique, text, completion.model, calls, refusals)


def critique_request(
    exchange: Exchange, principle: Principle, setting: Setting
) -> tuple[Message, ...]:
    """What the critic is asked about a reply."""
    return setting.prompts.render("critique", **_template_variables(exchange, principle, setting))


def revision_request(
    exchange: Exchange, principle: Principle, critique: str | None, setting: Setting
) -> tuple[Message, ...]:
    """What the reviser is asked after the critique, or without one."""
    given = _template_variables(exchange, principle, setting)
    return setting.prompts.render("revise", critique=critique, **given)


def _template_variables(
    exchange: Exchange, principle: Principle, setting: Setting
) -> dict[str, object]:
    return {
        "conversation": exchange.prompt.messages,
        "response": exchange.response,
        "principle": principle,
        "few_shots": setting.constitution.few_shots.revision,
    }
