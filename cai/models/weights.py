"""Weights on disk: where a name points to, what identifies them, and how they are loaded."""

# torch and transformers declare many of their results only partly.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cai.errors import MissingDependency, PermanentError
from cai.models.chat_format import ChatFormat
from cai.models.decoding import Decoder
from cai.resources import PACKAGE

MICROWORLD = PACKAGE / "microworld" / "model"

FILES = (
    "*.safetensors",
    "*.jinja",
    "*.model",
    "added_tokens.json",
    "adapter_config.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""What determines the answers of a model: weights, configs, tokenizer and chat template."""

CPU_CACHE_BYTES = 1 << 30
"""Memory that the key-value cache of one batch may take where no accelerator tells its own."""

CUDA_CACHE_SHARE = 0.4
"""Share of the accelerator's free memory for the cache; activations and logits need the rest."""


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Args:
        decoder: samples and scores.
        format: its tokenizer.
        positions: the longest text it reads, in tokens; None if it has no limit.
        cache_bytes: memory that one position of one row takes in the key-value cache.
        free_bytes: memory that the cache may fill.
    """

    decoder: Decoder
    format: ChatFormat
    positions: int | None
    cache_bytes: int
    free_bytes: int


def local_path(name: str) -> str:
    """What transformers calls a model: a folder, or ``ORG/NAME`` on the hub.

    Args:
        name: as in a recipe: "microworld", "hf:ORG/NAME" or a folder.
    """
    return str(MICROWORLD) if name == "microworld" else name.removeprefix("hf:")


def resolved_folder(name: str) -> Path:
    """The folder with a model's files, fetched from the hub if need be.

    Raises:
        PermanentError: there is no such folder, or the hub does not give it.
    """
    if name.startswith("hf:"):
        return _fetched(name.removeprefix("hf:"))
    folder = Path(local_path(name)).expanduser()
    if not (folder / "config.json").is_file():
        raise PermanentError(
            f"{folder} holds no model: it has no config.json; name a folder that "
            "`save_pretrained` wrote, or write hf:ORG/NAME for a model of the hub"
        )
    return folder


def folder_digest(folder: Path) -> str:
    """Digest of weights, adapter, tokenizer and chat template, 32 hexadecimal digits.

    Neither the folder's path nor its files' dates take part: a moved folder keeps its digest.

    Raises:
        PermanentError: the folder has no safetensors file.
    """
    files = sorted({file for kind in FILES for file in folder.glob(kind)})
    if not any(file.suffix == ".safetensors" for file in files):
        raise PermanentError(
            f"{folder} has no *.safetensors file; other formats can hold code and are not loaded"
        )
    whole = hashlib.sha256()
    for file in files:
        stat = file.stat()
        content = _file_digest(file, stat.st_mtime_ns, stat.st_size)
        whole.update(f"{file.name}={content}\n".encode())
    return whole.hexdigest()[:32]


def load(folder: Path, name: str, options: Mapping[str, Any]) -> Loaded:
    """Read a model and its tokenizer.

    Args:
        folder: as of `resolved_folder`.
        name: the model's name, for messages.
        options: `dtype` ("auto" or a torch name) and `device` (None: the best there is).

    Raises:
        MissingDependency: torch or transformers is not installed.
        PermanentError: the folder's files cannot be loaded.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        device = _device(options.get("device"))
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", "train") from error
    safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **safe)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=options.get("dtype") or "auto", use_safetensors=True, **safe
        )
    except (OSError, ValueError, ImportError) as error:
        raise PermanentError(f"{name} cannot be loaded from {folder}: {error}") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    model = _placed(model, device, name)
    chat_format = ChatFormat(tokenizer, name)
    config = model.config.get_text_config()
    ends = _ends(model.generation_config.eos_token_id, tokenizer.eos_token_id)
    decoder = Decoder(model, ends, padding=min(ends, default=0), stopped=chat_format.stopped)
    return Loaded(
        decoder,
        chat_format,
        positions=getattr(config, "max_position_embeddings", None),
        cache_bytes=_cache_bytes(config, model.dtype.itemsize),
        free_bytes=_free_bytes(device),
    )


def _fetched(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError
    except ImportError as error:
        raise MissingDependency("huggingface_hub", "train") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES)))
    except (OSError, HFValidationError) as error:
        raise PermanentError(f"hf:{repository} cannot be fetched: {error}") from error


@lru_cache(maxsize=1024)
def _file_digest(file: Path, changed: int, size: int) -> str:
    """Hash a file once for as long as its date (`changed`) and `size` stay the same."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _device(name: str | None) -> Any:
    import torch

    best = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.device(name or ("cuda" if torch.cuda.is_available() else best))
    except RuntimeError as error:
        raise PermanentError(
            f"device {name!r} is none of torch's; write cpu, cuda or mps"
        ) from error


def _placed(model: Any, device: Any, name: str) -> Any:
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch asserts that CUDA was compiled in
        raise PermanentError(f"{name} cannot be put on device {device}: {error}") from error


def _ends(*sources: int | list[int] | None) -> frozenset[int]:
    """End tokens as generation config (one or several) and tokenizer name them."""
    lists = [[source] if isinstance(source, int) else source or [] for source in sources]
    return frozenset(token for tokens in lists for token in tokens)


def _cache_bytes(config: Any, item_bytes: int) -> int:
    heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width: int = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    layers: int = config.num_hidden_layers
    return 2 * layers * heads * width * item_bytes


def _free_bytes(device: Any) -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * CUDA_CACHE_SHARE)
    return CPU_CACHE_BYTES
