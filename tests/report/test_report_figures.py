import csv
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer import Typer
from typer.testing import CliRunner

from cai.cli.report import report
from cai.evaluation import rate
from cai.report import alts, write_figures
from cai.report.curves import Panel, curves
from cai.report.drawing import IN_FILE, ON_PAGE, Plate, inline_svg, svg_file
from cai.report.load import load_run
from cai.report.plates import plates_of
from cai.report.plots import Column, dots

WriteRun = Callable[..., Awaitable[None]]
Json = dict[str, Any]


async def test_figures_and_numbers_are_written_as_files(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path / "run")
    app = Typer()
    app.command()(report)

    arguments = [str(tmp_path / "run"), "--figures", str(tmp_path / "figures")]
    result = CliRunner().invoke(app, arguments)

    files = {path.name for path in (tmp_path / "figures").iterdir()}
    pictures = ("harm", "training", "calibration", "left-out", "time")
    assert files >= {f"{name}.{form}" for name in pictures for form in ("svg", "png")}
    assert files >= {"metrics.json", "numbers.csv", "stages.csv", "training.csv", "rows.csv"}
    assert f"wrote {len(files)} files to {tmp_path / 'figures'}" in result.output
    png = (tmp_path / "figures" / "harm.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert (tmp_path / "figures" / "metrics.json").read_bytes() == (
        tmp_path / "run" / "metrics.json"
    ).read_bytes()


async def test_every_number_of_the_metrics_is_in_one_table(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    await write_run(tmp_path / "run", metrics)

    write_figures([tmp_path / "run"], tmp_path)

    lines = {line["path"]: line for line in read_table(tmp_path / "numbers.csv")}
    figure = lines["stages/rl_cai/harmful_compliance"]
    expected = metrics["stages"]["rl_cai"]["harmful_compliance"]
    assert {name: float(figure[name]) for name in expected} == expected
    assert lines["calls/made"] == {
        "path": "calls/made",
        "value": "9120",
        "low": "",
        "high": "",
        "n": "",
    }
    assert len(lines) == count_numbers(metrics)


async def test_every_figure_by_patterns_or_by_a_judge_carries_its_warning_in_the_tables(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["stages"]["rl_cai"]["method"] = "patterns"
    metrics["contest"] = contest(["helpful", "rl_cai"], trusted=False)
    share = rate(3, 300).to_json()
    judged = {"refused": share, "trusted": False}
    metrics["harmfulness"] = {
        "rl_cai": {**judged, "greedy": share, "against_truth": {"error": share}}
    }
    metrics["verdicts"] = {
        "rl_cai": {**judged, "method": "judge", "over_refusal": share, "trusted": None}
    }
    await write_run(tmp_path / "run", metrics)

    write_figures([tmp_path / "run"], tmp_path)

    stages = read_table(tmp_path / "stages.csv")
    methods = {(one["stage"], one["method"]) for one in stages}
    assert methods == {("helpful", "truth"), ("sl_cai", "truth"), ("rl_cai", "patterns")}
    wins = read_table(tmp_path / "wins.csv")
    assert (wins[0]["a"], wins[0]["b"], wins[0]["n"]) == ("rl_cai", "helpful", "400")
    assert {one["figure"] for one in wins} == {"rate", "length_controlled"}
    harm = read_table(tmp_path / "harmfulness.csv")
    assert [one["figure"] for one in harm] == ["greedy", "truth/error", "refused"]
    assert {one["trusted"] for one in wins + harm} == {"false"}
    (refusals, refused) = read_table(tmp_path / "verdicts.csv")
    assert (refusals["figure"], refusals["method"]) == ("over_refusal", "judge")
    assert (refused["figure"], refused["trusted"]) == ("refused", "")


async def test_training_is_one_figure_a_line(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path / "run")

    write_figures([tmp_path / "run"], tmp_path)

    first = read_table(tmp_path / "training.csv")[:2]
    assert [(line["model"], line["step"], line["figure"]) for line in first] == [
        ("rl_cai", "0.0", "reward"),
        ("rl_cai", "0.0", "kl"),
    ]


async def test_rl_of_every_iteration_is_drawn_and_in_the_table(tmp_path: Path, write_run: WriteRun):
    run = tmp_path / "run"
    await write_run(run)
    (run / "recipe.yaml").write_text("iterations: 2\n")
    log = (run / "models" / "rl_cai" / "training_log.jsonl").read_bytes()
    for iteration in (1, 2):
        folder = run / "models" / f"iteration-{iteration}" / "rl_cai"
        folder.mkdir(parents=True)
        (folder / "training_log.jsonl").write_bytes(log)

    plates = plates_of([load_run(run)])
    write_figures([run], tmp_path)

    titles = {plate.name: plate.title for plate in plates if plate.name.startswith("training")}
    assert titles == {
        "training": "RL training",
        "training-iteration-1": "RL training, iteration 1",
    }
    models = {line["model"] for line in read_table(tmp_path / "training.csv")}
    assert models == {"rl_cai", "iteration-1/rl_cai"}


def test_a_panel_with_intervals_keeps_its_scale_and_tells_them():
    constant = [(1.0, 0.0), (2.0, 0.0)]
    band = ([constant], [[(1.0, 0.194), (2.0, 0.1)]])
    plates = [
        Plate("one", "One", "", "", curves([Panel("share that preaches", [constant], bands)], "s"))
        for bands in (None, band)
    ]

    without, drawn = (ticks_of(svg_file(plate)) for plate in plates)

    assert without == ["0"]
    assert {"0.00", "0.10"} <= set(drawn)
    told = alts.curves([Panel("share that preaches", [constant], band)], [""])
    assert "begins at 0.00 (0.00 to 0.19) and ends at 0.00 (0.00 to 0.10)" in told


def ticks_of(drawn: bytes) -> list[str]:
    """The words of the ticks on the y axis of the only panel."""
    axis = next(
        part
        for part in ElementTree.fromstring(drawn).iter()
        if part.get("id") == "matplotlib.axis_2"
    )
    return [text.strip() for text in axis.itertext() if text.strip()]


async def test_two_runs_give_their_differences_with_intervals(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    await write_run(tmp_path / "a")
    metrics["stages"]["rl_cai"]["harmful_compliance"] = rate(60, 300).to_json()
    await write_run(tmp_path / "b", metrics)

    write_figures([tmp_path / "a", tmp_path / "b"], tmp_path)

    lines = read_table(tmp_path / "compared.csv")
    moved = next(one for one in lines if one["group"] == "RL-CAI")
    assert moved["figure"] == "Harmful compliance"
    assert float(moved["change_value"]) == pytest.approx(0.17)
    assert 0 < float(moved["change_low"]) < 0.17 < float(moved["change_high"])
    assert (tmp_path / "A-metrics.json").is_file()
    assert (tmp_path / "harm.png").is_file()


async def test_elo_points_from_another_zero_are_not_subtracted(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "rl_cai"], trusted=False)
    await write_run(tmp_path / "a", metrics)
    metrics["contest"] = contest(["sl_cai", "rl_cai"])
    await write_run(tmp_path / "b", metrics)

    write_figures([tmp_path / "a", tmp_path / "b"], tmp_path)

    compared = read_table(tmp_path / "compared.csv")
    lines = [one for one in compared if one["group"] == "Elo points, harmlessness"]
    assert [one["change_value"] for one in lines] == [""] * 3
    assert lines[0]["remarks"] == "A not trustworthy; 0 is Helpful-only in A, SL-CAI in B"
    assert not (tmp_path / "plane.svg").exists()
    assert {one["trusted"] for one in read_table(tmp_path / "A-elo.csv")} == {"false"}
    assert {one["trusted"] for one in read_table(tmp_path / "B-elo.csv")} == {"true"}


@pytest.mark.parametrize("name", ["$\\frac{1", 'a & <b> "c"', "模型 🤖", "W" * 200, "a\x00b\nc"])
def test_a_name_is_drawn_as_it_is_written_and_never_as_a_formula(name: str):
    plate = plate_of(name)

    page, file = inline_svg(plate), svg_file(plate)

    assert "<title>told</title>" in page
    drawn = ElementTree.fromstring(file)
    words = {text.strip() for text in drawn.itertext()}
    assert {name, f"{name[:35]}…", "a b c"} & words


def test_a_figure_of_the_page_takes_the_pages_colours_and_a_file_its_own():
    plate = plate_of("theft")

    page, file = inline_svg(plate), svg_file(plate).decode()

    assert "var(--first)" in page
    assert IN_FILE.first in file
    assert not {colour for colour in vars(ON_PAGE).values() if colour in page + file}


def test_a_figure_has_the_same_bytes_each_time():
    assert svg_file(plate_of("theft")) == svg_file(plate_of("theft"))


def plate_of(name: str) -> Plate:
    draw = dots([name], [Column("share", [[rate(3, 10), rate(5, 10)]])], 0.0)
    return Plate("one", "One", "told", "caption", draw, (6.8, 2))


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def count_numbers(content: Any) -> int:
    """Numbers of JSON, where a figure with an interval counts once."""
    if isinstance(content, dict):
        whole = {"value", "low", "high", "n"} <= set(content)
        return 1 if whole else sum(map(count_numbers, content.values()))
    if isinstance(content, list):
        return sum(map(count_numbers, content))
    return int(isinstance(json.loads(json.dumps(content)), int | float))
