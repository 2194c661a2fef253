"""What a run notes of the code that made it."""

import subprocess
from pathlib import Path

import pytest

from cai.pipeline.provenance import commit_of


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "code.py").write_text("one = 1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "code.py")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    git(folder, *who, "commit", "--quiet", "-m", "one")
    return folder


def test_the_commit_of_a_checkout_is_noted_with_whether_its_files_were_changed(checkout: Path):
    commit = git(checkout, "rev-parse", "HEAD")

    as_committed = commit_of(checkout)
    (checkout / "code.py").write_text("one = 2\n")

    assert as_committed == commit
    assert commit_of(checkout) == f"{commit}-dirty"


def test_a_package_inside_another_project_s_checkout_has_not_its_commit(checkout: Path):
    installed = checkout / ".venv" / "site-packages"
    installed.mkdir(parents=True)

    assert commit_of(installed) is None


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
