"""What travels beside exported rows: a card for the hub and `datasets`, and how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCardData

from cai.card import read_head
from cai.export.run_export import export_run
from cai.recipe import load_recipe
from tests.published_run import published_run


def export(tmp_path: Path, format: str, file_type: Any) -> Path:
    run = published_run(tmp_path / "run")
    export_run(run, tmp_path / "out", format, minimum_margin=0, file_type=file_type)
    return tmp_path / "out"


@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
@pytest.mark.parametrize("format", ["trl", "axolotl", "open-instruct", "openrlhf"])
def test_datasets_loads_every_data_set_by_the_name_that_the_card_has(
    tmp_path: Path, format: str, file_type: str
):
    from datasets import get_dataset_config_names, load_dataset

    out = export(tmp_path, format, file_type)

    names = get_dataset_config_names(str(out))
    assert {"sft", "preferences"} <= set(names)
    for name in names:
        found = load_dataset(str(out), name, cache_dir=str(tmp_path / "cache"))
        assert found["train"].num_rows == 1


def test_the_hubs_reader_takes_the_head_of_an_export(tmp_path: Path):
    head = read_head(export(tmp_path, "trl", "parquet"))

    assert (head["license"], head["language"]) == ("cc-by-4.0", ["en"])
    assert DatasetCardData(**head).to_dict() == head
    assert {one["config_name"] for one in head["dataset_info"]} == {"sft", "preferences"}


@pytest.mark.parametrize("format", ["trl", "argilla"])
def test_constitution_templates_and_recipe_lie_beside_the_rows(tmp_path: Path, format: str):
    out = export(tmp_path, format, "jsonl")

    assert load_recipe(out / "made_with" / "recipe.yaml").name == "microworld"
    assert (out / "made_with" / "constitution.yaml").is_file()
    assert (out / "made_with" / "templates" / "chat" / "critique.j2").is_file()
