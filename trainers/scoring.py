"""Score conversations with a preference model: the one way, in RL and in evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cai.errors import Fault, InputError
from cai.models.weights import NO_CODE
from cai.models.weights_errors import reading_weights
from trainers.adapters import is_adapter, load_merged
from trainers.environment import prepare_environment
from trainers.rows import BadRow
from trainers.tokens import Conversation, conversation_ids, load_tokenizer, without_first

BATCH_SIZE = 64

UNREADABLE = (
    "some templates refuse a blank reply: mend chat_template.jinja beside the preference model, or "
    "lower rl.learning_rate if the policy says nothing any more"
)
"""What is said where a chat template refuses whatever a policy draws."""


def score(
    model: Path | str, conversations: Sequence[Conversation], batch_size: int = BATCH_SIZE
) -> list[float]:
    """Scores of conversations that end with the reply to be judged; higher is better.

    Args:
        model: a folder as `train_preference_model` writes it.
        conversations: turns with ``role`` and ``content``.
        batch_size: how many are read at once; it changes no score but for rounding.

    Raises:
        InputError: the folder holds no preference model, or a conversation is too long for it.
    """
    return Scorer(model).score(conversations, batch_size)


class Scorer:
    """Owns a preference model in memory.

    Args:
        model: a folder as `train_preference_model` writes it, or a name on the hub.
    """

    def __init__(self, model: Path | str) -> None:
        """Load it, onto an accelerator if there is one.

        Raises:
            InputError: there is none, or it has not exactly one output.
        """
        prepare_environment()
        import torch
        from accelerate import PartialState
        from transformers import AutoConfig, AutoModelForSequenceClassification

        self._name = str(model)
        self._tokenizer = load_tokenizer(self._name)
        if is_adapter(model):
            loaded: Any = load_merged(Path(model)).to(torch.float32)
        else:
            self._refuse_no_score(AutoConfig.from_pretrained(self._name, **NO_CODE))
            with reading_weights(self._name):
                loaded = AutoModelForSequenceClassification.from_pretrained(
                    self._name, dtype=torch.float32, use_safetensors=True, **NO_CODE
                )
        self._refuse_no_score(loaded.config)
        self._device = PartialState().device
        self._positions: int = getattr(loaded.config, "max_position_embeddings", 0) or 1 << 62
        loaded.config.pad_token_id = self._tokenizer.pad_token_id
        self._model = loaded.to(self._device).eval()

    def _refuse_no_score(self, config: Any) -> None:
        if config.num_labels != 1:
            fault = Fault(f"has {config.num_labels} outputs; a preference model has one, the score")
            raise InputError(self._name, [fault])

    def score(
        self, conversations: Sequence[Conversation], batch_size: int = BATCH_SIZE
    ) -> list[float]:
        """As the function `score`, with the model loaded once.

        Raises:
            InputError: a conversation is longer than the model reads.
            BadRow: the chat template refuses a conversation.
        """
        ids = [self.ids(conversation) for conversation in conversations]
        longest = max(map(len, ids), default=0)
        if longest > self._positions:
            where = next(number for number, one in enumerate(ids) if len(one) == longest)
            message = f"reads {self._positions} tokens, and this has {longest}; leave it out"
            raise InputError(self._name, [Fault(message, field=f"conversation {where}")])
        return self.score_ids(ids, batch_size)

    def score_ids(self, ids: Sequence[Sequence[int]], batch_size: int = BATCH_SIZE) -> list[float]:
        """Scores of conversations by their tokens.

        Args:
            ids: as of `ids`; none is longer than `positions`.
            batch_size: how many are read at once.
        """
        scores = [0.0] * len(ids)
        by_length = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        for start in range(0, len(ids), batch_size):
            places = by_length[start : start + batch_size]
            for place, value in zip(places, self._batch([ids[p] for p in places]), strict=True):
                scores[place] = value
        return scores

    def ids(self, conversation: Conversation) -> list[int]:
        """Tokens of a conversation.

        Raises:
            BadRow: the chat template refuses the conversation.
        """
        return conversation_ids(self._tokenizer, conversation)

    def ends(self, ids: Sequence[int]) -> list[int]:
        """As many of the last tokens of a conversation as the model reads, behind its opening."""
        return without_first(self._tokenizer, ids, max(0, len(ids) - self._positions))

    def length(self, conversation: Conversation) -> int:
        """How many tokens a conversation has.

        Raises:
            BadRow: the chat template refuses the conversation.
        """
        return len(self.ids(conversation))

    def has_room(self, prompt: Conversation, tokens: int) -> bool:
        """Whether the model can read a reply of so many of its tokens behind a prompt.

        A policy's reply has as many tokens as it has drawn; read again, by its own tokenizer too,
        it may have more.

        Raises:
            BadRow: the chat template refuses the prompt.
        """
        # What closes the reply counts too; some templates refuse a blank one.
        shortest = self.length([*prompt, {"role": "assistant", "content": "."}])
        return shortest - 1 + tokens <= self._positions

    @property
    def positions(self) -> int:
        """Tokens of the longest conversation that the model reads."""
        return self._positions

    def _batch(self, ids: Sequence[Sequence[int]]) -> list[float]:
        import torch

        longest = max(map(len, ids))
        pad = self._tokenizer.pad_token_id
        ids_B_T = torch.tensor([[*one, *[pad] * (longest - len(one))] for one in ids])
        mask_B_T = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        with torch.inference_mode():
            outputs = self._model(
                input_ids=ids_B_T.to(self._device), attention_mask=mask_B_T.to(self._device)
            )
        return outputs.logits[:, 0].float().tolist()


class DrawnScorer:
    """A preference model that scores what a policy has drawn, which may be anything.

    It reads the end of a conversation that is too long for it, and says nothing of one that its
    chat template refuses, as some templates do a blank reply.

    Args:
        scorer: the model.
    """

    def __init__(self, scorer: Scorer) -> None:
        """Have scored nothing yet."""
        self.scorer = scorer
        self._shortened = 0
        self._refused = Counter[str]()

    def score(self, conversations: Sequence[Conversation]) -> list[float | None]:
        """Scores of conversations that end with the reply to be judged; None for a refused one."""
        ids = [self._readable(conversation) for conversation in conversations]
        scores = iter(self.scorer.score_ids([one for one in ids if one is not None]))
        return [None if one is None else next(scores) for one in ids]

    def _readable(self, conversation: Conversation) -> list[int] | None:
        try:
            ids = self.scorer.ids(conversation)
        except BadRow as error:
            self._refused[str(error)] += 1
            return None
        self._shortened += len(ids) > self.scorer.positions
        return self.scorer.ends(ids)

    @property
    def shortened(self) -> int:
        """Conversations so far of which only the end was read."""
        return self._shortened

    @property
    def refused(self) -> Counter[str]:
        """Conversations so far that have no score, by what the chat template says of them."""
        return self._refused
