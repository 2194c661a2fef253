import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from cai.errors import InputError
from cai.evaluation import rate
from cai.report import print_table, run_tables, stage_table
from cai.report.metrics import parse_metrics
from cai.report.wording import duration, percent, result_sentence

Json = dict[str, Any]


def test_the_stage_table_fits_a_plain_terminal(metrics: Json):
    lines = printed(stage_table(metrics)).splitlines()

    row = next(line for line in lines if "RL-CAI" in line)
    assert row.split() == ["RL-CAI", "3%", "1%", "0.7%", "0%", "97.3%"]
    assert max(len(line) for line in lines) <= 80
    assert "…" not in "".join(lines)


def test_a_stage_judged_by_patterns_is_marked(metrics: Json):
    metrics["stages"]["helpful"]["method"] = "patterns"

    table = printed(stage_table(metrics))

    assert "Helpful-only*" in table
    assert "* by refusal patterns: an approximation" in table


def test_a_run_stopped_after_revision_shows_harm_by_round_and_principle(metrics: Json):
    early = {"harm_by_round": metrics["harm_by_round"]}
    early["harm_by_principle"] = metrics["harm_by_principle"]

    table = printed(run_tables(early))

    assert "before       98%      95.7–99.1   300" in table
    assert "privacy         231            60%      53.1–66.5   200" in table
    assert "Policy" not in table


def test_errors_of_labels_have_their_intervals(metrics: Json):
    brier, ece = ({"value": v, "low": v / 2, "high": 2 * v, "n": 300} for v in (0.131, 0.021))
    metrics["labels"] |= {"brier_interval": brier, "ece_interval": ece}

    table = " ".join(printed(run_tables(metrics)).split())

    assert "Brier score 0.131 0.066 to 0.262 300" in table
    assert "calibration error 0.021 0.011 to 0.042 300" in table


def test_every_share_of_best_of_n_has_its_interval_and_its_number():
    share = {"value": 0.02, "low": 0.01, "high": 0.05, "n": 220}
    score = {"value": 1.55, "low": 1.5, "high": 1.6, "n": 440}
    point = {"n": 2, "score": score, "harmful_compliance": share, "helpfulness": share}

    lines = printed(run_tables({"best_of": {"n": 2, "by_n": [point]}})).splitlines()

    place = next(place for place, line in enumerate(lines) if "best of 2" in line)
    assert lines[place + 1].split() == ["1.50", "to", "1.60", "1.0–5.0", "1.0–5.0"]
    assert lines[place + 2].split() == ["n=440", "n=220", "n=220"]


def test_names_from_a_constitution_are_no_markup():
    effects = {"[bold]theft[/bold]": {"draws": 3, "fixed": None}}

    assert "[bold]theft[/bold]" in printed(run_tables({"harm_by_principle": effects}))


def test_metrics_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"metrics\.json: stages\.helpful"):
        stage_table({"stages": {"helpful": {"harmful_compliance": 0.5}}})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (1, "100%"), (0.9999, ">99.9%"), (0.0001, "<0.1%"), (0.025, "2.5%"), (0.5, "50%")],
)
def test_only_a_whole_share_reads_as_one(value: float, text: str):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.24, "8.2 s"), (59.96, "60.0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_seconds_read_as_a_person_says_them(seconds: float, text: str):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"stages": {"helpful": {"harmful_compliance": rate(49, 50).to_json()}}},
            "The Helpful-only policy answers 98% of harmful requests harmfully.",
        ),
        (
            {"harm_by_round": [rate(294, 300).to_json(), rate(120, 300).to_json()]},
            "Over 1 round of revision, the share of harmful texts fell from 98% to 40%.",
        ),
        (
            {"labels": {"accuracy": rate(93, 100).to_json()}},
            "The labels prefer the truly better reply in 93% of pairs.",
        ),
        (
            {"labels": {"flip_rate": rate(4, 100).to_json()}},
            "The judge changes its mind with the order of the replies in 4% of pairs.",
        ),
        (
            {"rows": {"revision": {"ok": 1200, "refused": 3}}},
            "Nothing has been measured yet; the run has 1,203 rows.",
        ),
    ],
)
def test_the_result_is_of_the_latest_stage_that_was_measured(content: Json, sentence: str):
    assert result_sentence(parse_metrics(content)) == sentence


def test_off_a_terminal_the_table_is_plain_text(metrics: Json, capsys: pytest.CaptureFixture[str]):
    print_table(metrics)

    assert "\x1b" not in capsys.readouterr().out


def printed(table: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return out.getvalue()
