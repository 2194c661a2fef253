"""The commands that a reader types first run in their order, in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT, blocks

MADE = {
    "README.md": ["runs/my/report.html", "runs/data/models/sl_cai/model.safetensors"],
    "docs/tutorial.md": ["runs/first/report.html", "runs/first/models/rl_cai/model.safetensors"],
}
"""What is there in the end, by page."""


@pytest.mark.slow
@pytest.mark.parametrize("page", MADE)
def test_the_commands_of_a_page_run_in_their_order(page: str, tmp_path: Path):
    for name in ("constitution", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "NO_COLOR": "1"}

    for command in [line for block in blocks(ROOT / page, "sh") for line in block.splitlines()]:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    assert [made for made in MADE[page] if not (tmp_path / made).is_file()] == []
