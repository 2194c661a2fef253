"""Small questions by which it is found out what a server takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from cai.errors import ModelError, PermanentError, RejectedRequest
from cai.models.capabilities import Prefill
from cai.models.chat_wire import MISSHAPEN, read_object
from cai.models.label_samples import LABEL_SAMPLES
from cai.models.learning import NoLogprobs
from cai.models.openai_connection import Connection
from cai.models.openai_endpoint import Endpoint
from cai.records import Completion, Message, Sampling

HALF_SAID = (
    Message("user", "Repeat this, word for word: The quick brown fox jumps over the lazy dog."),
    Message("assistant", "The quick brown fox jumps"),
)
NEXT_WORD = "over"
"""What a model says next that goes on with its turn; one that begins a turn says "The"."""

WAYS_TO_PREFILL: Sequence[dict[str, Any]] = (
    {"add_generation_prompt": False, "continue_final_message": True},
    {"continue_final_message": True},
    {},
)
"""Fields that servers go on with a last assistant turn by."""

HELLO = (Message("user", "Say hello and tell me a very short story."),)

TALK = Sampling(max_tokens=12, seed=7)


class Ask(Protocol):
    """Asks for one reply with a prefill of this way, and further fields in the request."""

    async def __call__(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        prefill: Prefill,
        fields: Mapping[str, Any],
    ) -> tuple[Completion, int]:
        """The first reply, and how many there are."""
        ...


class PrefillFound(NamedTuple):
    """How a server goes on with an assistant turn, and the reply that showed it."""

    way: Prefill
    reply: Completion


async def find_prefill(ask: Ask) -> PrefillFound:
    """Try the ways to have a turn gone on with; False if none works.

    Raises:
        TransientError: a second try may help.
        PermanentError: the server answers none of them.
    """
    refused: ModelError | None = None
    reply: Completion | None = None
    for way in WAYS_TO_PREFILL:
        try:
            reply, _ = await ask(HALF_SAID, Sampling(temperature=0, max_tokens=12), way, {})
        except (PermanentError, RejectedRequest) as error:
            refused = error
            continue
        if reply.text.strip().lower().startswith(NEXT_WORD):
            return PrefillFound(way, reply)
    if reply is None:
        raise refused or RuntimeError("no way was tried")
    return PrefillFound(False, reply)


async def find_seed(ask: Ask) -> bool:
    """Whether a seed decides the reply: the same twice, and others with other seeds.

    Raises:
        TransientError, PermanentError, RejectedRequest: as `LanguageModel.complete`.
    """
    seeds = (7, 7, 8, 9)
    replies = [(await ask(HELLO, replace(TALK, seed=seed), False, {}))[0] for seed in seeds]
    texts = [reply.text for reply in replies]
    return texts[0] == texts[1] and len(set(texts)) > 1


async def find_several(ask: Ask) -> bool:
    """Whether a request for two replies gives two.

    Raises:
        TransientError: a second try may help.
    """
    try:
        _, replies = await ask(HELLO, TALK, False, {"n": 2})
    except (PermanentError, RejectedRequest):
        return False
    return replies == 2


def missing_logprobs(endpoint: Endpoint, answer: Mapping[str, Any], *, gives: bool) -> ModelError:
    """The error of an answer that lists no token, although it was asked to.

    Args:
        endpoint: the model that was asked.
        answer: what came.
        gives: whether it is known to list some.
    """
    where = f"{endpoint.url} gives no log-probabilities for {endpoint.model}"
    if answer["choices"][0].get("logprobs"):
        return RejectedRequest(f"{where} here: its reply ended before its first token")
    if gives:
        return PermanentError(
            f"{where}, which it should; set `label_samples: {LABEL_SAMPLES}` (or more) to "
            "estimate labels from sampled replies"
        )
    return NoLogprobs(
        f"{where}: labels are estimated from {LABEL_SAMPLES} sampled replies each; set "
        "`label_samples` for another number"
    )


async def find_owner(connection: Connection, model: str) -> str | None:
    """Who owns a model, as the server's list of models says; None if it does not say."""
    try:
        listed = read_object(connection.content("/models", await connection.get("/models")))
        owners = {str(one["id"]): str(one["owned_by"]) for one in listed["data"]}
    except (ModelError, *MISSHAPEN):
        return None
    return owners.get(model)
