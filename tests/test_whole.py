"""Files and folders are there whole or not at all."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cai.card import write_card
from cai.pipeline.folder import RunFolder
from cai.recipe import load_recipe, save_recipe
from cai.whole import replace_folder, write_whole
from trainers.work_folder import write_record

LONG = "x" * 5000
RECIPE = Path(__file__).parents[1] / "examples" / "microworld.yaml"


def test_a_file_is_written_in_place_of_an_earlier_one(tmp_path: Path):
    for content in (b"old", b"new"):
        write_whole(tmp_path / "file", content)

    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("file", lambda folder: write_whole(folder / "file", LONG.encode())),
        ("README.md", lambda folder: write_card(folder, {"license": "mit"}, [LONG])),
        ("recipe.yaml", lambda folder: save_recipe(load_recipe(RECIPE), folder / "recipe.yaml")),
        ("metrics.json", lambda folder: RunFolder(folder).write_metrics({"a": LONG})),
        ("training.json", lambda folder: write_record(folder, {"a": LONG}, folder)),
    ],
)
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, name: str, write: Callable[[Path], Any]
):
    (tmp_path / name).write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / name).touch()
        replace_folder(tmp_path / "new", tmp_path / "place")

    assert [one.name for one in tmp_path.rglob("*")] == ["place", "b"]


def test_a_folder_that_cannot_be_put_in_its_place_leaves_the_old_one_there(tmp_path: Path):
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").touch()

    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "new", tmp_path / "place")

    assert [one.name for one in tmp_path.rglob("*")] == ["place", "old"]
