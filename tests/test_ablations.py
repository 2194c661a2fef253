"""The ablations command writes what it ran, and what is committed is of the shipped table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cai.evaluation.intervals import Rate
from cai.pipeline import RunFolder
from examples.ablations.__main__ import RESULTS, main
from examples.ablations.records import Variant
from examples.ablations.results import measure, over_seeds
from examples.ablations.runs import NOTE, Workplace
from examples.ablations.table import ABLATIONS

PAGE = Path(__file__).parents[1] / "docs" / "ablations.md"
MOST_SECONDS = 30 * 60
"""Of one core's work: each ablation used one, and other programs were on it too."""

MEASURED = [name for name in ABLATIONS if (RESULTS / f"{name}.json").is_file()]


def results_of(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_three_seeds_have_the_interval_of_students_t():
    # The mean of 1, 2, 3 is 2, its standard error 1/√3, and t with two degrees of freedom 4.303.
    found = over_seeds([1.0, 2.0, 3.0])

    assert (found.value, found.n) == (2.0, 3)
    assert found.high - found.value == pytest.approx(4.303 / 3**0.5)
    assert found.value - found.low == pytest.approx(4.303 / 3**0.5)


def test_one_seed_stands_without_a_width():
    assert over_seeds([0.25]) == Rate(0.25, 0.25, 0.25, 1)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a small ablation, and its runs."""
    folder = tmp_path_factory.mktemp("ablation")
    small = ["--limit", "10", "--seeds", "0", "--set", "revisions.rounds=2"]
    main(["critique", *small, "--work", str(folder / "work"), "--out", str(folder)])
    return folder


@pytest.mark.slow
def test_a_reduced_ablation_is_measured_and_drawn(reduced: Path):
    results = json.loads((reduced / "critique.json").read_text(encoding="utf-8"))

    revisions = results["panels"][0]["points"]
    assert [(one["line"], one["at"]) for one in revisions] == [
        (variant.name, place)
        for variant in ABLATIONS["critique"].variants
        for place in ("0", "1", "2")
    ]
    assert revisions[0]["seeds"]["0"]["value"] > revisions[2]["seeds"]["0"]["value"]
    assert (reduced / "critique.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.slow
def test_a_variant_takes_over_what_it_shares_with_the_plain_run(reduced: Path):
    place = Workplace(reduced / "work", 10, ("revisions.rounds=2",))
    plain, direct = (place.run_of(one, 0) for one in ABLATIONS["critique"].variants)

    made = [run.read_metrics()["calls"]["made"] for run in (plain, direct)]
    assert 0 < made[1] < made[0] / 2


@pytest.mark.slow
def test_a_finished_run_is_not_made_again(reduced: Path):
    place = Workplace(reduced / "work", 10, ("revisions.rounds=2",))
    notes = sorted(place.folder.rglob(NOTE))
    before = [note.stat().st_mtime_ns for note in notes]

    measure("critique", ABLATIONS["critique"], (0,), place)

    assert len(notes) == 2
    assert [note.stat().st_mtime_ns for note in notes] == before


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_variant_is_a_recipe_of_its_own(name: str, tmp_path: Path):
    place = Workplace(tmp_path)
    variants = ABLATIONS[name].variants

    runs = {(one.until, place.run_of(one, 0).path) for one in variants}

    assert len({one.name for one in variants}) == len(variants)
    assert len(runs) >= len(variants) - 1


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_committed_is_what_the_table_asks_of_three_seeds(name: str):
    results, ablation = results_of(name), ABLATIONS[name]

    assert results["question"] == ablation.question
    assert [*results["runs"]] == [one.name for one in ablation.variants]
    words = [(one["title"], one["x"], one["y"]) for one in results["panels"]]
    assert words == [(one.title, one.x, one.y) for one in ablation.panels]
    points = [point for panel in results["panels"] for point in panel["points"]]
    assert all(len(point["seeds"]) == 3 for point in points)
    assert (RESULTS / f"{name}.svg").is_file()


@pytest.mark.parametrize("name", MEASURED)
def test_an_ablation_took_no_more_than_half_an_hour(name: str, tmp_path: Path):
    """Plain runs count where their work was noted: the clock of older ones ran beside others."""
    place, noted = Workplace(tmp_path), results_of(name)["runs"]
    plain = place.run_of(Variant("plain"), 0)
    seconds: dict[tuple[RunFolder, str], int] = {}
    for variant in ABLATIONS[name].variants:
        for seed, note in noted[variant.name].items():
            # Of variants that share a run, the one that was made last has noted the whole.
            run = (place.run_of(variant, 0), seed)
            if run[0] != plain or "core_seconds" in note:
                worked = note.get("core_seconds", note["seconds"])
                seconds[run] = max(seconds.get(run, 0), worked)

    assert sum(seconds.values()) <= MOST_SECONDS


def test_results_are_drawn_again_in_the_words_of_the_table_without_a_run(tmp_path: Path):
    old = results_of("pairs")
    old["question"] = old["panels"][0]["y"] = "in other words"
    (tmp_path / "pairs.json").write_text(json.dumps(old))

    main(["pairs", "--redraw", "--out", str(tmp_path), "--work", str(tmp_path / "work")])

    assert not (tmp_path / "work").exists()
    for kind in ("json", "svg"):
        redrawn = (tmp_path / f"pairs.{kind}").read_bytes()
        assert redrawn == (RESULTS / f"pairs.{kind}").read_bytes()


@pytest.mark.parametrize("panels", [[], None], ids=["other panels", "no file"])
def test_what_cannot_be_drawn_again_is_told(panels: list[Any] | None, tmp_path: Path):
    if panels is not None:
        (tmp_path / "pairs.json").write_text(json.dumps({**results_of("pairs"), "panels": panels}))

    with pytest.raises(SystemExit, match=r"pairs\.json"):
        main(["pairs", "--redraw", "--out", str(tmp_path)])


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_ablation_has_its_command_on_the_page(name: str):
    assert f"python -m examples.ablations {name}\n" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MEASURED)
def test_every_measured_ablation_has_its_figure_on_the_page(name: str):
    assert f"(../examples/ablations/results/{name}.svg)" in PAGE.read_text(encoding="utf-8")
