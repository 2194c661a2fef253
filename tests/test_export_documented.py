"""Exported rows have the shape that the programs which read them document.

`tests/documented_rows` has a row of each of their formats, and where that is written. A text is
"..." where any will do. A list of turns ends as told; before that there may be others.
axolotl and OpenRLHF load the rows themselves in `tests/harness/test_loaders.py`. open-instruct does
not install: PyPI has no package of it ("No matching distribution found for open-instruct",
2026-11-22), and its pyproject.toml (002bde1) pins torch 2.7.0, vllm 0.9.1 and numpy below 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from tests.exported_run import exported, write_run

DOCUMENTED = Path(__file__).parent / "documented_rows"
PROGRAMS = ["axolotl", "open-instruct", "openrlhf"]
ROLES = ("system", "user", "assistant")


def documented(program: str) -> dict[str, Any]:
    return json.loads((DOCUMENTED / f"{program}.json").read_text(encoding="utf-8"))


def misfits(row: Any, told: Any, place: str = "row") -> Iterator[str]:
    """Where a value is not as its program documents it."""
    if isinstance(told, str):
        if not isinstance(row, str) or told not in ("...", row):
            yield f"{place} is {row!r}, not {told!r}"
    elif isinstance(told, list):
        yield from _misfits_of_turns(row, cast("list[Any]", told), place)
    elif not isinstance(row, Mapping):
        yield f"{place} is {row!r}, not an object"
    else:
        fields = cast("Mapping[str, Any]", row)
        for name, part in cast("Mapping[str, Any]", told).items():
            if name in fields:
                yield from misfits(fields[name], part, f"{place}.{name}")
            else:
                yield f"{place} has no {name}"


def _misfits_of_turns(row: Any, told: list[Any], place: str) -> Iterator[str]:
    if not isinstance(row, list) or len(cast("list[Any]", row)) < len(told):
        yield f"{place} is {row!r}, not a list of turns that ends with {told}"
        return
    said = cast("list[Any]", row)
    before, end = said[: -len(told)], said[-len(told) :]
    for turn, one in zip(end, told, strict=True):
        yield from misfits(turn, one, f"the end of {place}")
    for turn in before:
        yield from misfits(turn, {"role": "...", "content": "..."}, f"a turn of {place}")
        if isinstance(turn, Mapping) and turn["role"] not in ROLES:
            yield f"{place} has a turn of {turn['role']}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("documented") / "run")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_exported_row_is_as_its_program_documents_it(run: Path, tmp_path: Path, program: str):
    rows, told = exported(run, program, tmp_path / "out"), documented(program)

    assert rows.keys() == told.keys()
    for name, written in rows.items():
        assert written
        for row in written:
            assert list(misfits(row, told[name]["row"])) == []
            assert not {*told[name].get("no_columns", ())} & row.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_pairs_of_another_program_do_not_fit(run: Path, tmp_path: Path, program: str):
    for place, other in enumerate(PROGRAMS):
        if other != program:
            (row, *_) = exported(run, other, tmp_path / str(place))["preferences"]
            assert list(misfits(row, documented(program)["preferences"]["row"]))
