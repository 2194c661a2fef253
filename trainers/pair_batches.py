"""Both replies of a pair in one row, behind one copy of their prompt.

    row:        prompt | chosen | rejected
    positions:  0 … n−1 | n … | n …

Neither reply sees the other, so each token has the state that it has in its own conversation, and
the prompt is read once instead of twice. Rows of pairs need no more padding than rows of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Pair = Mapping[str, Any]
"""Token ids ``chosen_ids`` and ``rejected_ids``, and numbers that go with them."""


def shared_length(pair: Pair) -> int:
    """Tokens that both conversations begin with; each keeps one token of its own at least."""
    both = zip(pair["chosen_ids"][:-1], pair["rejected_ids"][:-1], strict=False)
    return sum(1 for _ in takewhile(lambda tokens: tokens[0] == tokens[1], both))


def row_length(pair: Pair) -> int:
    """Tokens of the pair's row."""
    return len(pair["chosen_ids"]) + len(pair["rejected_ids"]) - shared_length(pair)


def pair_rows(pairs: Sequence[Pair], padding: int) -> dict[str, Tensor]:
    """A batch of rows.

    Gives ``input_ids`` and ``position_ids``, (B, T); ``attention_mask``, (B, 1, T, T), true where a
    token (third axis) sees another (fourth); ``ends``, (B, 2), where the chosen and the rejected
    conversation end.

    Args:
        pairs: at least one.
        padding: the padding token; it sees itself alone.
    """
    import torch

    longest = max(row_length(pair) for pair in pairs)
    shape = (len(pairs), longest)
    ids_B_T = torch.full(shape, padding)
    positions_B_T = torch.zeros(shape, dtype=torch.long)
    # Whose token it is: 0 of the prompt, 1 and 2 of the replies, 3 nobody's.
    side_B_T = torch.full(shape, 3)
    ends: list[tuple[int, int]] = []
    for row, pair in enumerate(pairs):
        chosen, rejected, shared = pair["chosen_ids"], pair["rejected_ids"], shared_length(pair)
        middle, end = len(chosen), row_length(pair)
        ids_B_T[row, :end] = torch.tensor([*chosen, *rejected[shared:]])
        positions_B_T[row, :middle] = torch.arange(middle)
        positions_B_T[row, middle:end] = torch.arange(shared, len(rejected))
        side_B_T[row, :shared], side_B_T[row, shared:middle], side_B_T[row, middle:end] = 0, 1, 2
        ends.append((middle - 1, end - 1))
    earlier_T_T = torch.ones(longest, longest, dtype=torch.bool).tril()
    asked_B_T_1, seen_B_1_T = side_B_T.unsqueeze(2), side_B_T.unsqueeze(1)
    mask_B_T_T = earlier_T_T & ((seen_B_1_T == asked_B_T_1) | (seen_B_1_T == 0))
    mask_B_T_T |= torch.eye(longest, dtype=torch.bool)
    return {
        "input_ids": ids_B_T,
        "position_ids": positions_B_T,
        "attention_mask": mask_B_T_T.unsqueeze(1),
        "ends": torch.tensor(ends),
    }


def can_read_pairs(classifier: Any) -> bool:
    """Whether a sequence classifier gives a pair in one row the scores that it gives both texts.

    It must be a decoder of the common kind, with attention to all that came before in every layer;
    with a window, a state or fixed distances between places, a row of two texts is another text.

    Args:
        classifier: of transformers, without an adapter around it.
    """
    from transformers.modeling_layers import GenericForSequenceClassification

    config = classifier.config.get_text_config()
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    return (
        isinstance(classifier, GenericForSequenceClassification)
        and config._attn_implementation == "sdpa"
        and set(layers) == {"full_attention"}
        and getattr(config, "sliding_window", None) is None
    )


def let_read_pairs(classifier: Any) -> None:
    """Give a classifier a forward pass that takes a batch of `pair_rows`.

    Its ``logits`` are (2B, 1): the scores of all chosen, then of all rejected conversations, as of
    a batch of texts. Without ``ends`` it is the classifier's own.

    Args:
        classifier: as of `can_read_pairs`; it is changed.
    """
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    own: Callable[..., Any] = classifier.forward

    def forward(*arguments: Any, ends: Tensor | None = None, **inputs: Any) -> Any:
        if ends is None:
            return own(*arguments, **inputs)
        for name in ("labels", "return_dict", "output_attentions", "output_hidden_states"):
            inputs.pop(name, None)
        body = getattr(classifier, classifier.base_model_prefix)
        hidden_B_T_D = body(*arguments, **inputs).last_hidden_state
        rows = torch.arange(len(ends), device=ends.device)
        last_2B_D = torch.cat([hidden_B_T_D[rows, ends[:, side]] for side in (0, 1)])
        return SequenceClassifierOutput(logits=classifier.score(last_2B_D))

    classifier.forward = forward
