"""The preference model on a tiny model: it meets soft labels, and scores what it is given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cai.errors import InputError
from tests.trainers_support import HARSH, KIND, SHORT, assistant, same_weights, user, write
from trainers.preference_model import train_preference_model
from trainers.scoring import score
from trainers.settings import PreferenceModelSettings


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
