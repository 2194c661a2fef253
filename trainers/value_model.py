"""The value model of PPO and REINFORCE: what it expects to be paid, before each token."""

from __future__ import annotations

from typing import Any

from cai.errors import RunError


def load_value_model(policy: str) -> Any:
    """The policy's own body with a scalar head of zeros: it expects 0 until it has learned.

    Args:
        policy: a folder, or a name on the hub.

    Raises:
        RunError: transformers has no token classifier of the policy's kind.
    """
    import torch
    from transformers import AutoModelForTokenClassification

    try:
        value, info = AutoModelForTokenClassification.from_pretrained(
            policy,
            num_labels=1,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
    except ValueError as error:
        raise RunError(
            f"{policy} is of a kind that transformers has no token classifier of, which the value "
            "is learned with; take rl.algorithm rloo or grpo"
        ) from error
    for name in info["missing_keys"]:
        value.get_parameter(name).data.zero_()
    return value
