"""What trainers are given that looks right and is not, each told or taken as it is meant."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from cai.datasets.parquet import folder_hash
from cai.errors import CaiError
from trainers import command
from trainers.card import root_model
from trainers.fit import Account, fit
from trainers.reward import RewardSource
from trainers.rl import _source
from trainers.rows import EncodedRows, read_rows
from trainers.settings import RewardSettings, RlSettings, SftSettings
from trainers.sft import SECTION as SFT
from trainers.work_folder import (
    RECORD,
    SNAPSHOTS,
    WorkFolder,
    read_record,
    write_record,
)


@pytest.mark.parametrize("name", ["pairs.pq", "blob", "pairs.jsonl"])
def test_a_file_has_the_hash_of_its_content_whatever_its_name(tmp_path: Path, name: str):
    (tmp_path / name).write_text("one")
    before = folder_hash(tmp_path / name)
    (tmp_path / name).write_text("two")

    assert folder_hash(tmp_path / name) != before


def test_a_label_that_only_later_rows_have_is_read(tmp_path: Path):
    rows = [{"prompt": "a"}, {"prompt": "b", "p_chosen": 0.6}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))

    read = list(read_rows([tmp_path / "pairs.jsonl"], ("prompt", "p_chosen")))

    assert read == rows


RECIPE = """
name: small
seed: 3
constitution: harmlessness
models: {default: microworld}
prompts: {red_team: [{microworld: train, kind: harmful, limit: 1}]}
sft: {preset: cai, pretraining_learning_rate: 2.0e-4}
"""


def settings_of(tmp_path: Path, *overrides: str) -> Any:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "data.jsonl").write_text('{"messages": []}')
    asked = command.Asked(
        tmp_path / "recipe.yaml", None, tmp_path / "data.jsonl", "microworld", None, overrides
    )
    places = command.Places("microworld", tmp_path / "data.jsonl", tmp_path / "out")
    return command.task_of(asked, SFT, lambda *_: places).settings


def test_another_rate_is_what_a_preset_of_the_recipe_takes_its_share_of(tmp_path: Path):
    assert settings_of(tmp_path).learning_rate == pytest.approx(1e-4)
    changed = settings_of(tmp_path, "pretraining_learning_rate=0.002")
    assert changed.learning_rate == pytest.approx(1e-3)


def test_a_trainer_with_a_recipe_has_the_seed_of_the_run(tmp_path: Path):
    assert settings_of(tmp_path).seed == 3
    assert settings_of(tmp_path, "seed=1").seed == 4


def test_a_preference_model_that_nothing_is_paid_for_is_refused(tmp_path: Path):
    asked = command.Asked(None, None, None, None, None, None)
    settings = RlSettings(reward=RewardSettings(rating=1))

    with pytest.raises(CaiError, match="have no use"):
        _source(asked, settings, RewardSource(held_out=tmp_path / "pairs.jsonl"))


def test_a_model_that_was_trained_on_in_its_own_folder_goes_back_to_it(tmp_path: Path):
    record = {"models": {"base": {"name": str(tmp_path)}}}
    (tmp_path / RECORD).write_text(json.dumps(record))

    assert root_model(record) == str(tmp_path)


def test_snapshots_that_a_killed_process_had_moved_are_moved_back(tmp_path: Path):
    work = WorkFolder(tmp_path / "out", "a")
    work.open()
    (work.model / SNAPSHOTS / "step-2").mkdir(parents=True)

    work.open()

    assert [one.name for one in work.models()] == ["step-2", "model"]


def test_a_record_names_folders_from_the_model_s_own_and_is_read_where_they_are(tmp_path: Path):
    run, elsewhere = tmp_path / "run" / "models", tmp_path / "corpus"
    for folder in (run / "sl_cai", run / "pm", elsewhere):
        folder.mkdir(parents=True)
    models = {"base": str(run / "sl_cai"), "teacher": "microworld", "test": "hub/name"}
    record = {
        "models": {role: {"name": name, "digest": "1"} for role, name in models.items()},
        "settings": {"votes": str(elsewhere / "votes.jsonl"), "preset": "cai", "epochs": 2},
    }

    write_record(run / "pm", record, run / "pm")
    shutil.move(tmp_path / "run", tmp_path / "moved")

    written = (tmp_path / "moved" / "models" / "pm" / RECORD).read_text()
    read = read_record(tmp_path / "moved" / "models" / "pm") or {}
    assert str(tmp_path) not in written
    assert json.loads(written)["models"]["base"]["name"] == "../sl_cai"
    assert read["models"]["base"]["name"] == str(tmp_path / "moved" / "models" / "sl_cai")
    assert read["models"]["test"]["name"] == "hub/name"
    assert read["settings"] == {**record["settings"], "votes": str(elsewhere / "votes.jsonl")}


def folder_with_a_file(place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("keep")


def folder_with_another_s_record(place: Path) -> None:
    place.mkdir()
    (place / RECORD).write_text('{"lr": 1}')


@pytest.mark.parametrize(
    "put",
    [folder_with_a_file, folder_with_another_s_record, lambda place: place.write_text("keep")],
    ids=["folder", "record of others", "file"],
)
def test_what_is_no_model_of_a_training_is_not_replaced_by_one(tmp_path: Path, put: Any):
    put(tmp_path / "out")

    with pytest.raises(CaiError, match="with --out"):
        WorkFolder(tmp_path / "out", "a").finished()


@pytest.mark.parametrize("name", ["thesis", "model", "base", "merged", "checkpoints"])
def test_a_training_removes_no_folder_beside_it_that_it_has_not_made(tmp_path: Path, name: str):
    (tmp_path / "out.training").mkdir()
    folder_with_a_file(tmp_path / "out.training" / name)

    with pytest.raises(CaiError, match="of no training"):
        WorkFolder(tmp_path / "out", "a").finished()


def test_what_was_put_in_the_place_of_a_model_while_it_was_trained_stays(tmp_path: Path):
    work = WorkFolder(tmp_path / "out", "a")
    work.finished()
    work.open()
    work.model.mkdir()
    folder_with_a_file(tmp_path / "out")

    with pytest.raises(CaiError, match="is there already"):
        work.install()

    assert (tmp_path / "out" / "thesis.txt").read_text() == "keep"
    assert work.model.is_dir()


def test_an_empty_folder_and_an_earlier_model_make_room_for_a_new_one(tmp_path: Path):
    (tmp_path / "out").mkdir()
    for inputs in ("a", "b"):
        work = WorkFolder(tmp_path / "out", inputs)
        assert work.finished() is None
        work.open()
        work.model.mkdir()
        work.write_record({"rows": 3})
        work.install()

    assert read_record(tmp_path / "out") == {"rows": 3, "inputs": "b"}


def test_a_model_s_folder_needs_a_name_of_its_own():
    with pytest.raises(CaiError, match="within it"):
        WorkFolder(Path(), "a")


TRAINS = """
import sys
from pathlib import Path
from trainers.work_folder import WorkFolder

with WorkFolder(Path(sys.argv[1]), "a").held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["finishes", "is killed"])
def test_a_model_is_trained_by_one_process_at_a_time(tmp_path: Path, how: str):
    out = tmp_path / "out"
    command = [sys.executable, "-c", TRAINS, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdin is not None and first.stdout is not None
        first.stdout.readline()
        second = WorkFolder(out, "b")
        said = rf"out\.training is in use by process {first.pid}; wait"
        with pytest.raises(CaiError, match=said), second.held():
            raise AssertionError("both have it")
        first.kill() if how == "is killed" else first.stdin.close()
        first.wait()

        with second.held():
            second.open()

    assert [one.name for one in tmp_path.iterdir()] == ["out.training"]


def test_a_training_has_its_model_to_itself_from_its_beginning(tiny_model: Path, tmp_path: Path):
    rows = EncodedRows(Dataset.from_list([]), "none", "hash")
    account = Account("sft", {"base": str(tiny_model)}, SftSettings(), rows)

    def make() -> Any:
        with WorkFolder(tmp_path / "out", "b").held():
            raise AssertionError("both have it")

    with pytest.raises(CaiError, match="is in use by process"):
        fit(make, WorkFolder(tmp_path / "out", "a"), account, None)
