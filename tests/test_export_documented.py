"""Exported rows have the shape that the programs which read them document.

`tests/documented_rows` has a row of each of their formats, and where that is written. A text is
"..." where any will do. A list of turns ends as told; before that there may be others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.datasets.sft import sft_features
from cai.export.run_export import export_run

DOCUMENTED = Path(__file__).parent / "documented_rows"
PROGRAMS = ["axolotl", "open-instruct", "openrlhf"]
ROLES = ("system", "user", "assistant")


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]


ASKED = {
    "one turn": turns("user"),
    "a system turn": turns("system", "user"),
    "several turns": turns("system", "user", "assistant", "user"),
}


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
    """A run's folder with conversations and pairs of every kind that an export has to say."""
    folder = tmp_path_factory.mktemp("documented") / "run"
    (folder / "datasets").mkdir(parents=True)
    about = {"prompt_id": "id", "source": "ai", "principle": "kind", "model": "m"}
    good, bad = turns("assistant"), turns("assistant")
    SplitWriter(folder / "datasets/sft", sft_features()).write(
        ("train", {**about, "messages": [*asked, *good], "origin": "revision"})
        for asked in ASKED.values()
    )
    SplitWriter(folder / "datasets/preferences", preference_features()).write(
        ("train", {**about, "prompt": asked, "chosen": good, "rejected": bad, "p_chosen": 0.9})
        for asked in ASKED.values()
    )
    (folder / "ledger.sqlite").touch()
    return folder


def exported(run: Path, program: str, out: Path) -> dict[str, list[dict[str, Any]]]:
    export_run(run, out, program, minimum_margin=0, file_type="jsonl")
    return {
        path.parent.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in out.rglob("train.jsonl")
    }


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
