"""Places that cannot be written are refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.errors import CaiError
from cai.outputs import check_file, check_folder


def test_a_file_or_a_folder_may_go_where_the_folders_above_it_are_not_made_yet(tmp_path: Path):
    check_file(tmp_path / "no" / "dir" / "x.xml")
    check_folder(tmp_path / "no" / "dir")

    assert not any(tmp_path.iterdir())


def test_a_folder_is_no_place_for_a_file_nor_a_file_for_a_folder(tmp_path: Path):
    (tmp_path / "file").write_text("here")

    with pytest.raises(CaiError, match="name a file with --junit"):
        check_file(tmp_path, "--junit")
    with pytest.raises(CaiError, match="name a folder with --out"):
        check_folder(tmp_path / "file")


@pytest.mark.parametrize("check", [check_file, check_folder])
def test_nothing_can_be_written_in_a_file(tmp_path: Path, check: object):
    (tmp_path / "file").write_text("here")

    assert callable(check)
    with pytest.raises(CaiError, match=r"file is no folder"):
        check(tmp_path / "file" / "x" / "y")
