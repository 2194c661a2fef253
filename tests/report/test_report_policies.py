from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cai.evaluation import rate
from cai.report import print_table, write_comparison, write_figures, write_report
from cai.report.data import ReportData
from cai.report.drawing import inline_svg, svg_file
from cai.report.load import load_run
from cai.report.metrics import parse_metrics
from cai.report.plates import plates_of

WriteRun = Callable[..., Awaitable[None]]
Json = dict[str, Any]


async def test_a_contest_is_shown_on_the_plane_and_in_tables(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "sl_cai", "rl_cai"])
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    helpful, harmless = "−40 (−65 to −15, n = 400)", "382 (357 to 407, n = 400)"
    assert f"RL-CAI helpfulness {helpful}, harmlessness {harmless}" in page
    assert '<span class="value">191</span> <span class="range">166 to 216</span>' in page
    assert "SL-CAI over Helpful-only" in page
    assert "760 ok, 30 refused, 10 unparsed (5% without a verdict)" in page
    assert "1,600 calls, 240,000 tokens, cost $0.42" in page


async def test_a_contest_whose_judge_failed_is_marked(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "rl_cai"], trusted=False)
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert '<span class="tag harmful">not trustworthy</span>' in page
    mark = "Not trustworthy, as the judge failed its own gate: harmlessness, helpfulness."
    assert f"<b>{mark}</b>" in page


@pytest.mark.parametrize(
    ("trusted", "mark"),
    [
        (True, ""),
        (False, "Not trustworthy, as the judge failed its own gate: RL-CAI."),
        (None, "The judge was not checked: RL-CAI."),
    ],
)
async def test_a_picture_of_harmfulness_carries_what_its_judge_is_worth(
    tmp_path: Path, write_run: WriteRun, metrics: Json, trusted: bool | None, mark: str
):
    score = {"value": 3.1, "low": 2.9, "high": 3.3, "n": 200}
    metrics["harmfulness"] = {"rl_cai": {"greedy": score, "trusted": trusted}}
    await write_run(tmp_path / "run", metrics)

    (plate,) = (one for one in plates_of([load_run(tmp_path / "run")]) if one.name == "harmfulness")

    assert plate.mark == mark
    assert (mark in svg_file(plate).decode()) and (mark in inline_svg(plate))
    assert (f"<b>{mark}</b>" in write_report(tmp_path / "run").read_text()) is bool(mark)


def test_a_picture_of_many_models_tells_the_first_with_intervals_and_counts_the_others(
    metrics: Json,
):
    score = {"value": 3.1, "low": 2.9, "high": 3.3, "n": 200}
    metrics["harmfulness"] = {f"model-{n}": {"greedy": score} for n in range(50)}

    run = ReportData("run", parse_metrics(metrics))
    (plate,) = (one for one in plates_of([run]) if one.name == "harmfulness")

    assert "model-11 3.10 (2.90 to 3.30, n = 200), and 38 more in the table" in plate.alt
    assert plate.mark.endswith("model-11 and 38 more.")
    assert "The first 40 of 50 are shown." in plate.caption


async def test_a_picture_of_two_runs_says_whose_judge_is_not_to_be_trusted(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    for run, trusted in (("a", None), ("b", False)):
        metrics["contest"] = contest(["helpful", "rl_cai"], trusted=trusted)
        await write_run(tmp_path / run, metrics)

    plane = plates_of([load_run(tmp_path / "a"), load_run(tmp_path / "b")])[0]

    both = "harmlessness, helpfulness"
    failed = f"Not trustworthy, as the judge failed its own gate: B {both}."
    assert plane.mark == f"{failed} The judge was not checked: A {both}."


async def test_a_contest_is_held_against_the_truth_where_it_is_known(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = {"judge": "microworld", **contest(["helpful", "rl_cai"])}
    found = metrics["contest"]["criteria"]["harmlessness"]
    found["true_elo"] = {"rl_cai": {"value": 201.4, "low": 150, "high": 250, "n": 400}}
    found["against_truth"] = {"n": 400, "accuracy": rate(380, 400).to_json()}
    found["notes"] = ["sl_cai was compared with nobody"]
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert "by the judge microworld" in page
    assert '<span class="value">201</span>' in page
    assert "95% of the pairs that have one (92.4–96.7; 400 prompts)" in page
    assert "sl_cai was compared with nobody" in page


async def test_a_contest_by_one_criterion_has_no_plane(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "rl_cai"])
    del metrics["contest"]["criteria"]["helpfulness"]
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert 'id="plane-' not in page
    assert "Harmlessness" in page


async def test_harmfulness_style_and_contamination_are_shown(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    score = {"value": 3.1, "low": 2.9, "high": 3.3, "n": 200}
    metrics["harmfulness"] = {
        "helpful": {"greedy": score, "sampled": None, "rows": {"ok": 200}, "trusted": None}
    }
    phrase = {"text": "you are safe with me", "value": 0.4, "low": 0.3, "high": 0.5, "n": 100}
    metrics["style"] = {
        "rl_cai": {"boilerplate": rate(3, 100).to_json(), "distinct_2": 0.25, "phrases": [phrase]}
    }
    shared = {
        "identical": 1,
        "words": 13,
        "training_prompts": 900,
        "evaluation_prompts": 500,
        "shared": 4,
    }
    unknown = {"unknown": ["Qwen/Qwen3-8B", "other"]}
    metrics["contamination"] = shared | unknown | {"by_set": {"xstest": {"shared": 4}}}
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert '<span class="value">3.10</span> <span class="range">2.90 to 3.30</span>' in page
    said = "to 40% of the prompts (30.0–50.0, n = 100)"
    assert f'you are safe with me <span class="range">{said}</span>' in page
    assert "4 of 500 evaluation prompts share 13 words in a row" in page
    assert "1 are the same prompt" in page
    assert "as no data sets are known that they learned from: Qwen/Qwen3-8B, other." in page


async def test_names_and_words_of_judged_models_stay_text(
    tmp_path: Path,
    write_run: WriteRun,
    metrics: Json,
    contest: Callable[..., Json],
    hostile: str,
):
    score = {"greedy": {"value": 1, "low": 1, "high": 1, "n": 9}, "why": hostile}
    phrases = [{"text": hostile, **rate(5, 10).to_json()}]
    metrics["contest"] = contest(["helpful", hostile])
    metrics["contest"]["criteria"][hostile] = {"trusted": False, "why": hostile}
    metrics["harmfulness"] = {hostile: score}
    metrics["style"] = {hostile: {hostile: 0.5, "phrases": phrases}}
    metrics["contamination"] = {"by_set": {hostile: {hostile: hostile}}, "unknown": [hostile]}
    await write_run(tmp_path / "a", metrics)
    await write_run(tmp_path / "b", metrics)

    page = write_report(tmp_path / "a").read_text()
    both = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "both.html").read_text()

    assert "&lt;script&gt;" in page
    assert "&lt;script&gt;" in both
    assert "<script" not in page + both
    assert "<img" not in page + both


async def test_all_headline_figures_of_two_runs_are_compared(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "rl_cai"])
    await write_run(tmp_path / "a", metrics)
    await write_run(tmp_path / "b", metrics)

    page = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "both.html").read_text()

    titles = ("RL-CAI", "Elo points, harmlessness", "Harm by revision round", "Labels")
    for title in (*titles, "Preference model", "Calls and their cost", "Seconds by stage"):
        assert f"<h3>{title}</h3>" in page
    for figure in ("plane", "harm", "training", "calibration", "time"):
        assert f'id="{figure}-' in page


async def test_the_first_sentence_tells_of_the_run_s_last_policy_and_of_no_rival(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    metrics["stages"]["rival"] = metrics["stages"]["helpful"]
    metrics["stages"]["dpo_1"] = metrics["stages"]["sl_cai"]
    await write_run(tmp_path / "a", metrics)
    await write_run(tmp_path / "b", metrics)

    page = write_report(tmp_path / "a").read_text()
    both = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "both.html").read_text()

    assert "From Helpful-only to DPO, iteration 1, harmful compliance fell" in page
    assert "From A to B, DPO, iteration 1&#39;s harmful compliance" in both


async def test_two_runs_say_whose_judge_is_not_to_be_trusted(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    metrics["contest"] = contest(["helpful", "rl_cai"], trusted=None)
    await write_run(tmp_path / "a", metrics)
    metrics["contest"] = contest(["helpful", "rl_cai"], trusted=False)
    metrics["harmfulness"] = {"rl_cai": {"greedy": rate(1, 9).to_json(), "trusted": False}}
    await write_run(tmp_path / "b", metrics)

    page = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "both.html").read_text()

    assert page.count('<span class="tag harmful">A judge not checked</span>') == 4
    assert page.count('<span class="tag harmful">B not trustworthy</span>') == 5


async def test_a_judge_s_verdicts_are_shown_with_how_far_they_agree_and_what_they_cost(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    metrics["verdicts"] = {"rl_cai": verdicts_of_a_judge()}
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert "What the judge says that replies are" in page
    assert page.count('<span class="value">87%</span>') == 1
    assert "600 ok, 3 unparsed" in page
    assert "1,803 calls, 9,000 tokens, cost $0.20" in page
    assert "was not measured on such questions" in page


async def test_a_judge_s_verdicts_on_two_runs_are_laid_side_by_side(
    tmp_path: Path, write_run: WriteRun, metrics: Json, asked: Callable[..., Json]
):
    verdicts = {**verdicts_of_a_judge(), "asked": asked("microworld")}
    await write_run(tmp_path / "a", {**metrics, "verdicts": {"rl_cai": verdicts}})
    fewer = {**verdicts, "harmful_compliance": rate(3, 300).to_json()}
    await write_run(tmp_path / "b", {**metrics, "verdicts": {"rl_cai": fewer}})

    page = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "out.html").read_text()

    assert "RL-CAI, by the judge" in page
    assert '<span class="value">−9.0</span>' in page
    assert "A and B judge not checked" in page


def test_a_judge_s_verdicts_are_in_the_terminal_too(capsys: pytest.CaptureFixture[str]):
    print_table({"verdicts": {"rl_cai": verdicts_of_a_judge()}})

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "agreement 87%" in lines
    assert "no verdict 3 of 603" in lines
    assert "judge trusted not known" in lines


def of_two_sets(metrics: Json) -> Json:
    """Metrics of one policy with borderline prompts in a set of their own."""
    asked = {"borderline_refusal": rate(30, 250).to_json(), "evasive": rate(7, 250).to_json()}
    stage = metrics["stages"]["rl_cai"] | asked
    stage["by_set"] = {"xstest": asked, "everyday": {"over_refusal": rate(2, 300).to_json()}}
    return {"stages": {"rl_cai": stage}}


def test_refused_borderline_prompts_and_each_prompt_set_are_in_the_terminal(
    metrics: Json, capsys: pytest.CaptureFixture[str]
):
    print_table(metrics)
    before = capsys.readouterr().out
    print_table(of_two_sets(metrics))

    told = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert {"borderline refused 12%", "over-refusal 0.7%"} <= set(lines)
    assert {"xstest 8.5–16.6", "everyday 0.2–2.4"} <= set(lines)
    assert max(map(len, told.splitlines())) <= 80
    assert "borderline" not in before and "prompt set" not in before


async def test_refused_borderline_prompts_and_each_prompt_set_are_on_the_page_and_in_csv(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    await write_run(tmp_path / "one", metrics)
    await write_run(tmp_path / "two", of_two_sets(metrics))

    before = write_report(tmp_path / "one").read_text()
    page = write_report(tmp_path / "two").read_text()
    write_figures([tmp_path / "two"], tmp_path / "figures")

    assert "By prompt set" in page and "Borderline refused<small>less is better" in page
    assert '<th scope="row">xstest</th><td>Borderline refused</td>' in page
    assert "By prompt set" not in before and "Borderline refused" not in before
    lines = (tmp_path / "figures" / "stages.csv").read_text().splitlines()
    shares = {tuple(line.split(",")[:3]) for line in lines}
    assert ("rl_cai", "borderline_refused", "0.12") in shares
    assert ("rl_cai", "borderline_refused/xstest", "0.12") in shares
    assert ("rl_cai", "evasive/xstest", "0.028") in shares


def verdicts_of_a_judge() -> Json:
    return {
        "harmful_compliance": rate(30, 300).to_json(),
        "method": "judge",
        "agreement": {"with": "truth", **rate(522, 600).to_json()},
        "rows": {"ok": 600, "unparsed": 3},
        "calls": 1803,
        "tokens": 9000,
        "dollars": 0.2,
        "trusted": None,
        "why": "was not measured on such questions",
    }


async def test_a_judge_s_refusals_and_its_distance_from_the_truth_are_told(
    tmp_path: Path, write_run: WriteRun, metrics: Json, capsys: pytest.CaptureFixture[str]
):
    ends = {"refused": rate(30, 90).to_json(), "unparsed": rate(9, 90).to_json()}
    score = {"value": 3.1, "low": 2.9, "high": 3.3, "n": 45}
    truth = {"greedy": {**score, "value": 2.75}, "error": {**score, "value": 0.35}}
    rows = {"rows": {"ok": 51, "refused": 49}}
    harm = {"greedy": score, **ends, **rows, "against_truth": truth}
    judged = {"harmfulness": {"rl_cai": harm}, "verdicts": {"rl_cai": {**ends, **rows}}}
    await write_run(tmp_path, metrics | judged)

    print_table(judged)
    page = write_report(tmp_path).read_text()

    told = "of those asked: refused 33.3% (24.5–43.6, n = 90), unparsed 10% (5.4–17.9, n = 90)"
    assert page.count(told) == 2
    assert "<th>Truth, greedy</th>" in page
    assert '<span class="value">2.75</span>' in page and '<span class="value">0.35</span>' in page
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("refused, of those asked 33.3% 24.5–43.6 n=90") == 2
    assert printed.count("unparsed, of those asked 10% 5.4–17.9 n=90") == 2
    assert "Truth, greedy 2.75 2.90 to 3.30 n=45" in printed and "no score 49 of 100" in printed


async def test_the_report_says_what_harmfulness_took_and_that_contamination_is_not_known(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    judged = {"rows": {"ok": 9}, "calls": 9, "tokens": 1234, "dollars": 0.5}
    metrics["harmfulness"] = {"rl_cai": judged}
    metrics["contamination"] = None
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert "9 calls, 1,234 tokens, cost $0.50" in page
    assert "Contamination: not known" in page


def test_what_a_judge_says_of_itself_is_no_markup(
    contest: Callable[..., Json], capsys: pytest.CaptureFixture[str]
):
    metrics = {
        "contest": contest(["helpful", "rl_cai"], trusted=False),
        "harmfulness": {"rl_cai": {"why": "it says [/x]"}},
        "verdicts": {"rl_cai": {"why": "it reads [/y]"}},
    }
    metrics["contest"]["criteria"]["harmlessness"]["why"] = "it wrote [/z]"
    metrics["contest"]["criteria"]["[/w]"] = {"trusted": False}

    print_table(metrics)

    out = capsys.readouterr().out
    assert all(f"[/{letter}]" in out for letter in "wxyz")
