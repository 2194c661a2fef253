"""The card beside a data set counts what it holds and what was left out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub import DatasetCard, DatasetCardData
from ruamel.yaml import YAML

from cai.card import read_head
from cai.datasets.best_of import best_of_features
from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.datasets.sft import sft_features
from cai.report.card import data_part, write_cards, write_data_card
from cai.report.card_rows import row_lines
from cai.report.data_figures import DataFigures

METRICS: dict[str, Any] = {
    "run": {
        "name": "demo",
        "seed": 3,
        "recipe_hash": "ab12",
        "constitution": {"id": "kind", "hash": "cd34", "title": "Be | kind"},
    },
    "rows": {
        "revision": {"ok": 7, "truncated": 2},
        **{
            stage: {"ok": 900}
            for stage in (
                *("evaluation_sl_cai", "contest_harmlessness", "gate_helpfulness"),
                *("gate_harmfulness", "verdict", "harmfulness_greedy", "harmfulness_sampled"),
            )
        },
    },
    "left_out": {"red.jsonl: is a repeated prompt": 4},
    "filtered": {"revision": {"the text is <b>unchanged</b>": 1}},
}


@pytest.fixture
def card(tmp_path: Path) -> str:
    for split, rows in {"train": 5, "test": 2, "empty": 0}.items():
        folder = tmp_path / "datasets" / "sft" / split
        folder.mkdir(parents=True)
        turns = [{"role": "assistant", "content": "a kind word"}]
        table = pyarrow.table({"messages": [turns] * rows, "source": ["red.jsonl"] * rows})
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
    assert "900" not in card


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


LABELS = {
    "n": 40,
    "accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40},
    "flip_rate": {"value": 0.25, "low": 0.1, "high": 0.4, "n": 40},
    "brier": 0.2,
    "brier_interval": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 40},
    "ece": 0.05,
    "bins": [{"low": 0.5, "high": 0.6, "mean_p": 0.55, "truth": 0.5, "n": 40}],
}
PUBLISHED = {
    **METRICS["run"],
    "language": "en",
    "publication": {
        "license": "cc-by-4.0",
        "sources": {"red.jsonl": "mit"},
        "citation": "@misc{mine,\n  title={<b>Mine</b>}\n}",
    },
}


def write_pairs(folder: Path, p_chosen: list[float], sources: Sequence[str] = ("ai",)) -> None:
    turns = [{"role": "assistant", "content": "yes"}]
    row = {
        "prompt": [{"role": "user", "content": "hi"}],
        "chosen": turns,
        "rejected": turns,
        "prompt_source": "red.jsonl",
        "principle": "be-kind",
        "model": "judge",
    }
    writer = SplitWriter(folder / "datasets" / "preferences", preference_features())
    writer.write(
        ("train", {**row, "source": source, "p_chosen": one})
        for source in sources
        for one in p_chosen
    )


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (["ai", "canned_refusal"], ["machine-generated"]),
        (["ai", "human"], ["machine-generated", "found"]),
        (["ai", "forum"], ["machine-generated", "found"]),
        (["human"], ["found"]),
    ],
    ids=["the run's", "people's too", "mixed in", "people's alone"],
)
def test_the_head_tells_whose_the_labels_are(tmp_path: Path, sources: list[str], told: list[str]):
    write_pairs(tmp_path, [0.75], sources)
    write_cards(tmp_path, METRICS)

    head = read_head(tmp_path / "datasets" / "preferences")
    assert head["annotations_creators"] == told


def card_of_pairs(tmp_path: Path, p_chosen: list[float], **metrics: Any) -> str:
    write_pairs(tmp_path, p_chosen)
    write_cards(tmp_path, {**METRICS, **metrics})
    return (tmp_path / "datasets" / "preferences" / "README.md").read_text(encoding="utf-8")


def test_the_hubs_own_reader_finds_nothing_to_complain_about(tmp_path: Path):
    card = card_of_pairs(tmp_path, [0.75], run=PUBLISHED)

    read = DatasetCard(card)
    assert (read.data.license, read.data.language) == ("cc-by-4.0", ["en"])
    assert read.data.size_categories == ["n<1K"]
    head = read_head(tmp_path / "datasets" / "preferences")
    assert DatasetCardData(**head).to_dict() == head
    features = {one["name"] for one in head["dataset_info"]["features"]}
    assert {"prompt", "chosen", "rejected", "p_chosen"} <= features


def test_datasets_reads_the_columns_that_the_card_tells(tmp_path: Path):
    from datasets import load_dataset_builder

    card_of_pairs(tmp_path, [0.75, 0.5], run=PUBLISHED)

    told = load_dataset_builder(str(tmp_path / "datasets/preferences"), cache_dir=str(tmp_path))
    assert told.info.features == preference_features()
    assert {name: one.num_examples for name, one in told.info.splits.items()} == {"train": 2}


def test_margins_of_the_labels_are_a_histogram_with_ties_apart(tmp_path: Path):
    card = card_of_pairs(tmp_path, [0.5, 0.5, 0.52, 0.75, 1.0])

    assert "| 0, a tie | 2 |" in card
    assert "| to 0.1 | 1 |" in card
    assert "| to 0.5 | 1 |" in card
    assert "| to 1.0 | 1 |" in card


@pytest.mark.parametrize("tenth", range(1, 11))
def test_a_margin_at_an_edge_is_counted_under_it_whatever_its_last_digit(tenth: int):
    figures = DataFigures()

    figures.add({"p_chosen": (1 + tenth / 10) / 2})

    assert figures.margins.index(1) == tenth - 1


@pytest.mark.parametrize(
    "features", [sft_features, preference_features, best_of_features], ids=lambda one: one.__name__
)
def test_every_column_of_a_runs_data_is_explained(features: Any):
    told = [line for line in row_lines({"data": dict.fromkeys(features())}) if "- `" in line]

    assert len(told) == len(features())
    assert all("`: " in line for line in told)


def test_the_card_shows_a_row_of_train_folded_with_its_long_texts_cut(tmp_path: Path):
    writer = SplitWriter(tmp_path / "datasets" / "sft", sft_features())
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x" * 1000}]
    rows = [{"messages": turns, "model": f"openai:{name}@http://10.0.0.7/v1"} for name in "ab"]
    writer.write([("test", rows[0]), ("train", rows[1])])

    write_cards(tmp_path, METRICS)

    card = (tmp_path / "datasets" / "sft" / "README.md").read_text(encoding="utf-8")
    example = card.partition("## Example")[2].partition("</details>")[0]
    assert "<details>" in example and f"{'x' * 300}… [700 more characters]" in example
    assert '    "model": "openai:b@http://localhost:8000/v1"' in example
    assert "10.0.0.7" not in card


def test_the_row_that_is_shown_is_one_that_a_model_has_made(tmp_path: Path):
    writer = SplitWriter(tmp_path / "datasets" / "sft", sft_features())
    turns = [{"role": "assistant", "content": "hi"}]
    rows = [{"messages": turns, "model": model} for model in ("", "local:ab12", "local:cd34")]
    writer.write([("train", row) for row in rows])

    write_cards(tmp_path, METRICS)

    card = (tmp_path / "datasets" / "sft" / "README.md").read_text(encoding="utf-8")
    assert '    "model": "local:ab12"' in card


def test_an_example_cannot_leave_its_block(tmp_path: Path):
    turns = [{"role": "assistant", "content": "a\n\n</details>\n# Title"}]
    SplitWriter(tmp_path / "datasets" / "sft", sft_features()).write(
        [("train", {"messages": turns})]
    )

    write_cards(tmp_path, METRICS)

    card = (tmp_path / "datasets" / "sft" / "README.md").read_text(encoding="utf-8")
    example = card.partition("</summary>\n\n")[2].partition("\n\n</details>")[0]
    assert all(line.startswith("    ") for line in example.splitlines())
    assert "# Title" in example


def test_a_data_set_of_pairs_is_found_under_dpo_and_one_of_conversations_is_not(
    card: str, tmp_path: Path
):
    card_of_pairs(tmp_path, [0.75])

    tags = {
        name: read_head(tmp_path / "datasets" / name)["tags"] for name in ("sft", "preferences")
    }
    assert "dpo" in tags["preferences"] and "dpo" not in tags["sft"]


def test_the_quality_of_the_labels_is_told_with_its_intervals(tmp_path: Path):
    card = card_of_pairs(tmp_path, [0.75], labels=LABELS)

    assert "| Accuracy where the truth is known | 90% | 80.0–95.0 | 40 |" in card
    assert "| Verdicts that flip with the order of the replies | 25% | 10.0–40.0 | 40 |" in card
    assert "| 0.5 to 0.6 | 0.550 | 0.500 | 40 |" in card


def test_labels_that_nothing_has_measured_are_said_to_be_so(tmp_path: Path):
    assert "## Label quality\n\nNot measured." in card_of_pairs(tmp_path, [0.75])


def test_sources_are_listed_with_their_licenses(tmp_path: Path):
    assert "| red.jsonl | 1 | mit |" in card_of_pairs(tmp_path, [0.75], run=PUBLISHED)
    assert "| red.jsonl | 1 | not stated |" in card_of_pairs(tmp_path, [0.75])


def test_principles_are_told_with_the_rows_that_they_were_applied_to(tmp_path: Path):
    principles = {"be-kind": {"comparison": "Which is | kinder?"}, "unused": {"critique": "Why?"}}
    constitution = {**METRICS["run"]["constitution"], "principles": principles}

    card = card_of_pairs(tmp_path, [0.75], run={**METRICS["run"], "constitution": constitution})

    assert "| be-kind | Which is \\| kinder? | 1 |" in card
    assert "| unused | Why? | 0 |" in card


def test_a_citation_is_shown_as_it_was_written(tmp_path: Path):
    card = card_of_pairs(tmp_path, [0.75], run=PUBLISHED)

    assert "\n    @misc{mine,\n      title={<b>Mine</b>}\n    }\n" in card
    assert "bai2022constitutional" in card


def test_best_of_says_how_many_replies_were_drawn_from_which_policy(tmp_path: Path):
    SplitWriter(tmp_path / "datasets" / "best_of", best_of_features()).write([])
    made = {"policy": "sl_cai", "replies": 16, "score": 0.5, "best_score": 1.25}
    ends = {name: {"value": made[name], "low": 0.25, "high": 2, "n": 90} for name in [*made][2:]}
    whole = {**made, "kl_bound": 1.83, "kl": 1.2, "intervals": ends}

    write_cards(tmp_path, {**METRICS, "best_of_data": whole})

    card = (tmp_path / "datasets" / "best_of" / "README.md").read_text(encoding="utf-8")
    assert "16 replies were drawn to each prompt from the policy `sl_cai`" in card
    assert "0.50 (0.25 to 2.00) on average, 1.25 (0.25 to 2.00) for the best ones" in card
    assert "n = 90 prompts" in card


def test_two_data_sets_of_the_same_rows_count_them_once(tmp_path: Path):
    principles = {"be-kind": {"comparison": "Which is kinder?"}}
    constitution = {**METRICS["run"]["constitution"], "principles": principles}
    metrics = {**METRICS, "run": {**METRICS["run"], "constitution": constitution}}
    card_of_pairs(tmp_path, [0.75, 0.5])
    pairs = tmp_path / "datasets" / "preferences"
    parts = [data_part(name, "preferences", pairs, f"{name}/") for name in ("dpo", "reward")]

    write_data_card(tmp_path, "pairs", parts, metrics)

    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| be-kind | Which is kinder? | 2 |" in card
