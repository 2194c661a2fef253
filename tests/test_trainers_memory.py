"""Less memory for more work: activations computed twice, and the ways of attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.utils import is_flash_attn_2_available

from cai.errors import RunError
from tests.trainers_support import SHORT, log, write
from trainers.dpo import train_dpo
from trainers.preference_model import train_preference_model
from trainers.settings import DpoSettings, PreferenceModelSettings, RlSettings

TRAININGS = [
    (train_preference_model, PreferenceModelSettings),
    (train_dpo, DpoSettings),
]


@contextmanager
def passes_of(kind: type) -> Iterator[list[Any]]:
    """The modules of a kind that are gone through meanwhile."""
    seen: list[Any] = []
    hook = register_module_forward_pre_hook(
        lambda module, _: seen.append(module) if isinstance(module, kind) else None
    )
    yield seen
    hook.remove()


@pytest.mark.parametrize(("train", "kind"), TRAININGS, ids=["PM", "DPO"])
def test_activations_computed_twice_give_the_same_steps(
    tiny_model: Path, pairs: Path, tmp_path: Path, train: Any, kind: Any
):
    counts: list[int] = []
    for name, twice in (("once", False), ("twice", True)):
        settings = kind(**SHORT, gradient_checkpointing=twice)
        with passes_of(LlamaMLP) as passes:
            train(str(tiny_model), pairs, tmp_path / name, settings, inputs="a")
        counts.append(len(passes))

    once, twice = (log(tmp_path / name) for name in ("once", "twice"))
    assert counts[1] > counts[0]
    for figure in ("loss", "grad_norm"):
        expected = pytest.approx([entry[figure] for entry in once], rel=1e-5)
        assert [entry[figure] for entry in twice] == expected


@pytest.mark.parametrize(("train", "kind"), TRAININGS, ids=["PM", "DPO"])
def test_a_step_in_parts_logs_what_it_does_in_one(
    tiny_model: Path, tmp_path: Path, train: Any, kind: Any
):
    # Four parts of four pairs, which have more and less of them decided.
    rows = [
        {"prompt": f"Question {n}", "chosen": f"{n * 37 % 100}.", "rejected": f"{n * 53 % 100}!"}
        for n in range(16)
    ]
    labels = [0.5 if n % 16 in (0, 1, 2, 5, 6, 9) else 0.9 for n in range(16)]
    data = write(
        tmp_path / "data", [{**a, "p_chosen": p} for a, p in zip(rows, labels, strict=True)]
    )
    for parts in (1, 4):
        settings = kind(batch_size=16, max_steps=2, warmup=0, gradient_accumulation=parts)
        train(str(tiny_model), data, tmp_path / str(parts), settings, inputs="a")

    one, four = (log(tmp_path / name) for name in "14")
    for figure in ("accuracy", "label_distance"):
        expected = pytest.approx([entry[figure] for entry in one], abs=1e-5)
        assert [entry[figure] for entry in four] == expected


def test_attention_is_computed_as_asked(tiny_model: Path, pairs: Path, tmp_path: Path):
    settings = DpoSettings(**SHORT, attention="eager")

    with passes_of(PreTrainedModel) as models:
        train_dpo(str(tiny_model), pairs, tmp_path / "out", settings, inputs="a")

    assert {model.config._attn_implementation for model in models} == {"eager"}


@pytest.mark.skipif(is_flash_attn_2_available(), reason="flash-attn is here")
def test_flash_attention_that_is_not_there_is_told(tiny_model: Path, pairs: Path, tmp_path: Path):
    settings = DpoSettings(**SHORT, attention="flash_attention_2")

    with pytest.raises(RunError, match=r"flash-attn.* leave attention out"):
        train_dpo(str(tiny_model), pairs, tmp_path / "out", settings, inputs="a")


@pytest.mark.parametrize(
    ("name", "value"), [("gradient_checkpointing", True), ("attention", "eager")]
)
def test_ppo_refuses_what_it_does_not_read(name: str, value: Any):
    with pytest.raises(ValidationError, match=f"ppo does not read {name}"):
        RlSettings(algorithm="ppo", **{name: value})
