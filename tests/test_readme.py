import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(tmp_path):
    for name in ("constitution", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "NO_COLOR": "1"}

    for command in commands():
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    assert (tmp_path / "runs/my/report.html").is_file()
    assert (tmp_path / "runs/data/models/sl_cai/model.safetensors").is_file()


def test_every_make_target_that_the_readme_names_exists():
    named = set(re.findall(r"make ([a-z-]+)", README))

    assert {"demo", "test"} <= named <= makefile_targets()


def test_every_file_that_the_readme_links_or_names_exists():
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    named = re.findall(r"`((?:examples|constitution|prompts|cai|trainers)/[\w./-]*)`", README)

    missing = [name for name in (*linked, *named) if not (ROOT / name).exists()]
    assert missing == []
