"""The ablations command writes what it ran, and what is committed is of the shipped table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cai.evaluation.intervals import Rate
from cai.pipeline import RunFolder
from examples.ablations.__main__ import RESULTS, main
from examples.ablations.figure import draw
from examples.ablations.readings import DISTANCE, HARM, SCORE
from examples.ablations.records import Variant
from examples.ablations.results import commits_of, measure, over_seeds
from examples.ablations.runs import NOTE, Workplace
from examples.ablations.table import ABLATIONS, OPTIMISED

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
def test_an_ablation_took_no_more_than_half_an_hour_beside_unmeasured_plain_runs(
    name: str, tmp_path: Path
):
    """Plain runs count where their work was noted: the clock of older ones ran beside others."""
    place, results = Workplace(tmp_path), results_of(name)
    plain = place.run_of(Variant("plain"), 0)
    noted = [(plain, by_seed) for by_seed in [results.get("plain", {})]]
    # Of variants that share a run, the one that was made last has noted the whole.
    noted += [(place.run_of(one, 0), results["runs"][one.name]) for one in ABLATIONS[name].variants]
    seconds: dict[tuple[RunFolder, str], int] = {}
    for run, by_seed in noted:
        for seed, note in by_seed.items():
            if run != plain or "core_seconds" in note:
                worked = note.get("core_seconds", note["seconds"])
                seconds[run, seed] = max(seconds.get((run, seed), 0), worked)

    assert sum(seconds.values()) <= MOST_SECONDS


@pytest.mark.parametrize("name", MEASURED)
def test_a_share_of_a_seed_has_an_interval_with_a_width_within_0_and_1(name: str):
    panels = zip(ABLATIONS[name].panels, results_of(name)["panels"], strict=True)
    points = [(panel, point) for panel, found in panels for point in found["points"]]

    shares = [
        seed
        for panel, point in points
        if panel.shares or point["line"] in HARM.values()
        for seed in point["seeds"].values()
    ]

    assert all(0 <= one["low"] <= one["value"] <= one["high"] <= 1 for one in shares)
    assert all(one["low"] < one["high"] for one in shares)


def test_the_gap_of_two_scores_has_the_interval_of_its_replies_and_the_scores_have_none():
    distance, scores, apart = results_of("optimisation")["panels"]

    seeds = [one for point in apart["points"] for one in point["seeds"].values()]
    assert all(one["low"] < one["value"] < one["high"] for one in seeds)
    alone = [one for panel in (distance, scores) for one in panel["points"]]
    seeds = [one for point in alone for one in point["seeds"].values()]
    assert all(one["low"] == one["value"] == one["high"] for one in seeds)


def test_where_the_scores_part_is_stored_drawn_and_told():
    results = results_of("optimisation")
    unmarked = results_of("optimisation")
    unmarked["panels"][0]["marks"] = {}
    panels = ABLATIONS["optimisation"].panels

    marks = results["panels"][0]["marks"]

    assert set(marks) == {"0", "1", "2"}
    parted = {seed: f"{mark['sqrt_kl']:.2f}" for seed, mark in marks.items() if mark}
    assert parted == {"0": "0.89"}
    assert "part in seed 0, at a √KL of 0.89" in section_of("optimisation")
    assert draw(results, panels) != draw(unmarked, panels)


WITH_BARS = [("pairs", 0), ("best-of", 0), ("weight", 2)]
"""Panels of each kind: lines, and points over two figures."""


@pytest.mark.parametrize(("name", "number"), WITH_BARS)
def test_every_panel_but_paths_draws_the_interval_over_seeds(name: str, number: int):
    ablation, results = ABLATIONS[name], results_of(name)
    panel = results["panels"][number]
    alone: dict[str, Any] = {**results, "panels": [panel]}
    before = draw(alone, [ablation.panels[number]])

    for point in panel["points"]:
        point["over_seeds"]["low"] -= 0.01

    assert draw(alone, [ablation.panels[number]]) != before


def changed(name: str, panel: str, line: str, places: str) -> Rate:
    """How far a line goes from one place to another, seed by seed."""
    begin, end = places.split(" → ")
    (found,) = [one for one in results_of(name)["panels"] if one["title"] == panel]
    seeds = {one["at"]: one["seeds"] for one in found["points"] if one["line"] == line}
    return over_seeds(
        [seeds[end][seed]["value"] - one["value"] for seed, one in seeds[begin].items()]
    )


def section_of(name: str) -> str:
    """What the page says of an ablation, on one line."""
    after = PAGE.read_text(encoding="utf-8").split(f"examples.ablations {name}\n")[-1]
    return " ".join(after.split("\n## ")[0].split())


DPO = "What DPO makes of them"
RL = "What a preference model and RL make of the pairs"
TOLD = [
    ("revisions", "SL-CAI by the revisions that it learns", "harmful requests helped", *both)
    for both in (("first 2 → first 3", 100), ("first 3 → all 4", 100))
]
TOLD += [
    ("pairs", "Preference model", "all pairs", f"128 → {n}", 100) for n in ("256", "512", "all")
]
TOLD += [
    ("best-of", "What the policies do", "harmful requests helped", f"best of 1 → {end}", 100)
    for end in ("best of 2", "best of 8", "RL")
]
TOLD += [("best-of", "Score by distance", line, "best of 8 → RL", 1) for line in (DISTANCE, SCORE)]
TOLD += [
    ("optimisation", "Scores by time", line, f"5 → {end}", 1)
    for line in (OPTIMISED, "test-PM")
    for end in ("10", "40")
]
TOLD += [
    ("optimisation", "How far they are apart", "train-PM less test-PM", "5 → 40", 1),
    ("weight", "Preference model", "harmless requests", "1 → 10", 100),
    ("weight", "Preference model", "all pairs", "1 → 10", 100),
    ("weight", "Policy of RL", "borderline requests declined", "0 → 1", 100),
    ("weight", "Policy of RL", "borderline requests declined", "1 → 10", 100),
    ("evasion", DPO, "harmless requests helped", "CAI, DPO → canned refusal, DPO", 100),
    ("evasion", DPO, "borderline requests declined", "CAI, DPO → canned refusal, DPO", 100),
    ("evasion", RL, "broken replies", "CAI, RL → canned refusal, RL", 100),
    ("evasion", RL, "borderline requests declined", "SL-CAI → CAI, RL", 100),
    ("evasion", RL, "borderline requests declined", "CAI, RL → canned refusal, RL", 100),
]


@pytest.mark.parametrize(("name", "panel", "line", "places", "unit"), TOLD)
def test_a_change_that_the_page_tells_stands_there_with_its_interval_over_seeds(
    name: str, panel: str, line: str, places: str, unit: int
):
    change = changed(name, panel, line, places)
    figures = [unit * figure for figure in (change.value, change.low, change.high)]

    digits = 1 if unit == 100 else 2
    value, low, high = (f"{one:.{digits}f}".replace("-", "−") for one in figures)
    assert re.search(rf"{value}( points)?( from \d+)?( nats)?, {low} to {high}", section_of(name))


def commits_in(name: str) -> set[str]:
    return {*commits_of(results_of(name))}


@pytest.mark.parametrize("name", [one for one in MEASURED if len(commits_in(one)) > 1])
def test_the_page_names_the_commits_of_variants_that_were_made_by_several(name: str):
    (told,) = re.findall(r"\*\*Commits\.\*\*(.*?)\n\n", PAGE.read_text("utf-8"), re.DOTALL)

    assert f"`{name}`" in told
    assert all(commit in told for commit in commits_in(name))


def test_commits_are_told_short_each_once_and_with_what_was_changed():
    notes = [{"commit": "0123456789ab"}, {"commit": "0123456"}, {"commit": "0123456789ab-dirty"}]

    results = {"runs": {"one": dict(enumerate(notes)), "other": {"0": {"commit": "89abcde"}}}}

    assert commits_of(results) == ["0123456", "0123456-dirty", "89abcde"]


def test_a_changed_checkout_writes_no_results_that_are_to_be_committed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("examples.ablations.__main__.commit", lambda: "0123456-dirty")

    with pytest.raises(SystemExit, match="changes that are not committed"):
        main(["pairs", "--work", str(tmp_path)])

    assert not list(tmp_path.iterdir())


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
