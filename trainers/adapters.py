"""LoRA: what TRL's trainers are told of it, and what becomes of it when a training is done.

An adapter stays a folder of its own (``adapter_model.safetensors`` beside its tokenizer), or is
merged into the weights that it was trained on: always the base's own, never ones rounded to 4 bits.
Merge one afterwards with ``python -m trainers.adapters ADAPTER MERGED``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer

from cai.errors import Fault, InputError, MissingDependency, RunError
from cai.models.weights import NO_CODE
from cai.models.weights_errors import reading_weights, writing_weights
from cai.outputs import check_folder
from cai.terminal import say
from cai.whole import replace_folder
from trainers.card import write_model_card
from trainers.environment import prepare_environment
from trainers.work_folder import read_record, write_record

if TYPE_CHECKING:
    from trainers.settings import LoraSettings

CONFIG = "adapter_config.json"
"""Tells a folder with an adapter from one with a whole model."""

Task = Literal["CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS"]
"""PEFT's names: of a policy, of a preference model, and of a value model, whose heads are new."""

HEADS = ("score", "classifier")
"""Names of the head in transformers' models that classify."""


def lora_options(lora: LoraSettings | None, base: str, task: Task) -> dict[str, Any]:
    """What a trainer of TRL is given to train a LoRA; nothing if all weights are to learn.

    Args:
        lora: the recipe's block.
        base: the model to start from, as the recipe names it.
        task: what the model is to do.

    Raises:
        RunError: the base is an adapter, and this one is to stay one.
        MissingDependency: bitsandbytes, which rounds the base to 4 bits, is not installed.
    """
    if lora is None:
        return {}
    if not lora.merge and is_adapter(base):
        raise RunError(
            f"lora.merge: false: {base} is an adapter itself, and an adapter on another cannot be "
            "served; set lora.merge: true, or merge the first with `python -m trainers.adapters`"
        )
    from peft import LoraConfig

    layers = lora.modules if isinstance(lora.modules, str) else list(lora.modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType] - PEFT divides by the rank
        lora_dropout=lora.dropout,
        target_modules=layers,
        task_type=task,
    )
    return {"peft_config": config, **_quantization(lora, task)}


def is_adapter(model: Path | str) -> bool:
    """Whether a folder holds an adapter and not a whole model."""
    return (Path(model) / CONFIG).is_file() and not (Path(model) / "config.json").is_file()


def adapter_base(folder: Path) -> str | None:
    """What an adapter was trained on: a folder, or a name on the hub; None for a whole model."""
    if not is_adapter(folder):
        return None
    return str(orjson.loads((folder / CONFIG).read_bytes())["base_model_name_or_path"])


def whole_model(model: str, place: Path) -> str:
    """The model itself, or an adapter merged into its base: what a trainer can start from.

    Args:
        model: a folder, or a name on the hub.
        place: where a merged one is put; nothing is written for a whole model.

    Raises:
        InputError: the adapter cannot be merged.
    """
    if not is_adapter(model):
        return model
    from accelerate import PartialState

    with PartialState().main_process_first():
        if not place.is_dir():
            merge_adapter(Path(model), place)
    return str(place)


def merge_adapter(adapter: Path, out: Path) -> None:
    """Write a whole model: the base with what the adapter has learned, and the adapter's tokenizer.

    Args:
        adapter: a folder that a trainer or PEFT has written.
        out: the new folder; it appears when it is whole.

    Raises:
        InputError: the folder holds no adapter, or it does not fit its base.
        RunError: `out` is there already.
        CaiError: it cannot be written.
    """
    if not (adapter / CONFIG).is_file():
        fault = Fault(f"holds no adapter (no {CONFIG}); name a folder that a trainer has written")
        raise InputError(adapter, [fault])
    if out.exists():
        raise RunError(f"{out} is there already; name a folder that is not")
    check_folder(out)
    prepare_environment()
    merged = load_merged(adapter)
    out.parent.mkdir(parents=True, exist_ok=True)
    # A folder of nobody else's; the one within has the rights that new folders have.
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
        new = Path(place) / out.name
        with writing_weights(out):
            merged.save_pretrained(new)
        for file in adapter.iterdir():
            if file.is_file() and not file.name.startswith("adapter_"):
                shutil.copy2(file, new / file.name)
        if (record := read_record(adapter)) is not None:
            write_record(new, record, out)
            write_model_card(new, out.name, record)
        new.rename(out)


def load_merged(adapter: Path) -> Any:
    """The base of an adapter with the adapter merged into it, in memory, in the base's own dtype.

    Raises:
        InputError: the folder holds no adapter, or it does not fit its base.
    """
    from peft import PeftConfig, PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    try:
        config = PeftConfig.from_pretrained(str(adapter))
        base = str(config.base_model_name_or_path)
        if config.task_type == "SEQ_CLS":
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                base, num_labels=1, dtype="auto", use_safetensors=True, **NO_CODE
            )
            tokenizer: Any = AutoTokenizer.from_pretrained(adapter, **NO_CODE)
            model.config.pad_token_id = tokenizer.pad_token_id
        else:
            model = AutoModelForCausalLM.from_pretrained(
                base, dtype="auto", use_safetensors=True, **NO_CODE
            )
        return PeftModel.from_pretrained(model, adapter).merge_and_unload()  # pyright: ignore[reportCallIssue]
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(adapter, [Fault(f"is no adapter that can be merged: {error}")]) from error


def load_policy(name: str | Path) -> Any:
    """A causal language model in memory, in float32; of an adapter, with its base.

    Args:
        name: a folder, or a name on the hub.

    Raises:
        PermanentError: its weights cannot be read.
        InputError: as `load_merged`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if is_adapter(name):
        return load_merged(Path(name)).to(torch.float32)
    with reading_weights(str(name)):
        return AutoModelForCausalLM.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, **NO_CODE
        )


def settle(model: Path, lora: LoraSettings) -> None:
    """Leave a saved adapter as it is to be: merged, or alone.

    Args:
        model: the folder that the trainer has saved; it is replaced.
        lora: the recipe's block.
    """
    (model / "README.md").unlink(missing_ok=True)  # PEFT's form, which nobody has filled in
    # One that is no adapter any more was merged by a process that was killed after it.
    if not lora.merge or not is_adapter(str(model)):
        return
    merged = model.with_name("merged")
    shutil.rmtree(merged, ignore_errors=True)
    merge_adapter(model, merged)
    replace_folder(merged, model)


def _quantization(lora: LoraSettings, task: Task) -> dict[str, Any]:
    if lora.quantization is None:
        return {}
    try:
        import bitsandbytes  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401
        import torch
        from transformers import BitsAndBytesConfig
    except ImportError as error:
        raise MissingDependency(error.name or "bitsandbytes", "quantization") from error
    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if bf16 else torch.float32,
            # A new head is learned whole: PEFT copies it, which weights of 4 bits do not survive.
            llm_int8_skip_modules=None if task == "CAUSAL_LM" else list(HEADS),
        )
    }


def main(
    adapter: Annotated[Path, typer.Argument(help="Folder with the adapter.")],
    out: Annotated[Path, typer.Argument(help="Where the whole model goes.")],
) -> None:
    """Merge a LoRA into the model that it was trained on.

    Example: python -m trainers.adapters runs/microworld/models/sl_cai merged
    """
    merge_adapter(adapter, out)
    say(f"{out}: {adapter} merged into its base")


if __name__ == "__main__":
    from trainers.command import run_alone

    run_alone(main)
