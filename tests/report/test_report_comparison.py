import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cai.constitution.difference import FieldChange
from cai.evaluation import Rate, rate
from cai.report import write_comparison
from cai.report.comparison import changed_principles, comparison_sentence
from cai.report.data import ReportData
from cai.report.load import load_run
from cai.report.metrics import parse_metrics
from cai.report.plates import plates_of
from cai.report.side_by_side import groups_of

WriteRun = Callable[..., Awaitable[None]]
Json = dict[str, Any]


async def test_two_runs_are_laid_side_by_side(tmp_path: Path, write_run: WriteRun, metrics: Json):
    metrics["stages"]["rl_cai"]["harmful_compliance"] = rate(60, 300).to_json()
    await write_run(tmp_path / "a")
    await write_run(tmp_path / "b", metrics)

    page = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "out.html").read_text()

    assert "RL-CAI&#39;s harmful compliance rose from 3% to 20%." in page
    assert '<span class="value">+17.0</span>' in page


async def test_every_figure_of_two_runs_stands_in_its_own_unit(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "rl_cai"])
    metrics["style"] = {"rl_cai": {"repetition": rate(3, 1000).to_json()}}
    metrics["calls"]["cost"] = 0.0004
    await write_run(tmp_path / "a", metrics)
    metrics["style"] = {"rl_cai": {"repetition": rate(30, 1000).to_json()}}
    metrics["labels"] |= {"accuracy": rate(150, 300).to_json(), "brier": 0.25}
    metrics["contest"]["criteria"]["harmlessness"]["elo"]["rl_cai"] |= {"value": 200, "high": 230}
    metrics["calls"] |= {"cost": 0.0009, "made": 9_000}
    metrics["seconds"]["rl"] = 200.0
    await write_run(tmp_path / "b", metrics)

    lines = lines_of(write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "out.html"))

    assert lines["Brier score"] == "0.131 0.250 +0.119"
    assert lines["Accuracy"].startswith("93% 89.5–95.4 n = 300 50%")
    assert "−43.0 points −49.1 to −36.4" in lines["Accuracy"]
    assert lines["repetition"].startswith("0.003 0.001 to 0.009 n = 1,000 0.030 ")
    assert " +0.027 +0.0" in lines["repetition"]
    assert lines["RL-CAI"].startswith("191 166 to 216 n = 400 200 166 to 230 n = 400 +9 ")
    assert lines["Dollars"] == "$0.0004 $0.0009 +$0.0005"
    assert lines["Calls made"] == "9,120 9,000 −120"
    assert lines["rl"] == "1 min 15 s 3 min 20 s +2 min 5 s"
    assert lines["sft"] == "1 min 1 s 1 min 1 s 0.0 s"


async def test_figures_that_were_measured_in_two_ways_are_not_subtracted(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    await write_run(tmp_path / "a", metrics)
    metrics["harm_method"] = metrics["stages"]["rl_cai"]["method"] = "patterns"
    await write_run(tmp_path / "b", metrics)

    groups = groups_of(load_run(tmp_path / "a"), load_run(tmp_path / "b"))

    apart = {one.title: one.remarks for one in groups if one.lines[0].moved is None}
    assert apart == {
        "RL-CAI": ("B by patterns",),
        "Harm by revision round": ("B by patterns",),
    }


@pytest.mark.parametrize(
    ("theirs", "remark"),
    [
        (("openai:judge", "grade"), "judged by microworld in A, openai:judge in B"),
        (("microworld", "rating"), "asked by grade in A, rating in B"),
        (("microworld", "grade", "others"), "asked other questions in A than in B"),
    ],
    ids=["another judge", "another scale", "other questions"],
)
def test_what_two_judges_say_is_not_subtracted(
    metrics: Json,
    contest: Callable[..., Json],
    asked: Callable[..., Json],
    theirs: tuple[str, ...],
    remark: str,
):
    a, b = (judged(metrics, contest, one) for one in (asked("microworld", "grade"), asked(*theirs)))

    same, apart = groups_of(a, a), groups_of(a, b)

    titles = ("RL-CAI, by the judge", "Elo points, harmlessness", "Absolute harmfulness, 0 to 4")
    for title in titles:
        of_judge = next(one for one in apart if one.title == title)
        assert remark in of_judge.remarks
        assert [line.moved for line in of_judge.lines] == [None] * len(of_judge.lines)
        alike = next(one for one in same if one.title == title)
        assert all(line.moved is not None for line in alike.lines)
    assert "plane" in [plate.name for plate in plates_of([a, a])]
    assert "plane" not in [plate.name for plate in plates_of([a, b])]


@pytest.mark.parametrize(
    ("zero", "remark"),
    [
        ("other weights", "0 is Helpful-only, another model in A than in B"),
        ("", "B does not tell which model stands at 0"),
    ],
    ids=["other weights", "a run of before it was kept"],
)
def test_elo_points_over_another_model_of_the_same_name_are_not_subtracted(
    metrics: Json,
    contest: Callable[..., Json],
    asked: Callable[..., Json],
    zero: str,
    remark: str,
):
    a, b = (judged(metrics, contest, asked("microworld")) for _ in range(2))
    found = b.metrics.contest
    assert found is not None
    other = b.metrics.model_copy(update={"contest": found.model_copy(update={"zero": zero})})

    groups = groups_of(a, replace(b, metrics=other))

    elo = next(one for one in groups if one.title == "Elo points, harmlessness")
    assert elo.remarks == (remark,)
    assert [line.moved for line in elo.lines] == [None, None]


def test_judges_of_runs_that_have_not_kept_who_judged_are_not_called_the_same(
    metrics: Json, contest: Callable[..., Json]
):
    before = judged(metrics, contest, None)

    groups = groups_of(before, before)

    (harm,) = (one for one in groups if one.title == "Absolute harmfulness, 0 to 4")
    assert harm.remarks == ("A and B do not tell who judged",)
    assert harm.lines[0].moved is None


def judged(metrics: Json, contest: Callable[..., Json], asked: Json | None) -> ReportData:
    """A run whose judge was asked about its policies in all three ways."""
    found = contest(["helpful", "rl_cai"])
    for one in found["criteria"].values():
        one["asked"] = asked
    share = rate(30, 300).to_json()
    of_replies = {"rl_cai": {"harmful_compliance": share, "asked": asked, "trusted": True}}
    harm = {"rl_cai": {"greedy": share, "asked": asked, "trusted": True}}
    content = {**metrics, "contest": found, "verdicts": of_replies, "harmfulness": harm}
    return ReportData("run", parse_metrics(content))


def test_win_rates_best_of_n_contamination_and_sided_flips_of_two_runs_are_compared(
    metrics: Json, contest: Callable[..., Json]
):
    metrics["labels"]["sided_flip_rate"] = rate(9, 200).to_json()
    point = {"n": 4, "helpfulness": rate(90, 100).to_json(), "kl": rate(60, 100).to_json()}
    metrics["best_of"] = {"by_n": [point], "policies": {"rl_cai": {"kl": rate(2, 9).to_json()}}}
    share = {"training_prompts": 900, "evaluation_prompts": 500, "words": 8, "shared": 4}
    names = ["helpful", "rl_cai"]
    a = metrics | {"contest": contest(names), "contamination": share}
    b = metrics | {"contest": contest(names), "contamination": {**share, "words": 13, "shared": 9}}
    won = b["contest"]["criteria"]["harmlessness"]["wins"][0]
    won["rate"], b["contamination"]["unknown"] = rate(200, 400).to_json(), ["other"]

    groups = groups_of(*(ReportData("run", parse_metrics(one)) for one in (a, b)))

    lines = {(group.title, line.name): line for group in groups for line in group.lines}
    moved = lines["Win rates, harmlessness", "RL-CAI over Helpful-only"].moved
    assert isinstance(moved, Rate)
    assert moved.value == pytest.approx(-0.25) and moved.high < 0
    assert lines["Labels", "Order flips, near-ties left out"].a == rate(9, 200)
    assert lines["Best of N", "Best of 4: helpful"].b == rate(90, 100)
    assert lines["Best of N", "RL-CAI: KL from SL-CAI, nats"].b == rate(2, 9)
    trained_on = next(one for one in groups if one.title.startswith("Training prompts"))
    of_words = trained_on.lines[-1]
    assert of_words.name == "Of them, sharing 8 or 13 words in a row with one"
    assert (of_words.a, of_words.b, of_words.moved) == (4, 9, None)
    assert trained_on.lines[1].moved == 0
    assert trained_on.remarks == ("B not compared for all models, as no data of some are known",)


def lines_of(page: Path) -> dict[str, str]:
    """The lines of the tables by their names: all that stands in them, as words."""
    found: dict[str, str] = {}
    for line in re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", page.read_text(), re.DOTALL):
        name, _, cells = line.partition("</th>")
        name = re.sub("<span.*", "", name).strip()
        found.setdefault(name, " ".join(re.sub("<[^>]*>", " ", cells).split()))
    return found


async def test_text_of_a_changed_principle_stays_text(
    tmp_path: Path, write_run: WriteRun, metrics: Json, hostile: str
):
    metrics["run"]["constitution"]["principles"]["theft"]["critique"] = hostile
    await write_run(tmp_path / "a")
    await write_run(tmp_path / "b", metrics)

    page = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "out.html").read_text()

    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


def test_principles_are_added_removed_and_changed_by_id(metrics: Json):
    a = parse_metrics(metrics)
    principles = metrics["run"]["constitution"]["principles"]
    principles["kindness"] = {"critique": "Is it kind?"}
    principles["theft"] = {"critique": "Does it help to steal?"}
    del principles["privacy"]

    changes = changed_principles(a, parse_metrics(metrics))

    assert changes is not None
    assert {one.id: one.change for one in changes} == {
        "theft": "reworded",
        "kindness": "added",
        "privacy": "removed",
    }
    theft = next(one for one in changes if one.id == "theft")
    said = FieldChange("critique", "Is there theft?", "Does it help to steal?")
    assert theft.fields == (said,)


def test_constitutions_that_were_not_kept_are_not_called_equal(metrics: Json):
    a = parse_metrics(metrics)
    del metrics["run"]["constitution"]["principles"]

    assert changed_principles(a, parse_metrics(metrics)) is None


def test_a_change_within_the_intervals_is_not_called_one(metrics: Json):
    a = parse_metrics(metrics)
    metrics["stages"]["rl_cai"]["harmful_compliance"] = rate(11, 300).to_json()

    sentence = comparison_sentence(a, parse_metrics(metrics))

    assert "did not change measurably (3%, then 3.7%)" in sentence


def test_runs_are_compared_by_what_both_measured_in_the_same_way(metrics: Json):
    a = parse_metrics(metrics)
    metrics["stages"]["rl_cai"]["method"] = "patterns"
    one_stage_less, b = parse_metrics(metrics), None
    metrics["harm_method"] = "patterns"
    for stage in metrics["stages"].values():
        stage["method"] = "patterns"
    b = parse_metrics(metrics)

    assert comparison_sentence(a, one_stage_less).startswith("From A to B, SL-CAI's harmful comp")
    assert comparison_sentence(a, b).endswith("the same figures, but not in the same way.")
    assert "RL-CAI's harmful compliance (by refusal patterns) did" in comparison_sentence(b, b)


def test_runs_without_a_common_figure_say_so(metrics: Json):
    assert "nothing in common" in comparison_sentence(parse_metrics(metrics), parse_metrics({}))
