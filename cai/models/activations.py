"""What a model makes of a text inside: one vector a conversation, from a layer of its choice."""

# torch and transformers declare many of their results only partly.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cai.errors import MissingDependency, PermanentError
from cai.models.chat_format import ChatFormat
from cai.models.loading import SAFE, device_named, no_progress_bars
from cai.models.weights import resolved_folder
from cai.models.weights_errors import reading_weights
from cai.records import Message

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pooling = Literal["mean", "last"]
"""The mean of a text's positions, or its last one."""

BATCH = 32
"""Texts of one forward pass; they are sorted by length."""

WRITES = ("ForCausalLM", "LMHeadModel")
"""How the architectures of models that go on with a text are named."""


@dataclass(frozen=True)
class Reader:
    """Where vectors come from.

    Args:
        model: "microworld", a folder or "hf:ORG/NAME"; a language model, preference model or
            sentence encoder.
        layer: 0 is the embedding, then one a block; None: the middle one, as HH-RLHF (§5.4).
        pooling: of the positions of a text; the paper does not say. A decoder's last position has
            read all of the text.
        device: as torch names it; None: the best there is.
    """

    model: str
    layer: int | None = None
    pooling: Pooling = "mean"
    device: str | None = None


def read_activations(
    reader: Reader, conversations: Sequence[Sequence[Message]]
) -> NDArray[np.float64]:
    """One vector a conversation, (n, width of the model), in the order given.

    A model with a chat template, or one that writes, reads the conversation as it would to answer
    it; a sentence encoder reads the texts of its turns. What is too long loses its beginning.

    Raises:
        MissingDependency: torch or transformers is not installed.
        PermanentError: there is no such model, layer or device, or it cannot be loaded.
    """
    import numpy as np

    loaded = _Loaded(reader)
    ids = [loaded.ids(messages) for messages in conversations]
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    rows: dict[int, Any] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        rows |= zip(batch, loaded.vectors([ids[at] for at in batch]), strict=True)
    return np.array([rows[at] for at in range(len(ids))], dtype=np.float64)


class _Loaded:
    """A model in memory, read from safetensors alone."""

    def __init__(self, reader: Reader) -> None:
        try:
            from transformers import AutoConfig, AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingDependency(error.name or "transformers", "train") from error
        folder = resolved_folder(reader.model)
        device = device_named(reader.device)
        try:
            config: Any = AutoConfig.from_pretrained(folder, **SAFE)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **SAFE)
            with no_progress_bars(), reading_weights(reader.model):
                model: Any = AutoModel.from_pretrained(folder, use_safetensors=True, **SAFE)
        except (OSError, ValueError, ImportError) as error:
            raise PermanentError(f"{reader.model} cannot be loaded: {error}") from error
        self._model = model.to(device).eval()
        self._layer = _layer(reader, config.get_text_config().num_hidden_layers)
        self._pooling = reader.pooling
        writes = any(name.endswith(WRITES) for name in config.architectures or ())
        chats = writes or bool(self._tokenizer.chat_template)
        longest = getattr(config.get_text_config(), "max_position_embeddings", None)
        self._longest: int = min(longest or 1 << 30, self._tokenizer.model_max_length)
        self._format = ChatFormat(self._tokenizer, reader.model) if chats else None

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, at most as many as the model reads."""
        if self._format is not None:
            return self._format.conversation(messages)[-self._longest :]
        text = "\n\n".join(message.content for message in messages)
        self._tokenizer.truncation_side = "left"
        ids: list[int] = self._tokenizer(text, truncation=True, max_length=self._longest).input_ids
        return ids

    def vectors(self, rows: Sequence[Sequence[int]]) -> Iterator[Any]:
        """One vector a row."""
        import torch

        width = max(map(len, rows))
        ids_BT = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = self._model.device
        with torch.inference_mode():
            states_BTD = self._model(
                input_ids=ids_BT.to(device),
                attention_mask=mask_BT.to(device),
                output_hidden_states=True,
            ).hidden_states[self._layer]
        states_BTD = states_BTD.double().cpu()
        if self._pooling == "last":
            last_B = mask_BT.sum(1) - 1
            yield from states_BTD[torch.arange(len(rows)), last_B].numpy()
        else:
            weight_BT1 = mask_BT.unsqueeze(-1)
            yield from ((states_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)).numpy()


def _layer(reader: Reader, blocks: int) -> int:
    layer = blocks // 2 if reader.layer is None else reader.layer
    if not 0 <= layer <= blocks:
        raise PermanentError(
            f"{reader.model} has the layers 0 (embedding) to {blocks}; met {layer}: name another"
        )
    return layer
