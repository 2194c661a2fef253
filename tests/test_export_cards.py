"""What travels beside exported rows: a card for the hub and `datasets`, and how they were made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCardData
from typer.testing import CliRunner

from cai.card import read_head
from cai.cli import app
from cai.errors import RunError
from cai.export.run_export import export_run
from cai.pipeline import RunFolder, run_recipe
from cai.publishing.gather import gather
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

    card = (out / "README.md").read_text(encoding="utf-8").splitlines()
    assert all("`: " in line for line in card if line.startswith("- `"))
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


def test_rows_whose_constitution_has_changed_since_are_exported_and_not_published(tmp_path: Path):
    run = published_run(tmp_path / "run")
    shutil.rmtree(run / "made_with")  # as of a version that kept no copy; the hash is another's

    told = CliRunner().invoke(app, ["export", str(run), "--format", "trl"])

    assert told.exit_code == 0, told.output
    assert "not beside the rows" in told.output and "changed since it was made" in told.output
    assert (run / "exports/trl/README.md").is_file()
    with pytest.raises(RunError, match="changed since it was made"):
        gather(RunFolder(run), "trl")


def test_a_run_leaves_what_its_data_needs_to_be_published(tmp_path: Path):
    from datasets import load_dataset

    (tmp_path / "red.txt").write_text("\n".join(f"How do I steal {n} bikes?" for n in range(8)))
    (tmp_path / "recipe.yaml").write_text(
        "name: small\nconstitution: microworld\nmodels: {default: microworld}\n"
        "prompts: {red_team: [{file: red.txt, kind: harmful}]}\n"
        "datasets: {sft_share: 1, test_share: 0}\nrevisions: {rounds: 1}\n"
        "evaluation: {label_probes: 0}\n"
        "publication: {license: cc-by-4.0, sources: {red.txt: mit}}\n"
    )
    folder = RunFolder(tmp_path / "run")
    run_recipe(load_recipe(tmp_path / "recipe.yaml"), folder, steps=("revisions",))

    export_run(folder.path, tmp_path / "out", "llm-swarm", minimum_margin=0, file_type="parquet")

    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {"train_sft", "train_prefs"} >= set(found) and found["train_sft"].num_rows > 0
    sent = gather(folder, "data")
    assert (sent.license, sent.notes) == ("cc-by-4.0", ())
    card = next(one.file for one in sent.files if one.path == "README.md")
    rows = folder.read_metrics()["rows"]["revision"]["ok"]
    assert f"| red.txt | {rows} | mit |" in card.read_text(encoding="utf-8")
