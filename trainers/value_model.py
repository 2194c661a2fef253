"""The value model of PPO and REINFORCE: what it expects to be paid, before each token."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from cai.errors import RunError
from cai.models.weights import NO_CODE


def load_value_model(policy: str, options: Mapping[str, Any]) -> Any:
    """The policy's own body with a scalar head of zeros: it expects 0 until it has learned.

    Args:
        policy: the folder of a whole model, or a name on the hub.
        options: of a LoRA, as `lora_options` gives them; empty if all of the body is to learn. The
            head learns as a whole.

    Raises:
        RunError: transformers has no token classifier of the policy's kind.
    """
    import torch
    from transformers import AutoModelForTokenClassification

    quantization = {name: value for name, value in options.items() if name != "peft_config"}
    try:
        value, info = AutoModelForTokenClassification.from_pretrained(
            policy,
            num_labels=1,
            dtype=torch.float32,
            use_safetensors=True,
            **NO_CODE,
            output_loading_info=True,
            **quantization,
        )
    except ValueError as error:
        raise RunError(
            f"{policy} is of a kind that transformers has no token classifier of, which the value "
            "is learned with; take rl.algorithm rloo or grpo"
        ) from error
    for name in info["missing_keys"]:
        value.get_parameter(name).data.zero_()
    if options:
        heads = sorted({name.rpartition(".")[0] for name in info["missing_keys"]})
        value = _with_adapter(value, options["peft_config"], heads)
    return value.eval()


def _with_adapter(value: Any, config: Any, heads: list[str]) -> Any:
    from peft import get_peft_model

    own = copy(config)
    own.task_type, own.exclude_modules, own.modules_to_save = None, heads, heads
    return get_peft_model(value, own)
