"""`cai doctor` tells what is there, names what is wrong with its fix, and shows no key."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai import environment, requirements
from cai.cli import app
from cai.environment import Finding, examine_weights, stops_work
from cai.microworld import MODEL
from cai.requirements import Needed, needed_packages

KEY = "planted-93b1-never-shown"


def doctor(*arguments: str) -> tuple[int, str]:
    said = CliRunner().invoke(app, ["doctor", *arguments], catch_exceptions=False)
    return said.exit_code, said.stdout


def test_a_sound_installation_is_told_whole_and_keys_by_their_names_alone(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("SOME_API_KEY", KEY)

    code, printed = doctor("--json")

    told = json.loads(printed)
    found = {one["name"]: one for one in told["findings"]}
    assert (code, told["ok"]) == (0, True)
    assert {"python", "cores", "memory", "disk", "torch", "anthropic", "price list"} <= found.keys()
    assert found["microworld weights"]["state"] == "ok"
    assert "SOME_API_KEY" in found["keys in the environment"]["told"]
    assert KEY not in printed


def test_a_cache_folder_that_cannot_be_written_stops_work_and_the_fix_is_told(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HF_HOME", "/proc/no/such/place")

    code, printed = doctor()

    assert code == 1
    assert "problem  cache folder" in printed
    assert "→ give write access, or name another folder with export HF_HOME=…" in printed


def test_damaged_and_missing_weights_are_named(tmp_path: Path):
    folder = Path(shutil.copytree(MODEL, tmp_path / "model"))
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1000)
        file.write(b"damaged")
    (folder / "tokenizer.json").unlink()

    found = examine_weights(folder)

    assert found.state == "problem"
    assert found.told == "damaged or missing: model.safetensors, tokenizer.json"


def test_the_checksums_are_those_of_the_shipped_weights():
    assert examine_weights(environment.WEIGHTS).state == "ok"


@pytest.mark.parametrize(
    ("needed", "fault"),
    [
        (Needed("pydantic", ">=2,<3"), False),
        (Needed("pydantic", ">=2,<2.1"), True),
        (Needed("no-such-package", ">=1"), True),
        (Needed("no-such-package", ">=1", "vllm"), False),
    ],
    ids=["tested", "untested version", "missing", "not asked for"],
)
def test_a_package_is_at_fault_if_it_is_needed_and_missing_or_of_an_untested_version(needed, fault):
    assert needed.fault is fault


def test_the_ranges_are_those_of_the_projects_own_description():
    found = {one.name: one for one in needed_packages()}

    assert found["trl"].extra == "train"
    assert found["anthropic"].tested.startswith(">=2")
    assert "pytest" not in found
    assert requirements.CHECKOUT.is_file()


def test_notes_stop_no_work():
    note, problem = Finding("disk", "note", "2 GiB"), Finding("disk", "problem", "none")

    assert not stops_work([note])
    assert stops_work([note, problem])


def test_what_is_told_to_install_is_this_checkout_and_no_package_of_the_index():
    extras = [one for one in needed_packages() if one.extra]

    assert extras
    assert all(one.command.startswith("pip install --editable '.[") for one in extras)
