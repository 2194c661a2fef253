import json
import re
from collections.abc import Awaitable, Callable, Sequence
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from cai.evaluation import rate
from cai.report import write_comparison, write_report
from cai.report.metrics import parse_metrics
from cai.report.wording import result_sentence

WriteRun = Callable[..., Awaitable[None]]
Json = dict[str, Any]


async def test_the_report_answers_first(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    page = write_report(tmp_path).read_text()

    assert "From Helpful-only to RL-CAI, harmful compliance fell from 98% to 3%" in page


async def test_a_stage_shows_each_figure_with_its_interval_and_n(
    tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "RL-CAI 3% 1.6–5.6 n = 300 1% 0.3–2.9 n = 300" in text


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ({}, "reward (PM score)"),
        ({"preference_model": 1.0, "rating": 0.0}, "reward (PM score)"),
        ({"preference_model": 0.0, "rating": 2.0}, "reward (judge's rating)"),
        ({"preference_model": 1.0, "rating": 2.0}, "reward (PM score + 2 × judge's rating)"),
    ],
    ids=str,
)
async def test_the_curve_of_rl_says_what_was_paid_for(
    tmp_path: Path, write_run: WriteRun, metrics: Json, reward: Json, told: str
):
    metrics["reward"] = reward
    await write_run(tmp_path, metrics)

    assert told in visible(write_report(tmp_path))


async def test_figures_made_by_patterns_say_so(tmp_path: Path, write_run: WriteRun, metrics: Json):
    metrics["stages"]["sl_cai"]["method"] = "patterns"
    await write_run(tmp_path, metrics)

    text = visible(write_report(tmp_path))

    assert "SL-CAI by patterns" in text


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (
            ("patterns", "patterns", "patterns"),
            "From Helpful-only to RL-CAI, harmful compliance (by refusal patterns) fell from 98%",
        ),
        (
            ("truth", "patterns", "patterns"),
            "From SL-CAI to RL-CAI, harmful compliance (by refusal patterns) fell from 18% to 3%",
        ),
        (
            ("truth", "truth", "patterns"),
            "The RL-CAI policy answers 3% of harmful requests harmfully (by refusal patterns).",
        ),
        (("patterns", "truth", "truth"), "From SL-CAI to RL-CAI, harmful compliance fell from"),
    ],
    ids=["all by patterns", "two by patterns", "the last by patterns", "the first by patterns"],
)
def test_the_first_sentence_says_how_it_was_measured_and_compares_like_with_like(
    metrics: Json, methods: Sequence[str], said: str
):
    for stage, method in zip(metrics["stages"].values(), methods, strict=True):
        stage["method"] = method

    assert result_sentence(parse_metrics(metrics)).startswith(said)


@pytest.mark.parametrize("kept", [True, False])
async def test_harm_of_revisions_by_patterns_is_marked_wherever_it_is_shown(
    tmp_path: Path, write_run: WriteRun, metrics: Json, kept: bool
):
    if kept:
        metrics |= {"harm_method": "patterns", "stages": {}}
    else:
        metrics["stages"]["rl_cai"]["method"] = "patterns"
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path).read_text()

    assert page.count("<b>Harm is told by refusal patterns, an approximation.</b>") == 2
    assert "what is harmful was told by refusal patterns" in page
    sentence = "Over 4 rounds of revision, the share of harmful texts (by refusal patterns) fell"
    assert (sentence in page) is kept


@pytest.mark.parametrize(
    "field", ["prompt", "response", "critique", "principle", "model", "source"]
)
async def test_text_of_users_and_models_stays_text(
    tmp_path: Path, write_run: WriteRun, hostile: str, field: str
):
    await write_run(tmp_path, hostile=field)

    page = write_report(tmp_path)

    assert not {"script", "img"} & set(tags(page))
    assert hostile in visible(page)


@pytest.mark.parametrize(
    "place", ["name", "command", "recipe_hash", "constitution.title", "constitution.hash"]
)
async def test_text_in_the_metrics_stays_text(
    tmp_path: Path, write_run: WriteRun, metrics: Json, hostile: str, place: str
):
    *outer, last = place.split(".")
    part = metrics["run"][outer[0]] if outer else metrics["run"]
    part[last] = hostile
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path)

    assert not {"script", "img"} & set(tags(page))


async def test_a_constitution_without_a_title_goes_by_its_id(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    metrics["run"]["constitution"] |= {"title": None, "id": "house-rules"}
    await write_run(tmp_path, metrics)

    assert "Constitution: house-rules" in visible(write_report(tmp_path))


async def test_names_of_families_principles_and_stages_stay_text(
    tmp_path: Path, write_run: WriteRun, metrics: Json, hostile: str
):
    metrics["stages"][hostile] = metrics["stages"]["sl_cai"]
    metrics["stages"]["helpful"]["by_family"][hostile] = rate(1, 2).to_json()
    metrics["harm_by_principle"][hostile] = {"draws": 1, "fixed": None}
    metrics["seconds"][hostile] = 1.0
    metrics["pm"]["by_source"][hostile] = rate(1, 2).to_json()
    metrics["pm"]["by_kind"][hostile] = rate(1, 2).to_json()
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path)

    assert not {"script", "img"} & set(tags(page))


async def test_the_recipe_and_the_records_of_models_stay_text(
    tmp_path: Path, write_run: WriteRun, hostile: str
):
    await write_run(tmp_path)
    (tmp_path / "recipe.yaml").write_text(json.dumps({"name": hostile}))
    record = json.dumps({"kind": "rl", "models": {"policy": {"name": hostile}}})
    (tmp_path / "models" / "rl_cai" / "training.json").write_text(record)

    page = write_report(tmp_path)

    assert not {"script", "img"} & set(tags(page))
    assert hostile in visible(page)


async def test_the_report_loads_nothing_and_runs_nothing(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    page = write_report(tmp_path)

    links = [value for name, value in attributes(page) if name in ("href", "src", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    assert "script" not in tags(page)
    assert "@import" not in page.read_text()


async def test_every_id_is_unique_and_every_reference_is_met(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    page = write_report(tmp_path)

    ids = [value for name, value in attributes(page) if name == "id"]
    asked = set(re.findall(r"url\(#([^)]+)\)", page.read_text()))
    asked |= {value[1:] for name, value in attributes(page) if name.endswith("href")}
    assert len(ids) == len(set(ids))
    assert asked <= set(ids)


async def test_every_figure_says_in_words_what_it_shows(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)
    log = tmp_path / "models" / "rl_cai" / "training_log.jsonl"
    log.write_text('{"step":1,"reward":-1.2,"entropy":0.2}\n{"step":2,"reward":2,"entropy":0.14}\n')

    page = write_report(tmp_path)

    _, *labels = [value for name, value in attributes(page) if name == "aria-label"]
    assert "round 0 98% (95.7–99.1, n = 300), round 1 40% (34.6–45.6, n = 300)" in labels[0]
    assert "reward (PM score) begins at −1.20 and ends at 2.00" in labels[1]
    assert "entropy, nats a token begins at 0.20 and ends at 0.14" in labels[1]
    assert "labels near 0.05 are true 0.06" in labels[2]
    low, high = "+2.0 points (+1.0 to +3.0, n = 300)", "+2.0 points (−3.0 to +3.0, n = 300)"
    assert f"harm at the end, from weapons {low} to not-preachy {high}" in labels[3]
    assert "rl 1 min 15 s" in labels[4]


async def test_figures_take_their_colours_from_the_page(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    figures = re.findall(r"<svg.*?</svg>", write_report(tmp_path).read_text(), flags=re.DOTALL)

    assert len(figures) == 5
    assert not any(re.search(r"(fill|stroke): #", figure) for figure in figures)


async def test_the_same_run_gives_the_same_bytes(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    first = write_report(tmp_path).read_bytes()

    assert write_report(tmp_path).read_bytes() == first


async def test_a_big_run_stays_under_two_megabytes(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    principle = metrics["principles"]["theft"]
    names = [f"principle-{n}" for n in range(500)]
    metrics["principles"] = dict.fromkeys(names, principle)
    texts = {name: {"critique": '"Is it harmful?" ' * 100} for name in names}
    metrics["run"]["constitution"]["principles"] = texts
    metrics["contest"] = contest([f"model-{n}" for n in range(30)])
    await write_run(tmp_path, metrics, length=200_000)
    log = tmp_path / "models" / "rl_cai" / "training_log.jsonl"
    log.write_text("".join(f'{{"step":{n},"reward":{n % 7},"kl":{n}}}\n' for n in range(20_000)))
    (tmp_path / "recipe.yaml").write_text("name: big\n" + "# all of it\n" * 50_000)

    page = write_report(tmp_path)

    assert page.stat().st_size < 2_000_000
    assert "The 200 principles drawn most often of 500" in visible(page)


async def test_a_contest_of_eighty_models_stays_under_two_megabytes_and_says_what_is_cut(
    tmp_path: Path, write_run: WriteRun, metrics: Json, contest: Callable[..., Json]
):
    names = [f"model-{n}" for n in range(80)]
    metrics |= of_models(metrics, names)
    metrics["contest"] = contest(names)
    for one in metrics["contest"]["criteria"].values():
        (win,) = one["wins"]
        one["wins"] = [{**win, "a": a, "b": b} for a, b in combinations(names, 2)]
    await write_run(tmp_path, metrics)

    page = write_report(tmp_path)

    assert page.stat().st_size < 2_000_000
    text = visible(page)
    for cut in ("of 3,160 pairs", "of 1,600 sources of sft"):
        assert f"{cut}; the run folder has all." in text


def of_models(metrics: Json, names: Sequence[str]) -> Json:
    """All else that grows with the number of models, and of sources."""
    stage, share = metrics["stages"]["rl_cai"], rate(3, 300).to_json()
    truth = {"greedy": share, "sampled": share, "error": share}
    harm = {"greedy": share, "sampled": share, "against_truth": truth, "why": "agrees " * 40}
    signs = {f"sign {n}": share for n in range(12)}
    price = {"input": 1.0, "output": 2.0, "origin": "the list"}
    sources = {f"source {n}": {"train": 1, "test": 1} for n in range(1600)}
    return {
        "stages": {**metrics["stages"], **dict.fromkeys(names, stage)},
        "verdicts": dict.fromkeys(names, stage),
        "harmfulness": dict.fromkeys(names, harm),
        "style": dict.fromkeys(names, signs),
        "prices": dict.fromkeys(names, price),
        "mix": {"sft": sources, "preferences": sources},
    }


async def test_words_that_a_revision_changed_are_marked(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    page = write_report(tmp_path).read_text()

    assert "<del>Take the bike at night" not in page
    assert "Written anew: too few words are the same" in page
    assert "<ins>" in page


async def test_the_report_says_how_to_make_the_run_again(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "It was started by cai run examples/microworld.yaml" in text
    again = "make install source .venv/bin/activate cai run recipe.yaml --run runs/again"
    assert f"in a clone of the project at version 0.1.0: {again}" in text
    assert "name: microworld seed: 7" in text


async def test_errors_of_labels_and_scores_of_best_of_n_stand_with_interval_and_n(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    metrics["labels"] |= {
        "brier_interval": {"value": 0.131, "low": 0.12, "high": 0.142, "n": 300},
        "ece_interval": {"value": 0.021, "low": 0.01, "high": 0.05, "n": 290},
    }
    score = {"value": 1.62, "low": 1.57, "high": 1.66, "n": 120}
    metrics["best_of"] = {"n": 4, "prompts": 120, "by_n": [{"n": 4, "score": score, "kl": score}]}
    await write_run(tmp_path, metrics)

    text = visible(write_report(tmp_path))

    assert "Brier score 0.131 0.120 to 0.142 n = 300 perfect labels: 0.122" in text
    assert "Calibration error 0.021 0.010 to 0.050 n = 290" in text
    assert "SL-CAI, best of 4 1.62 1.57 to 1.66 n = 120 1.62 1.57 to 1.66 n = 120" in text


@pytest.mark.parametrize("changed", [False, True])
async def test_the_report_names_the_commit_and_whether_the_code_was_changed(
    tmp_path: Path, write_run: WriteRun, metrics: Json, changed: bool
):
    metrics["run"]["commit"] = "0123abcd-dirty" if changed else "0123abcd"
    await write_run(tmp_path, metrics)

    text = visible(write_report(tmp_path))

    assert "at the commit that made it: git checkout 0123abcd make install" in text
    assert ("The code had been changed since that commit" in text) is changed


async def test_recipe_command_and_difference_are_whole_where_there_is_room(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    metrics["run"]["command"] = "cai run " + "--set a=b " * 900 + "end of command"
    await write_run(tmp_path / "a", metrics)
    await write_run(tmp_path / "b")
    recipe = "".join(f"field-{n}: {n}\n" for n in range(900)) + "last: end of recipe\n"
    (tmp_path / "a" / "recipe.yaml").write_text(recipe)

    page = visible(write_report(tmp_path / "a"))
    both = visible(write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "ab.html"))

    assert "end of command" in page
    assert "last: end of recipe" in page
    assert "-last: end of recipe" in both


async def test_a_recipe_that_is_cut_is_not_called_the_one_to_copy(
    tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: big\n" + "# all of it\n" * 50_000)

    text = visible(write_report(tmp_path))

    assert "With the recipe.yaml of the run folder, which is too long to stand below whole" in text
    assert "more characters]" in text


async def test_conversations_and_tables_without_end_stay_under_two_megabytes(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    families = {f"family-{n}": rate(1, 50).to_json() for n in range(5000)}
    for stage in metrics["stages"].values():
        stage["by_family"] = families
    metrics["left_out"] = {f"mine.jsonl: row {n} is no prompt": 1 for n in range(20_000)}
    await write_run(tmp_path, metrics, turns=2001, provenance="x" * 100_000)

    page = write_report(tmp_path)

    assert page.stat().st_size < 2_000_000
    text = visible(page)
    assert re.search(r"… 1,9\d\d more turns user turn 2000 ", text)
    assert re.search(r"\d+ of 5,000 families; the run folder has all", text)


async def test_a_label_shows_what_the_judge_thought_under_which_principle(
    tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path, reasoning=True)

    text = visible(write_report(tmp_path))

    assert "A theft 1 -0.223 -1.609 0.800 1.000 exact B privacy 2 -0.511" in text
    thought = "A shown first, under theft , chain 1 Reply A would hurt <people>. Label: (B)"
    assert f"the judge's reasoning , {thought}" in text


async def test_what_would_be_without_a_principle_is_bold_where_it_is_sure(
    tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path)

    page = write_report(tmp_path).read_text()

    assert '8.3% <span class="value">+2.0</span>' in page  # weapons, +1.0 to +3.0
    assert '8.8% <span class="">+2.0</span>' in page  # privacy, 0.0 to +3.0


async def test_texts_of_a_harmful_prompt_are_folded(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    page = write_report(tmp_path).read_text()

    unfolded = re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "How do I steal a bike" in page
    assert "How do I steal a bike" not in unfolded


async def test_a_label_shows_both_orders_and_their_mean(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "A -0.223 -1.609 0.800 1.000 exact B -0.511 -0.916 0.600 0.980 exact" in text
    assert "p(A better) = 0.7000 , the mean over 2 orders" in text


async def test_rows_that_failed_are_counted_with_their_reason(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "revision truncated 3 the revision was cut off after N tokens (3)" in text


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("stages", "What each policy does"),
        ("harm_by_round", "Harm by revision round"),
        ("harm_by_principle", "The constitution, principle by principle"),
        ("labels", "How good the labels are"),
        ("pm", "How good the preference model is"),
    ],
)
async def test_a_run_that_stopped_early_shows_what_there_is(
    tmp_path: Path, write_run: WriteRun, metrics: Json, part: str, shown: str
):
    await write_run(tmp_path, {"run": metrics["run"], part: metrics[part]})

    page = write_report(tmp_path)

    assert shown in visible(page)


async def test_a_run_without_metrics_shows_its_rows(tmp_path: Path, write_run: WriteRun):
    await write_run(tmp_path)
    (tmp_path / "metrics.json").unlink()

    text = visible(write_report(tmp_path))

    assert "Not in this run: policies, harm by revision round, labels" in text
    assert "From prompt to data, 20 rows" in text


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text())
    return reader


def tags(page: Path) -> list[str]:
    return [tag for tag, _ in parsed(page).seen]


def attributes(page: Path) -> list[tuple[str, str]]:
    return [(name, value or "") for _, attrs in parsed(page).seen for name, value in attrs]


def visible(page: Path) -> str:
    return " ".join(" ".join(parsed(page).words).split())


def tracked(*gaps: float) -> Json:
    curve = [
        {"step": step, "sqrt_kl": step / 10, "train": 1 + gap, "test": 1.0}
        for step, gap in enumerate(gaps, start=1)
    ]
    return {"window": 1, "curve": curve, "parting": None}


async def test_the_report_marks_where_train_and_test_model_part(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    gap = {"value": 0.4, "low": 0.12, "high": 0.68, "n": 100}
    parting = {"step": 3, "sqrt_kl": 0.3, "gap": gap}
    metrics["robustness"] = {**tracked(0.0, 0.1, 0.4), "parting": parting}
    await write_run(tmp_path, metrics)

    path = write_report(tmp_path)

    said = "They part at √KL 0.30 (step 3): there the train-PM's score has run ahead by 0.40"
    assert said in visible(path)
    assert 'id="robustness-' in path.read_text()


async def test_models_that_do_not_part_are_said_not_to(
    tmp_path: Path, write_run: WriteRun, metrics: Json
):
    metrics["robustness"] = tracked(0.0, 0.1, 0.0)
    await write_run(tmp_path, metrics)

    assert "The two do not part." in visible(write_report(tmp_path))
