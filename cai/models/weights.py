"""Weights on disk: where a name points to, and what identifies them."""

# huggingface_hub declares some of its results only partly.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from cai.errors import MissingDependency, PermanentError
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

NO_CODE: Mapping[str, Any] = {"trust_remote_code": False}
"""Every load by transformers is given this: left out, it may ask at the terminal."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class LoadOptions:
    """What changes the answers of weights beside their files.

    Args:
        dtype: torch's name of the number format; None: as the weights are stored.
        quantization: bits that the weights are rounded to at load; None: not rounded.
        adapter: a LoRA adapter on top: a folder, or "hf:ORG/NAME".
        format: how messages become text; None: by the chat template if there is one.
    """

    dtype: str | None = None
    quantization: Literal["8bit", "4bit"] | None = None
    adapter: str | None = None
    format: Literal["chat", "completion"] | None = None


def local_path(name: str) -> str:
    """What transformers calls a model: a folder, or ``ORG/NAME`` on the hub.

    Args:
        name: as in a recipe: "microworld", "hf:ORG/NAME" or a folder.
    """
    return str(MICROWORLD) if name == "microworld" else name.removeprefix("hf:")


def folder_or_hub(name: str) -> str:
    """A name as servers take it, in our terms: a folder if there is one, else one of the hub."""
    if name == "microworld" or name.startswith("hf:") or Path(name).expanduser().is_dir():
        return name
    return name if name.startswith((".", "/", "~")) else f"hf:{name}"


def resolved_folder(name: str) -> Path:
    """The folder with a model's files, fetched from the hub if need be.

    Raises:
        PermanentError: there is no such folder, or the hub does not give it.
    """
    if name.startswith("hf:"):
        return _fetched(name.removeprefix("hf:"))
    folder = Path(local_path(name)).expanduser()
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise PermanentError(
                f"{folder} holds an adapter alone: name the model that it was trained on, and set "
                f"adapter: {folder}"
            )
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


def resolved_adapter(name: str) -> Path:
    """The folder with an adapter's files, fetched from the hub if need be.

    Args:
        name: a folder, or "hf:ORG/NAME".

    Raises:
        PermanentError: there is no such adapter, or it is not in safetensors.
    """
    hub = name.startswith("hf:")
    folder = _fetched(name.removeprefix("hf:")) if hub else Path(name).expanduser()
    missing = [file for file in ADAPTER_FILES if not (folder / file).is_file()]
    if missing:
        raise PermanentError(
            f"adapter {name}: {folder} lacks {' and '.join(missing)}; name a folder that PEFT's "
            "`save_pretrained` wrote"
        )
    return folder


def answers_identity(name: str, options: LoadOptions) -> str:
    """What determines the answers of weights: digests of their files, never a path, and options.

    Args:
        name: as of `resolved_folder`.
        options: how they are loaded.

    Raises:
        PermanentError: there is no such model or adapter.
    """
    parts = [folder_digest(resolved_folder(name))]
    if options.adapter:
        parts.append(f"adapter={folder_digest(resolved_adapter(options.adapter))}")
    parts += filter(None, (options.dtype, options.quantization))
    if options.format == "completion":
        parts.append(options.format)
    return ":".join(parts)


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
