"""The recipe that a reader copies for a model and prompts of their own is a whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cai.recipe import Recipe, load_recipe
from docs.pages import ROOT, blocks

PAGE = ROOT / "docs/own-prompts.md"


def copied(folder: Path) -> Recipe:
    """The page's recipe in a folder, with a few prompts in each of the files that it names."""
    path = folder / "recipe.yaml"
    path.write_text(blocks(PAGE, "yaml")[0], encoding="utf-8")
    recipe = load_recipe(path)
    sets = (*recipe.prompts.red_team, *recipe.prompts.helpful, *recipe.prompts.evaluation)
    for number, one in enumerate(sets):
        assert one.file is not None
        one.file.write_text("".join(f"What of {number} and {n}?\n" for n in range(8)))
    return recipe


def test_the_recipe_to_copy_has_nothing_of_the_microworld(tmp_path: Path):
    assert copied(tmp_path).evaluation.truth == "patterns"
    assert "microworld" not in blocks(PAGE, "yaml")[0]


def test_the_recipe_to_copy_passes_the_checks_that_the_page_has(tmp_path: Path):
    recipe = copied(tmp_path)
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "120",
    }

    told = ""
    for command in blocks(PAGE, "sh")[0].splitlines():
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        told += done.stdout

    assert recipe.models.of("judge").name in told
    assert "The run would train sl_cai, pm, rl_cai." in told
    assert not (tmp_path / "runs").exists()
