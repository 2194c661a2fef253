"""docs/constitution.md and the committed schemas say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.cli.constitution import app
from cai.constitution import load_constitution
from cai.constitution.schema import Constitution

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/constitution.md").read_text(encoding="utf-8")
SHIPPED = sorted((ROOT / "constitution").glob("*.yaml"))


def test_the_yaml_of_the_page_is_read(tmp_path: Path):
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    whole = [block for block in blocks if "\nid: " in "\n" + block]

    for number, block in enumerate(whole):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        assert load_constitution(path).principles
    assert len(whole) == 2


def test_every_command_is_in_the_page_with_an_example_in_its_help():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    names = re.findall(r"^│ (\w+) ", shown, flags=re.MULTILINE)

    assert len(names) == 9
    for name in names:
        assert f"cai constitution {name}" in PAGE
        told = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert f"Example: cai constitution {name}" in told


def test_the_page_and_the_readme_name_every_shipped_constitution():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [path.stem for path in SHIPPED if not path.stem.endswith(".cases")]

    assert [name for name in names if f"| `{name}` |" not in PAGE] == []
    assert [name for name in names if f"`{name}`" not in readme] == []


# Schemas


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((), "constitution.schema.json"), (("--cases",), "cases.schema.json")],
    ids=["constitution", "cases"],
)
def test_the_committed_schema_is_what_the_command_prints(arguments: tuple[str, ...], name: str):
    printed = CliRunner().invoke(app, ["schema", *arguments]).output

    assert (ROOT / "constitution" / name).read_text(encoding="utf-8") == printed


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_refer_to_the_schema_beside_them(path: Path):
    first = path.read_text(encoding="utf-8").splitlines()[0]

    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named
    schema = json.loads((path.parent / named[1]).read_bytes())
    wanted = "cases" if path.name.endswith(".cases.yaml") else "principles"
    assert wanted in schema["properties"]


def test_the_schema_allows_no_key_that_the_program_refuses_and_describes_each():
    schema = json.loads((ROOT / "constitution/constitution.schema.json").read_bytes())

    parts = [schema, *schema["$defs"].values()]
    objects = [part for part in parts if "properties" in part]
    assert all(part["additionalProperties"] is False for part in objects)
    described = [
        "description" in field for part in objects for field in part["properties"].values()
    ]
    assert all(described)
    assert set(schema["properties"]) == set(Constitution.model_fields)
