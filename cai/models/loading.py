"""Weights in memory: model, tokenizer and adapter, by transformers, PEFT and bitsandbytes.

Only safetensors are read, and no code of a model's own is run.
"""

# torch, transformers and peft declare many of their results only partly.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cai.errors import MissingDependency, PermanentError
from cai.models.chat_format import ChatFormat
from cai.models.decoding import Decoder
from cai.models.weights import NO_CODE, LoadOptions, resolved_adapter, resolved_folder
from cai.models.weights_errors import reading_weights

SAFE: dict[str, Any] = {**NO_CODE, "local_files_only": True}

LOGIT_BYTES = 48
"""Memory that drawing a token takes per row and word of the vocabulary: a dozen float32."""


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Args:
        decoder: samples and scores.
        format: its tokenizer.
        positions: the longest text it reads, in tokens; None if it has no limit.
        vocabulary: number of tokens that it has an embedding for.
        position_bytes: memory that one position of one row takes in the key-value cache.
        row_bytes: memory that a row takes beside its positions.
        device: where it is, as torch names it.
    """

    decoder: Decoder
    format: ChatFormat
    positions: int | None
    vocabulary: int
    position_bytes: int
    row_bytes: int
    device: Any


def load(name: str, options: LoadOptions, device: str | None) -> Loaded:
    """Read a model and its tokenizer.

    Args:
        name: "microworld", a folder or "hf:ORG/NAME".
        options: how it is read.
        device: as torch names it; None: the best there is.

    Raises:
        MissingDependency: torch, transformers, peft or bitsandbytes is not installed.
        PermanentError: there are no such files, or they cannot be loaded.
    """
    folder = resolved_folder(name)
    adapter = resolved_adapter(options.adapter) if options.adapter else None
    chat_format = load_format(name, options)
    model = _model(folder, name, options, device_named(device))
    if adapter is not None:
        model = _adapted(model, adapter, merge=options.quantization is None)
    _check_memory(model, name)
    config = model.config.get_text_config()
    ends = _ends(model.generation_config.eos_token_id, chat_format.end)
    decoder = Decoder(model, ends, padding=min(ends, default=0), stopped=chat_format.stopped)
    return Loaded(
        decoder,
        chat_format,
        positions=getattr(config, "max_position_embeddings", None),
        vocabulary=model.get_input_embeddings().weight.shape[0],
        position_bytes=_position_bytes(config, model.dtype.itemsize),
        row_bytes=config.vocab_size * LOGIT_BYTES,
        device=model.device,
    )


def load_format(name: str, options: LoadOptions) -> ChatFormat:
    """Read the tokenizer alone: the adapter's, if one lies beside it, else the model's.

    Raises:
        MissingDependency: transformers is not installed.
        PermanentError: there are no such files, or they cannot be loaded.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", "train") from error
    folder = tokenizer_folder(name, options)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **SAFE)
    except (OSError, ValueError, ImportError) as error:
        raise PermanentError(f"{name} cannot be loaded from {folder}: {error}") from error
    return ChatFormat(tokenizer, name, options.format)


def tokenizer_folder(name: str, options: LoadOptions) -> Path:
    """Where the tokenizer lies: beside the adapter, if it has one, else beside the model.

    Raises:
        PermanentError: there is no such model or adapter.
    """
    if options.adapter:
        beside = resolved_adapter(options.adapter)
        if (beside / "tokenizer_config.json").is_file():
            return beside
    return resolved_folder(name)


def _model(folder: Path, name: str, options: LoadOptions, device: Any) -> Any:
    from transformers import AutoModelForCausalLM

    rounded = quantization_arguments(options, device)
    try:
        with no_progress_bars(), reading_weights(name):
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=options.dtype or "auto", use_safetensors=True, **rounded, **SAFE
            )
        # What is rounded was put on its device at load, and cannot be moved.
        return (model if rounded else model.to(device)).eval()
    except (OSError, ValueError, ImportError) as error:
        raise PermanentError(f"{name} cannot be loaded from {folder}: {error}") from error
    except (RuntimeError, AssertionError) as error:  # torch asserts that CUDA was compiled in
        raise PermanentError(f"{name} cannot be put on device {device}: {error}") from error


@contextmanager
def no_progress_bars() -> Generator[None, None, None]:
    """Let transformers draw none inside the block: they would go through a run's own progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def quantization_arguments(options: LoadOptions, device: Any) -> dict[str, Any]:
    """Arguments of `from_pretrained` that round the weights; none if they are not to be.

    Raises:
        MissingDependency: bitsandbytes is not installed.
        PermanentError: it does not work on this device.
    """
    if options.quantization is None:
        return {}
    if device.type == "mps":
        raise PermanentError("bitsandbytes rounds no weights on mps; leave out quantization")
    try:
        import bitsandbytes  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401
        import torch
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise MissingDependency(error.name or "bitsandbytes", "quantization") from error
    if options.quantization == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, options.dtype or "bfloat16"),
        )
    return {"quantization_config": config, "device_map": {"": device}}


def _adapted(model: Any, folder: Path, *, merge: bool) -> Any:
    """The model with a LoRA adapter; merged into its weights, so that it costs nothing more.

    Rounded weights cannot take it up without losing it in their rounding: there it stays beside.
    """
    try:
        from peft import LoraConfig, PeftModel, set_peft_model_state_dict
    except ImportError as error:
        raise MissingDependency(error.name or "peft", "train") from error
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        kind = json.loads((folder / "adapter_config.json").read_text()).get("peft_type")
        if kind != "LORA":
            raise PermanentError(f"adapter {folder} is of the kind {kind}; only LORA can be used")
        with warnings.catch_warnings():  # PEFT asks transformers by a name that it has replaced
            warnings.filterwarnings("ignore", ".*gradient_checkpointing.*", FutureWarning)
            adapted = PeftModel(model, LoraConfig.from_pretrained(str(folder)))
        tensors = load_file(folder / "adapter_model.safetensors")
        found: Any = set_peft_model_state_dict(adapted, tensors)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise PermanentError(f"adapter {folder} does not fit this model: {error}") from error
    absent = [key for key in found.missing_keys if "lora_" in key or "modules_to_save" in key]
    if strange := [*found.unexpected_keys, *absent]:
        raise PermanentError(
            f"adapter {folder} does not fit this model: {len(strange)} of its tensors have no "
            f"counterpart, such as {strange[0]}"
        )
    whole: Any = adapted.merge_and_unload() if merge else adapted.get_base_model()
    return whole.eval()


def _check_memory(model: Any, name: str) -> None:
    takes = inspect.signature(model.forward).parameters
    if not ("past_key_values" in takes or "cache_params" in takes):
        raise PermanentError(
            f"{name}: {type(model).__name__} takes neither past_key_values nor cache_params, so "
            "what it has read cannot be kept between tokens; serve it, and name its endpoint"
        )


def device_named(name: str | None) -> Any:
    """A device as torch has it; None: the best there is.

    Raises:
        MissingDependency: torch is not installed.
        PermanentError: torch knows no such device.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(error.name or "torch", "train") from error

    best = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else best))
    except RuntimeError as error:
        raise PermanentError(
            f"device {name!r} is none of torch's; write cpu, cuda or mps"
        ) from error


def _ends(*sources: int | list[int] | None) -> frozenset[int]:
    """End tokens as generation config (one or several) and tokenizer name them."""
    lists = [[source] if isinstance(source, int) else source or [] for source in sources]
    return frozenset(token for tokens in lists for token in tokens)


def _position_bytes(config: Any, item_bytes: int) -> int:
    """Bytes of keys and values; 0 for a model without attention, whose state does not grow."""
    queries: int | None = getattr(config, "num_attention_heads", None)
    if queries is None:
        return 0
    heads: int = getattr(config, "num_key_value_heads", None) or queries
    width: int = getattr(config, "head_dim", None) or config.hidden_size // queries
    layers: int = config.num_hidden_layers
    return 2 * layers * heads * width * item_bytes
