"""Damaged weights, a disk that is full while weights are written, and code that models bring."""

from __future__ import annotations

import ast
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from cai.errors import CaiError, InputError, PermanentError, RunError
from cai.microworld import MODEL
from cai.models.activations import Reader, read_activations
from cai.models.loading import load
from cai.models.weights import NO_CODE, LoadOptions
from cai.models.weights_errors import writing_weights
from cai.records import Message
from trainers.adapters import load_merged
from trainers.fit import Account, fit
from trainers.rows import EncodedRows
from trainers.settings import SftSettings
from trainers.work_folder import WorkFolder

ROOT = Path(__file__).parents[1]
SAFE_ARGUMENTS = {"NO_CODE", "SAFE"}

WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "safetensors": lambda tensors, place: save_file(tensors, place / "model.safetensors"),
    "torch": lambda tensors, place: torch.save(tensors, place / "optimizer.pt"),
}


@pytest.fixture
def cut_model(tmp_path: Path) -> Path:
    """The microworld's model, of whose weights half was copied."""
    folder = Path(shutil.copytree(MODEL, tmp_path / "cut"))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    return folder


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file can grow past so many bytes inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_model_cut_in_half_is_named_when_it_is_loaded(cut_model: Path):
    with pytest.raises(PermanentError, match=f"{cut_model}: the weights cannot be read"):
        load(str(cut_model), LoadOptions(), "cpu")


def test_a_model_cut_in_half_is_named_when_its_activations_are_read(cut_model: Path):
    with pytest.raises(PermanentError, match=f"{cut_model}: the weights cannot be read"):
        read_activations(Reader(str(cut_model)), [[Message("user", "Why?")]])


def test_an_adapter_whose_base_is_cut_in_half_is_not_merged(cut_model: Path, tmp_path: Path):
    config = f'{{"peft_type": "LORA", "base_model_name_or_path": "{cut_model}"}}'
    (tmp_path / "adapter_config.json").write_text(config)

    with pytest.raises(InputError, match="no adapter that can be merged"):
        load_merged(tmp_path)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_told_in_words_while_weights_are_written(
    tmp_path: Path, write: Callable[[Any, Path], None]
):
    with (
        pytest.raises(RunError, match=r"cannot be written, .*; make room on the disk"),
        writing_weights(tmp_path),
        room_for(5000),
    ):
        write({"weight": torch.zeros(100_000)}, tmp_path)


def test_a_bug_of_torch_keeps_its_trace(tmp_path: Path):
    with pytest.raises(RuntimeError, match="shape"), writing_weights(tmp_path):
        torch.zeros(2).reshape(3)


class FullDisk:
    """A training whose model has no room."""

    steps = 1

    def train(self, checkpoint: object, report: object) -> list[Any]:
        return []

    def save(self, folder: Path) -> None:
        folder.mkdir()
        with room_for(5000):
            save_file({"weight": torch.zeros(100_000)}, folder / "model.safetensors")


@pytest.mark.parametrize("cut", [False, True], ids=["full disk", "model cut in half"])
def test_a_training_that_cannot_write_or_read_a_model_says_so(
    cut: bool, cut_model: Path, tmp_path: Path
):
    rows = EncodedRows(Dataset.from_list([]), {}, 0)
    base = str(cut_model if cut else MODEL)

    def make() -> FullDisk:
        AutoModelForCausalLM.from_pretrained(base, **NO_CODE)
        return FullDisk()

    said = f"{base}: the weights cannot be read" if cut else "out.training: a model or a checkpoint"
    with pytest.raises(CaiError, match=said):
        fit(
            make,
            WorkFolder(tmp_path / "out", "a"),
            Account("sft", {"base": base}, SftSettings(), rows),
            None,
        )


def loads(root: Path) -> Iterator[tuple[str, ast.Call]]:
    """Calls by which transformers loads what may bring code of its own, with their places."""
    for file in sorted(
        path for part in ("cai", "trainers") for path in (root / part).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained"):
                name = ast.unparse(node.func).split(".")[-2]
                if name.startswith("Auto"):
                    yield f"{file.relative_to(root)}:{node.lineno}", node


def test_no_load_lets_a_model_bring_code_of_its_own():
    found = dict(loads(ROOT))

    asks = [
        place
        for place, call in found.items()
        if not SAFE_ARGUMENTS & {ast.unparse(one.value) for one in call.keywords if not one.arg}
    ]
    assert len(found) > 10
    assert asks == []
