"""The preference model on a tiny model: it meets soft labels, and scores what it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cai.errors import InputError
from trainers.preference_model import train_preference_model
from trainers.scoring import score
from trainers.settings import PreferenceModelSettings

KIND, HARSH = "I cannot help with that.", "Go away!"
SHORT = {"batch_size": 8, "max_steps": 3}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), folder / "data.parquet")
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "prompt": [user(f"Question {n}")],
            "chosen": [assistant(KIND)],
            "rejected": [assistant(HARSH)],
            "p_chosen": 0.8,
        }
        for n in range(64)
    ]
    return write(tmp_path_factory.mktemp("pairs") / "train", rows)


@pytest.fixture(scope="module")
def preference_model(
    tiny_model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("pm") / "pm"
    settings = PreferenceModelSettings(epochs=12, batch_size=16, learning_rate=3e-3)
    train_preference_model(str(tiny_model), pairs, out, settings, inputs="shared")
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_weights(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_the_preference_model_meets_the_soft_label(preference_model: Path):
    replies = [[user("Question 99"), assistant(text)] for text in (KIND, HARSH)]

    kind, harsh = score(preference_model, replies)

    assert 1 / (1 + math.exp(harsh - kind)) == pytest.approx(0.8, abs=0.03)


def test_the_preference_model_is_an_ordinary_classifier(preference_model: Path):
    model = AutoModelForSequenceClassification.from_pretrained(preference_model)
    tokenizer = AutoTokenizer.from_pretrained(preference_model)
    ids = tokenizer.apply_chat_template([user("Hi"), assistant(KIND)], return_tensors="pt")

    logits = model(**ids).logits

    found = score(preference_model, [[user("Hi"), assistant(KIND)]])
    assert logits.shape == (1, 1)
    assert found == pytest.approx([logits.item()], abs=1e-5)


def test_padding_changes_no_score(preference_model: Path):
    replies = [[user("Hi"), assistant("word " * n)] for n in (30, 1, 12)]

    together = score(preference_model, replies, batch_size=3)

    alone = [score(preference_model, [reply])[0] for reply in replies]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_conversation_too_long_for_the_preference_model_is_named(preference_model: Path):
    replies = [[user("Hi"), assistant(KIND)], [user("Hi"), assistant("word " * 600)]]

    with pytest.raises(InputError, match="conversation 1: reads 512 tokens"):
        score(preference_model, replies)


def test_a_policy_is_no_preference_model(tiny_model: Path):
    with pytest.raises(InputError, match="2 outputs"):
        score(tiny_model, [[user("Hi"), assistant(KIND)]])


@pytest.mark.parametrize(
    "change", [{"learning_rate": 2e-3}, {"seed": 1}, {"epochs": 0.25}, {"batch_size": 16}], ids=str
)
def test_settings_of_the_preference_model_change_its_weights(
    tiny_model: Path, pairs: Path, tmp_path: Path, change: dict[str, Any]
):
    base, settings = str(tiny_model), {"batch_size": 8, "epochs": 0.5}
    one = PreferenceModelSettings(**settings)
    train_preference_model(base, pairs, tmp_path / "one", one, inputs="a")

    two = PreferenceModelSettings(**{**settings, **change})
    train_preference_model(base, pairs, tmp_path / "two", two, inputs="a")

    assert not same_weights(tmp_path / "one", tmp_path / "two")


def test_pairs_over_the_length_are_left_out_and_counted(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()
    rows += [{**rows[0], "chosen": [assistant("a long reply " * 30)]}] * 2
    data = write(tmp_path / "data", rows)
    settings = PreferenceModelSettings(**SHORT, max_length=60)

    result = train_preference_model(str(tiny_model), data, tmp_path / "out", settings, inputs="a")

    assert (result.rows, result.dropped) == (64, {"a side is longer than max_length": 2})
