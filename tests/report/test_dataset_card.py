"""The card beside a data set counts what it holds and what was left out of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from ruamel.yaml import YAML

from cai.report.card import write_cards

METRICS = {
    "run": {
        "name": "demo",
        "seed": 3,
        "recipe_hash": "ab12",
        "constitution": {"id": "kind", "hash": "cd34", "title": "Be | kind"},
    },
    "rows": {"revision": {"ok": 7, "truncated": 2}, "evaluation_sl_cai": {"ok": 900}},
    "left_out": {"red.jsonl: is a repeated prompt": 4},
    "filtered": {"revision": {"the text is <b>unchanged</b>": 1}},
}


@pytest.fixture
def card(tmp_path: Path) -> str:
    for split, rows in {"train": 5, "test": 2, "empty": 0}.items():
        folder = tmp_path / "datasets" / "sft" / split
        folder.mkdir(parents=True)
        table = pyarrow.table({"messages": ["text"] * rows})
        pyarrow.parquet.write_table(table, folder / "data.parquet")

    write_cards(tmp_path, METRICS)

    assert not (tmp_path / "datasets" / "preferences").exists()
    return (tmp_path / "datasets" / "sft" / "README.md").read_text(encoding="utf-8")


def test_the_card_counts_the_rows_of_each_split(card: str):
    assert "| train | 5 |" in card
    assert "| test | 2 |" in card


def test_the_card_counts_what_was_left_out_and_filtered_by_reason(card: str):
    assert "| red.jsonl: is a repeated prompt | 4 |" in card
    assert "| revision: truncated | 2 |" in card
    assert "evaluation" not in card


def test_the_card_names_the_constitution_and_the_recipe(card: str):
    assert "`kind`" in card and "cd34" in card
    assert "recipe ab12, seed 3" in card


def test_text_from_files_and_models_is_no_markup(card: str):
    assert "\\<b\\>unchanged" in card
    assert "Be \\| kind" in card


def test_the_head_tells_the_hub_where_the_splits_are(card: str):
    head = YAML(typ="safe").load(card.split("---")[1])

    files = head["configs"][0]["data_files"]
    assert {one["split"]: one["path"] for one in files} == {
        "train": "train/*.parquet",
        "test": "test/*.parquet",
    }


def test_datasets_loads_the_folder_with_its_card(card: str, tmp_path: Path):
    from datasets import load_dataset

    found = load_dataset(str(tmp_path / "datasets" / "sft"), cache_dir=str(tmp_path / "cache"))

    assert {split: len(rows) for split, rows in found.items()} == {"train": 5, "test": 2}


def test_a_constitution_without_a_title_is_named_by_its_id(tmp_path: Path):
    (tmp_path / "datasets" / "sft").mkdir(parents=True)
    named = {**METRICS["run"], "constitution": {"id": "kind", "hash": "cd34", "title": None}}

    write_cards(tmp_path, {**METRICS, "run": named})

    card = (tmp_path / "datasets" / "sft" / "README.md").read_text(encoding="utf-8")
    assert "the constitution `kind` (cd34)" in card
