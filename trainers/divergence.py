"""How far a policy is from another one, in nats, by its own replies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from trainers.adapters import load_policy
from trainers.environment import prepare_environment
from trainers.rollouts import Rollout, Weigher
from trainers.rows import BadRow
from trainers.tokens import Conversation, load_tokenizer, split_ids

AT_ONCE = 32


class Replies(NamedTuple):
    """What a policy has said.

    Args:
        conversations: each ends with a reply of the policy's.
        ended: whether it ended that reply itself; else the reply was cut off.
    """

    conversations: Sequence[Conversation]
    ended: Sequence[bool]


def reply_divergences(
    policy: Path, reference: Path, replies: Replies, temperature: float
) -> list[float | None]:
    """How much likelier each reply is under π than under π_ref, in nats: log π − log π_ref.

    The mean over replies drawn from π is the KL(π ‖ π_ref) of whole replies (Schulman 2020's k1,
    summed over the tokens); a single one may be negative. Replies are read as their text is
    tokenized, which is as they were drawn but for rare texts. None of a reply that the chat
    template refuses, as some do a blank one.

    Args:
        policy: the folder of a trained policy, π.
        reference: of the model that it is compared with, with the same tokenizer.
        replies: drawn from the policy.
        temperature: that they were drawn at, more than 0; both models are read at it.

    Raises:
        InputError: a model or its tokenizer cannot be loaded.
    """
    prepare_environment()
    import torch
    from accelerate import PartialState

    tokenizer, device = load_tokenizer(str(policy)), PartialState().device
    rollouts: dict[int, Rollout] = {}
    for place, (conversation, ended) in enumerate(zip(*replies, strict=True)):
        with suppress(BadRow):
            rollouts[place] = _rollout(tokenizer, conversation, ended)
    by_length = sorted(rollouts, key=lambda place: len(rollouts[place].reply_ids))
    models = [load_policy(folder).to(device).eval() for folder in (policy, reference)]
    nats: list[float | None] = [None] * len(replies.conversations)
    for start in range(0, len(by_length), AT_ONCE):
        places = by_length[start : start + AT_ONCE]
        part = [rollouts[place] for place in places]
        longest = max(len(one.reply_ids) for one in part)
        weigher = Weigher(tokenizer.pad_token_id, temperature, longest, len(part), device)
        with torch.inference_mode():
            own, other = (weigher.weigh(model, part) for model in models)
        found = ((own.logprobs_B_T - other.logprobs_B_T) * own.mask_B_T).sum(1).tolist()
        for place, value in zip(places, found, strict=True):
            nats[place] = value
    return nats


def _rollout(tokenizer: Any, conversation: Conversation, ended: bool) -> Rollout:
    ids, start = split_ids(tokenizer, conversation)
    reply, end = ids[start:], tokenizer.eos_token_id
    # The template may write more behind the end token, which no policy draws.
    written = reply.index(end) if end in reply else len(reply)
    reply = reply[: written + ended]
    text = conversation[-1]["content"]
    return Rollout(conversation[:-1], ids[:start], reply, text, cut_off=not ended)
