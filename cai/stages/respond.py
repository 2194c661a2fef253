"""Sample a reply to a prompt."""

from __future__ import annotations

from cai.engine import making
from cai.models.base import LanguageModel
from cai.records import Prompt, Response, RowKey, Sampling
from cai.stages.setting import Setting, usable_text


async def respond(
    prompt: Prompt, key: RowKey, *, model: LanguageModel, setting: Setting, sampling: Sampling
) -> Response:
    """One reply to the prompt; `key.sample` tells replies to the same prompt apart.

    Raises:
        RowEnded: the reply was declined, cut off or blank.
    """
    messages = setting.prompts.render("respond", conversation=prompt.messages)
    with making(key):
        completion = await model.complete(messages, setting.prompts.ending("respond", sampling))
    text = usable_text(completion, key, "reply")
    return Response(
        prompt, text, key.sample, completion.model, completion.call, completion.refusals
    )
