"""The models of PPO and REINFORCE: the policy, the one it is held close to, and the value model.

With a LoRA the policy and the value model learn an adapter each. The model that the KL is measured
from is then the policy with its adapter off, so that no third copy of the weights is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.errors import RunError
from cai.models.weights import NO_CODE
from trainers.adapters import lora_options, whole_model
from trainers.settings import RlSettings
from trainers.value_model import load_value_model

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Models:
    """What learns, and how.

    Args:
        policy: writes the replies.
        value: expects what is still to come.
        start: the policy before it has learned anything; None if that is `policy` with its adapter
            off.
        optimizer: of policy and value model.
        scheduler: of its learning rates.
        accelerator: has prepared all of them.
    """

    policy: Any
    value: Any
    start: Any | None
    optimizer: Any
    scheduler: Any
    accelerator: Accelerator

    @property
    def bare_policy(self) -> Any:
        """The policy as it was loaded: it can draw replies and be saved."""
        return self.accelerator.unwrap_model(self.policy)

    @contextmanager
    def before(self) -> Iterator[Any]:
        """The model that the KL is measured from."""
        if self.start is not None:
            yield self.start
        else:
            with self.bare_policy.disable_adapter():
                yield self.bare_policy


def load_models(
    policy: str, settings: RlSettings, accelerator: Accelerator, merged: Path
) -> Models:
    """Load and prepare the models and what makes them learn.

    Args:
        policy: a folder, an adapter's too, or a name on the hub.
        settings: the recipe's section ``rl``.
        accelerator: prepares them.
        merged: where an adapter is put together with its base.

    Raises:
        RunError: the policy's kind has no value model, its adapter cannot bear another, or weights
            of 4 bits are to learn on the CPU.
        MissingDependency: bitsandbytes, which rounds the base to 4 bits, is not installed.
    """
    import torch

    if settings.lora and settings.lora.quantization and accelerator.device.type == "cpu":
        # It repacks weights that were read outside of training, and those pass no gradient on.
        raise RunError(
            "on the CPU bitsandbytes has no gradient for weights of 4 bits that replies were drawn "
            f"with, as {settings.algorithm} draws them; take rl.algorithm rloo or grpo, a GPU, or "
            "no rl.lora.quantization"
        )
    # An adapter begins with random numbers.
    torch.manual_seed(settings.seed)
    options = lora_options(settings.lora, policy, "CAUSAL_LM")
    whole = whole_model(policy, merged)
    start = None if options else _load(whole, {}).to(accelerator.device)
    valued = lora_options(settings.lora, policy, "TOKEN_CLS")
    model, value = _load(whole, options), load_value_model(whole, valued)
    optimizer = torch.optim.AdamW(
        [
            {"params": _learning(model), "lr": settings.learning_rate},
            {
                "params": _learning(value),
                "lr": settings.value_learning_rate or settings.learning_rate,
            },
        ],
        weight_decay=0.0,
    )
    scheduler = _scheduler(optimizer, settings)
    prepared: Any = accelerator.prepare(model, value, optimizer)
    accelerator.register_for_checkpointing(scheduler)
    return Models(prepared[0], prepared[1], start, prepared[2], scheduler, accelerator)


def _load(policy: str, options: dict[str, Any]) -> Any:
    """A causal language model, with an adapter if one is asked for; without dropout."""
    import torch
    from transformers import AutoModelForCausalLM

    quantization = {name: value for name, value in options.items() if name != "peft_config"}
    model: Any = AutoModelForCausalLM.from_pretrained(
        policy, dtype=torch.float32, use_safetensors=True, **quantization, **NO_CODE
    )
    if options:
        from peft import get_peft_model

        model = get_peft_model(model, options["peft_config"])
    return model.eval()


def _learning(model: Any) -> list[Any]:
    return [one for one in model.parameters() if one.requires_grad]


def _scheduler(optimizer: Any, settings: RlSettings) -> Any:
    from transformers import get_scheduler

    total = settings.steps * settings.passes
    names = {"constant": "constant_with_warmup"}
    return get_scheduler(
        names.get(settings.scheduler, settings.scheduler),
        optimizer,
        num_warmup_steps=round(settings.warmup * total),
        num_training_steps=total,
    )
