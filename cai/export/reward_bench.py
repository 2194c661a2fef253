"""A run's preference model and pairs for RewardBench's runner (``pip install rewardbench``).

The runner (0.1.4) pins transformers 4.51, which cannot read what transformers 5 writes, and reads
parts of it wrongly without a word: the base of rotary positions has moved into a block that it does
not know, so that it would take its own default. The folder ``pm`` says the same as the run's model
in the older words; weights, vocabulary and chat template are as they were.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import orjson

from cai.errors import CaiError, Fault, InputError
from cai.export.formats import Format, NoPlace, Row, whole_pair
from cai.export.hard_pairs import HardPair
from cai.export.source import Source, Written
from cai.export.trainer_rows import write_for_trainer
from cai.models.weights import NO_CODE
from cai.untyped import untyped
from trainers.adapters import is_adapter, merge_adapter
from trainers.work_folder import RECORD

MODEL = "pm"
"""The model's folder in the export."""

CONFIG, TOKENIZER, VOCABULARY = "config.json", "tokenizer_config.json", "tokenizer.json"

COPIED = ("*.safetensors", "*.index.json", VOCABULARY, "chat_template.jinja", "README.md")
"""Files that are the same for both."""


def write_reward_bench(source: Source, out: Path) -> Sequence[Written]:
    """Write the folder ``pm``, and the run's pairs as the runner wants its own pairs.

    Args:
        source: the run.
        out: the new folder.

    Raises:
        CaiError: the run has no preference model, one that cannot be said in the older words, or
            another kind of file than JSON lines is asked for.
    """
    if source.file_type != "jsonl":
        raise CaiError("--format rewardbench has one kind of file, JSON; leave --file-type out")
    model = source.run.last_with("pm").model("pm")
    if not (model / RECORD).is_file():
        raise CaiError(f"{model} is no preference model; make it with `cai run RECIPE --until pm`")
    write_for_runner(model, out / MODEL)
    return write_for_trainer(Format(None, {"preferences": runner_pair}), source, out)


def runner_pair(pair: HardPair) -> Row:
    """Two whole conversations. The runner takes their turns for the user's and ours by turns.

    Raises:
        NoPlace: there is a system turn.
    """
    if pair.prompt[0]["role"] == "system":
        raise NoPlace("a system turn, which the runner takes for the user's")
    return whole_pair(pair)


def write_for_runner(model: Path, out: Path) -> None:
    """Write a preference model as transformers 4.51 reads it; an adapter is merged.

    Args:
        model: a folder as `cai train pm` writes it.
        out: the new folder.

    Raises:
        InputError: the model or its tokenizer cannot be said in the older words.
    """
    whole = model
    if is_adapter(model):
        whole = out.with_name(f"{out.name}.merged")
        merge_adapter(model, whole)
    out.mkdir(parents=True)
    for pattern in COPIED:
        for file in whole.glob(pattern):
            shutil.copy2(file, out / file.name)
    config = older_config(orjson.loads((whole / CONFIG).read_bytes()), model)
    (out / CONFIG).write_bytes(orjson.dumps(config, option=orjson.OPT_INDENT_2))
    tokenizer = orjson.dumps(_older_tokenizer(whole), option=orjson.OPT_INDENT_2)
    (out / TOKENIZER).write_bytes(tokenizer)
    if whole != model:
        shutil.rmtree(whole)


def older_config(config: Mapping[str, Any], model: Path) -> dict[str, Any]:
    """A model's settings in the words of transformers 4.51.

    Args:
        config: in those of transformers 5.
        model: for messages.

    Raises:
        InputError: the layers have rotary positions of several kinds, for which it has no words.
    """
    older = {name: value for name, value in config.items() if name != "rope_parameters"}
    if "dtype" in older:
        older["torch_dtype"] = older.pop("dtype")
    rope = cast("dict[str, Any]", config.get("rope_parameters") or {})
    if any(isinstance(value, dict) for value in rope.values()):
        fault = Fault("has rotary positions of several kinds, which transformers 4.51 cannot read")
        raise InputError(model, [fault])
    scaling = dict(rope)
    for name in ("rope_theta", "partial_rotary_factor"):
        if name in scaling:
            older[name] = scaling.pop(name)
    if scaling.get("rope_type", "default") != "default":
        older["rope_scaling"] = scaling
    return older


def _older_tokenizer(model: Path) -> dict[str, Any]:
    """The settings of a tokenizer, whose vocabulary and rules are all in its `VOCABULARY`.

    Raises:
        InputError: it has none.
    """
    if not (model / VOCABULARY).is_file():
        raise InputError(model, [Fault(f"has no {VOCABULARY}; save its tokenizer as a fast one")])
    tokenizer = untyped("transformers").AutoTokenizer.from_pretrained(str(model), **NO_CODE)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "additional_special_tokens": [str(token) for token in tokenizer.extra_special_tokens],
        "model_input_names": list(tokenizer.model_input_names),
        "model_max_length": tokenizer.model_max_length,
        "clean_up_tokenization_spaces": False,
        "chat_template": tokenizer.chat_template,
    }
