"""The example of the Python API does what it says, in few lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs.reference.notebook import PRINTED

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.py"


@pytest.mark.slow
def test_the_notebook_prints_what_its_page_shows(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, str(NOTEBOOK)], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    *counts, columns = PRINTED.partition("0  ")[0].splitlines()
    said = ran.stdout.splitlines()
    first = said.index(counts[0])
    assert said[first : first + len(counts)] == counts
    assert said[first + len(counts)].split() == columns.split()
    assert len(said) == first + len(PRINTED.splitlines())
    assert (tmp_path / "runs/notebook/datasets/preferences/train").is_dir()


def test_the_notebook_has_no_more_than_thirty_lines():
    assert len(NOTEBOOK.read_text().splitlines()) <= 30
