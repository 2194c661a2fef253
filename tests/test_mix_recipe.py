"""The block ``mix`` of a recipe: its faults, what a run makes of it, and where that is told."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cai.card import CARD
from cai.cli import app
from cai.datasets.parquet import folder_hash
from cai.engine import Ledger
from cai.errors import InputError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.status import read_status
from cai.recipe import Recipe, load_recipe, save_recipe
from cai.splits import Shard, split_of

BASE = """\
name: mixed
constitution: microworld
models: {default: microworld}
prompts:
  red_team: [{microworld: train, kind: harmful, limit: 8}]
  helpful: [{microworld: train, kind: harmless, limit: 4}]
revisions: {rounds: 1, sampling: {max_tokens: 32}}
comparisons:
  responder: assistant
  sampling: {max_tokens: 32}
  human: [{microworld: train, kind: harmless, limit: 20}]
datasets: {test_share: 0.2}
evaluation: {label_probes: 0}
"""
MIX = """\
mix:
  sft:
    - {run: revision, weight: 1}
    - {run: helpful, weight: 1}
    - {name: forum, file: chats.jsonl, weight: 2}
  preferences:
    - {name: feedback, file: pairs.jsonl, most: 30}
"""
STEPS = ("revisions", "preferences")


def lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_files(folder: Path) -> None:
    chats = [{"prompt": f"How is day {n}?", "completion": f"Day {n} is fine."} for n in range(80)]
    pairs = [
        {"prompt": f"How is day {n}?", "chosen": f"Day {n} is fine.", "rejected": "No."}
        for n in range(40)
    ]
    lines(folder / "chats.jsonl", [*chats, {"messages": []}, chats[0]])
    lines(folder / "pairs.jsonl", [*pairs, {"prompt": "Why?", "chosen": "So.", "rejected": "So."}])


def recipe_of(folder: Path, text: str = BASE + MIX) -> Recipe:
    (folder / "recipe.yaml").write_text(text)
    return load_recipe(folder / "recipe.yaml")


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return parquet.read_table(folder / split / "data.parquet").to_pylist()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe that mixes, its files, and its run."""
    folder = tmp_path_factory.mktemp("mixed")
    write_files(folder)
    run_recipe(recipe_of(folder), RunFolder(folder / "run"), steps=STEPS)
    return folder


@pytest.fixture
def again(made: Path, tmp_path: Path) -> Path:
    """A copy of all that, to be edited and run again."""
    return shutil.copytree(made, tmp_path / "again")


def test_a_file_put_right_is_no_longer_told_as_it_was(again: Path):
    run, recipe = RunFolder(again / "run"), recipe_of(again)
    before = run.read_metrics()["left_out"]
    right = (again / "pairs.jsonl").read_text().splitlines()[:-1]
    (again / "pairs.jsonl").write_text("\n".join(right))

    run_recipe(recipe, run, steps=("preferences",))

    after = run.read_metrics()["left_out"]
    faults = [reason for reason in before if "feedback" in reason and "most" not in reason]
    assert len(faults) == 1 and faults[0] not in after
    assert {reason for reason in before if reason.startswith("sft")} <= after.keys()


def test_every_row_of_a_mix_names_its_source_and_all_are_counted(made: Path):
    data = made / "run" / "datasets"
    counts = RunFolder(made / "run").read_metrics()["mix"]

    for name, column in (("sft", "origin"), ("preferences", "source")):
        for split in ("train", "test"):
            rows = rows_of(data / name, split)
            met = Counter("forum" if row["source"] == "forum" else row[column] for row in rows)
            told = {source: of[split] for source, of in counts[name].items() if of[split]}
            assert met == told
    assert counts["preferences"]["feedback"]["train"] > 0


def test_what_is_left_out_of_a_file_is_told_with_its_reason(made: Path):
    metrics = RunFolder(made / "run").read_metrics()

    forum = metrics["mix"]["sft"]["forum"]["left_out"]
    feedback = metrics["mix"]["preferences"]["feedback"]["left_out"]
    assert forum["does not end with a turn of the assistant"] == 1
    assert forum["is a repeated row"] == 1
    assert feedback == {"both replies are identical": 1, "more than its most": 10}
    assert metrics["left_out"]["preferences, feedback: more than its most"] == 10


def test_shares_are_held_in_the_data_of_a_run(made: Path):
    counts = RunFolder(made / "run").read_metrics()["mix"]["sft"]

    train = {name: of["train"] for name, of in counts.items()}
    assert train["revision"] == train["helpful"] > 0
    assert train["forum"] == 2 * train["revision"]


def test_which_part_a_mixed_row_is_in_is_said_by_its_hash(made: Path):
    for split in ("train", "test"):
        for row in rows_of(made / "run" / "datasets" / "sft", split):
            assert split_of(row["messages"][:-1], 0.2) == split


def test_status_report_and_cards_tell_the_rows_by_source(made: Path):
    status = read_status(made / "run").to_json()
    printed = CliRunner().invoke(app, ["runs", "status", str(made / "run")]).stdout
    page = (made / "run" / "report.html").read_text(encoding="utf-8")
    card = (made / "run" / "datasets" / "sft" / CARD).read_text(encoding="utf-8")

    forum = status["mix"]["sft"]["forum"]
    assert forum["train"] > 0
    assert (
        f"sft, forum {forum['train']:>5}".split()
        == [word for line in printed.splitlines() if "forum" in line for word in line.split()][:3]
    )
    assert f"| forum | {forum['train'] + forum['test']} | not stated |" in card
    cells = "".join(f'<td class="num">{forum[name]}</td>' for name in ("train", "test"))
    assert f"<td>forum</td>{cells}" in page


def test_an_export_holds_what_was_mixed_in(made: Path, tmp_path: Path):
    from cai.export.run_export import export_run

    exported = export_run(
        made / "run", tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl"
    )

    counts = RunFolder(made / "run").read_metrics()["mix"]["sft"]
    assert exported.sources["sft"]["forum"]["train"] == counts["forum"]["train"]


def test_an_edited_mix_buys_nothing_and_changes_its_own_data_alone(again: Path):
    data, ledger = again / "run" / "datasets", again / "run" / "ledger.sqlite"
    before = {name: folder_hash(data / name / "train") for name in ("sft", "preferences")}
    with Ledger.open(ledger, read_only=True) as opened:
        calls = opened.call_count()

    edited = recipe_of(again, BASE + MIX.replace("most: 30", "most: 20"))
    run_recipe(edited, RunFolder(again / "run"), steps=STEPS)

    after = {name: folder_hash(data / name / "train") for name in before}
    with Ledger.open(ledger, read_only=True) as opened:
        assert opened.call_count() == calls
    assert after["sft"] == before["sft"]
    assert after["preferences"] != before["preferences"]


def test_a_run_without_a_mix_has_the_data_that_it_always_had(again: Path):
    run_recipe(recipe_of(again, BASE), RunFolder(again / "run"), steps=STEPS)

    metrics = RunFolder(again / "run").read_metrics()
    sources = [row["source"] for row in rows_of(again / "run/datasets/preferences", "train")]
    assert set(metrics["mix"]["sft"]) == {"revision", "helpful"}
    assert set(sources) == {"ai", "human"}
    assert not any("mix" in reason for reason in metrics["left_out"])


def test_a_shard_is_not_mixed(made: Path, tmp_path: Path):
    recipe = load_recipe(made / "recipe.yaml")

    bought = made / "run" / "ledger.sqlite"

    run_recipe(recipe, RunFolder(tmp_path), steps=("revisions",), shard=Shard(1, 2), reuse=[bought])

    assert "forum" not in RunFolder(tmp_path).read_metrics()["mix"]["sft"]


def test_near_prompts_of_a_mix_are_held_out_with_the_run_s_own(tmp_path: Path):
    from cai.engine import Progress
    from cai.pipeline.studio import Studio

    write_files(tmp_path)
    recipe = recipe_of(tmp_path, BASE + MIX + "filters: {near_duplicates: {similarity: 0.5}}\n")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger, Progress() as progress:
        filters = Studio(recipe, RunFolder(tmp_path), ledger, progress).filters

        assert set(filters.own_smallest.items()) <= set(filters.smallest.items())
        assert len(filters.smallest) >= len(filters.own_smallest) + 70


@pytest.mark.parametrize(
    ("mix", "places"),
    [
        (
            "mix:\n  repeated: words\n  sft:\n    - {run: revisions}\n    - {weight: -1}\n"
            "    - {file: a.jsonl, dataset: b}\n    - {name: helpful, file: c.jsonl}\n",
            {
                "mix.repeated": 15,
                "mix.sft.0.run": 17,
                "mix.sft.1.weight": 18,
                "mix.sft.2": 19,
                "mix.sft.3.name": 20,
            },
        ),
        (
            "mix:\n  sft: [{file: x/a.jsonl}, {file: y/a.jsonl}]\n"
            "  preferences: [{run: contrast}, {run: ai, limit: 3}]\n",
            {"mix.sft.1": 15, "mix.preferences.1": 16},
        ),
        ("mix:\n  preferences:\n    - {run: contrast}\n", {"mix.preferences.0.run": 16}),
        ("mix:\n  sft:\n    - {file: a.jsonl, weight: .inf}\n", {"mix.sft.0.weight": 16}),
    ],
    ids=["single-values", "between-values", "not-made", "infinite"],
)
def test_all_faults_of_a_mix_are_told_at_once_with_their_lines(
    tmp_path: Path, mix: str, places: dict[str, int]
):
    with pytest.raises(InputError) as refused:
        recipe_of(tmp_path, BASE + mix)

    assert {fault.field: fault.line for fault in refused.value.faults} == places


def test_a_ratio_is_said_in_one_place_alone(tmp_path: Path):
    ratio = BASE.replace("test_share: 0.2", "test_share: 0.2, helpful_ratio: 0.5")

    short = recipe_of(tmp_path, ratio).mixed("sft")
    with pytest.raises(InputError, match="is short for weights of revision and helpful"):
        recipe_of(tmp_path, ratio + MIX)

    assert [(one.origin, one.weight) for one in short] == [("revision", 1.0), ("helpful", 0.5)]


def test_a_mix_is_saved_with_its_run(tmp_path: Path):
    recipe = recipe_of(tmp_path)

    save_recipe(recipe, tmp_path / "saved.yaml")

    assert load_recipe(tmp_path / "saved.yaml") == recipe


def test_a_limited_run_reads_no_more_of_a_file(tmp_path: Path):
    mix = recipe_of(tmp_path).limited(5).mix

    assert [one.limit for one in (*mix.sft, *mix.preferences)] == [None, None, 5, 5]


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry-run", "run"])
def test_files_that_teach_nothing_are_told_before_anything_is_made(tmp_path: Path, dry_run: bool):
    lines(tmp_path / "pairs.jsonl", [{"text": "no pair"}] * 3)
    (tmp_path / "recipe.yaml").write_text(BASE + MIX)
    run = tmp_path / "run"
    command = ["run", str(tmp_path / "recipe.yaml"), "--run", str(run)]

    result = CliRunner().invoke(app, [*command, *(["--dry-run"] if dry_run else [])])

    told = str(result.exception)
    assert result.exit_code != 0
    assert "line 18: mix.sft.2.file: chats.jsonl is not a file" in told
    assert "line 20: mix.preferences.0.file: feedback: none of its first 3 rows" in told
    assert not run.exists()


def test_a_file_to_come_that_says_its_rows_is_foretold(tmp_path: Path):
    text = BASE + "mix: {sft: [{file: later.jsonl, rows: 1000}]}\n"
    (tmp_path / "recipe.yaml").write_text(text)

    command = ["run", str(tmp_path / "recipe.yaml"), "--run", str(tmp_path / "run")]
    foretold = CliRunner().invoke(app, [*command, "--until", "revisions", "--dry-run"])
    done = CliRunner().invoke(app, [*command, "--until", "revisions"])

    assert foretold.exit_code == 0, foretold.exception
    assert "later.jsonl is not a file" in str(done.exception)
