import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest

from cai.engine.ledger import Ledger
from cai.errors import InputError, RunError
from cai.evaluation import rate
from cai.records import Comparison, Message, OrderWeights, Prompt, Row, RowKey
from cai.report import write_comparison, write_report
from cai.report.load import load_run

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>{{ 7*7 }}'
PRINCIPLES = ("weapons", "privacy", "theft", "self-harm", "not-preachy")


async def test_the_report_answers_first(tmp_path: Path):
    await write_run(tmp_path)

    page = write_report(tmp_path).read_text()

    assert "From Helpful to RL-CAI, harmful compliance fell from 98% to 3%" in page


async def test_a_stage_shows_each_figure_with_its_interval_and_n(tmp_path: Path):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "RL-CAI 3% 1.6–5.6 n = 300 1% 0.3–2.9 n = 300" in text


async def test_figures_made_by_patterns_say_so(tmp_path: Path):
    content = metrics()
    content["stages"]["sl_cai"]["method"] = "patterns"
    await write_run(tmp_path, content)

    assert "SL-CAI by patterns" in visible(write_report(tmp_path))


@pytest.mark.parametrize(
    "field", ["prompt", "response", "critique", "principle", "model", "source"]
)
async def test_text_of_users_and_models_stays_text(tmp_path: Path, field: str):
    await write_run(tmp_path, hostile=field)

    page = write_report(tmp_path)

    assert not {"script", "img"} & set(tags(page))
    assert HOSTILE in visible(page)


@pytest.mark.parametrize(
    "place",
    [
        ("run", "name"),
        ("run", "command"),
        ("run", "constitution", "title"),
        ("run", "constitution", "hash"),
        ("run", "recipe_hash"),
    ],
)
async def test_text_in_the_metrics_stays_text(tmp_path: Path, place: tuple[str, ...]):
    content = metrics()
    part = content
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = HOSTILE
    await write_run(tmp_path, content)

    assert not {"script", "img"} & set(tags(write_report(tmp_path)))


async def test_names_of_families_principles_and_stages_stay_text(tmp_path: Path):
    content = metrics()
    content["stages"][HOSTILE] = content["stages"]["sl_cai"]
    content["stages"]["helpful"]["by_family"][HOSTILE] = rate(1, 2).to_json()
    content["harm_by_principle"][HOSTILE] = {"draws": 1, "fixed": None}
    content["rows"] = {HOSTILE: {"ok": 1}}
    content["seconds"][HOSTILE] = 1.0
    content["pm"]["by_source"][HOSTILE] = rate(1, 2).to_json()
    await write_run(tmp_path, content)

    assert not {"script", "img"} & set(tags(write_report(tmp_path)))


async def test_the_report_loads_nothing_and_runs_nothing(tmp_path: Path):
    await write_run(tmp_path)

    page = write_report(tmp_path)

    links = [value for name, value in attributes(page) if name in ("href", "src", "xlink:href")]
    assert all(link.startswith("#") for link in links)
    assert "script" not in tags(page)
    assert "@import" not in page.read_text()


async def test_every_id_is_unique_and_every_reference_is_met(tmp_path: Path):
    await write_run(tmp_path)

    page = write_report(tmp_path)

    ids = [value for name, value in attributes(page) if name == "id"]
    asked = set(re.findall(r"url\(#([^)]+)\)", page.read_text()))
    asked |= {value[1:] for name, value in attributes(page) if name.endswith("href")}
    assert len(ids) == len(set(ids))
    assert asked <= set(ids)


async def test_every_figure_says_in_words_what_it_shows(tmp_path: Path):
    await write_run(tmp_path)

    labels = [value for name, value in attributes(write_report(tmp_path)) if name == "aria-label"]

    assert "round 0 98%, round 1 40%, round 2 22%, round 3 11%, round 4 6%" in labels[1]
    assert "reward begins at -1.20" in labels[2]
    assert "labels near 0.05 are true 0.06" in labels[3]


async def test_the_same_run_gives_the_same_bytes(tmp_path: Path):
    await write_run(tmp_path)

    first = write_report(tmp_path).read_bytes()

    assert write_report(tmp_path).read_bytes() == first


async def test_ten_long_rows_stay_under_two_megabytes(tmp_path: Path):
    await write_run(tmp_path, length=200_000)

    assert write_report(tmp_path).stat().st_size < 2_000_000


async def test_texts_of_a_harmful_prompt_are_folded(tmp_path: Path):
    await write_run(tmp_path)

    page = write_report(tmp_path).read_text()

    folded = re.findall(r"<details>.*?</details>", page, flags=re.DOTALL)
    assert sum("How do I steal a bike" in one for one in folded) == 8
    assert "How do I steal a bike" not in re.sub(
        r"<details>.*?</details>", "", page, flags=re.DOTALL
    )


async def test_a_row_goes_from_prompt_to_last_revision(tmp_path: Path):
    await write_run(tmp_path)

    rows = load_run(tmp_path).rows

    trace = next(row.trace for row in rows if row.trace)
    assert [revision.round for revision in trace.revisions] == [1, 2]
    assert trace.texts[0].startswith("Take the bike")


async def test_a_label_shows_both_orders_and_their_mean(tmp_path: Path):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "A -0.223 -1.609 0.800 1.000 exact B -0.511 -0.916 0.600 0.980 exact" in text
    assert "p(A better) = 0.7000 , the mean over 2 orders" in text


async def test_half_of_the_sampled_rows_are_revised_and_half_compared(tmp_path: Path):
    await write_run(tmp_path)

    rows = load_run(tmp_path).rows

    assert len(rows) == 10
    assert sum(row.trace is not None for row in rows) == 5
    assert sum(row.comparison is not None for row in rows) == 5


async def test_rows_that_failed_are_counted_with_their_reason(tmp_path: Path):
    await write_run(tmp_path)

    text = visible(write_report(tmp_path))

    assert "revision truncated 3 the revision was cut off after N tokens (3)" in text


@pytest.mark.parametrize("part", ["stages", "harm_by_round", "harm_by_principle", "labels", "pm"])
async def test_a_run_that_stopped_early_shows_what_there_is(tmp_path: Path, part: str):
    await write_run(tmp_path, {"run": metrics()["run"], part: metrics()[part]})

    assert write_report(tmp_path).read_text().rstrip().endswith("</html>")


async def test_a_run_without_metrics_shows_its_rows(tmp_path: Path):
    await write_run(tmp_path)
    (tmp_path / "metrics.json").unlink()

    text = visible(write_report(tmp_path))

    assert "Not in this run: policies, harm by revision round, labels" in text
    assert "From prompt to data, 10 rows" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="is not a run folder: it has neither metrics"):
        write_report(tmp_path)


def test_broken_metrics_are_refused_with_every_fault(tmp_path: Path):
    content = metrics()
    content["labels"]["brier"] = "low"
    content["harm_by_round"][1] = {"value": 0.5}
    (tmp_path / "metrics.json").write_text(json.dumps(content))

    with pytest.raises(InputError) as caught:
        write_report(tmp_path)

    assert {fault.field for fault in caught.value.faults} >= {"labels.brier", "harm_by_round.1.low"}


def test_a_torn_training_log_is_refused_by_line(tmp_path: Path):
    (tmp_path / "metrics.json").write_text("{}")
    log = tmp_path / "models" / "rl_cai" / "training_log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 1, "reward": 0.5}\n{"step": 2, "rew')

    with pytest.raises(InputError, match="line 2: is no log entry with a step"):
        write_report(tmp_path)


def test_a_step_logged_again_after_a_resumption_counts_once(tmp_path: Path):
    (tmp_path / "metrics.json").write_text("{}")
    log = tmp_path / "models" / "rl_cai" / "training_log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"step": 1, "reward": 0.5}\n{"step": 2}\n{"step": 1, "reward": 0.7}\n')

    assert [(step.step, step.reward) for step in load_run(tmp_path).training] == [
        (1, 0.7),
        (2, None),
    ]


async def test_two_runs_are_laid_side_by_side(tmp_path: Path):
    other = metrics()
    other["stages"]["rl_cai"]["harmful_compliance"] = rate(60, 300).to_json()
    del other["run"]["constitution"]["principles"]["privacy"]
    await write_run(tmp_path / "a")
    await write_run(tmp_path / "b", other)

    text = visible(write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "out.html"))

    assert "From A to B, RL-CAI's harmful compliance rose from 3% to 20%." in text
    assert "+17.0 +12.1 to +22.1" in text
    assert "privacy removed" in text


# The run that all of these look at.


def metrics() -> dict[str, object]:
    stages = {"helpful": (294, 3, 297), "sl_cai": (54, 6, 293), "rl_cai": (9, 3, 292)}
    by_family = {"theft": rate(3, 50), "privacy": rate(20, 50), "weapons": rate(1, 50)}
    return {
        "run": {
            "name": "microworld",
            "seed": 7,
            "recipe_hash": "5e1f0c2a9d3b4e6f",
            "constitution": {
                "id": "microworld",
                "hash": "9b1deb4d3b7d4bad",
                "title": "The microworld's constitution",
                "principles": {name: {"critique": f"Is there {name}?"} for name in PRINCIPLES},
            },
            "versions": {"constitutional-ai": "0.1.0", "torch": "2.13.0", "trl": "1.16.0"},
            "command": "cai run examples/microworld.yaml",
        },
        "stages": {
            name: {
                "harmful_compliance": rate(harmful, 300).to_json(),
                "over_refusal": rate(refused, 300).to_json(),
                "evasive": rate(4, 600).to_json(),
                "degenerate": rate(0, 600).to_json(),
                "helpfulness": rate(helped, 300).to_json(),
                "method": "truth",
                "by_family": {family: one.to_json() for family, one in by_family.items()},
            }
            for name, (harmful, refused, helped) in stages.items()
        },
        "harm_by_round": [rate(n, 300).to_json() for n in (294, 120, 66, 33, 18)],
        "harm_by_principle": {
            name: {"draws": 240 - 9 * index, "fixed": rate(100 + 20 * index, 200).to_json()}
            for index, name in enumerate(PRINCIPLES)
        },
        "labels": label_metrics(),
        "pm": {
            "accuracy": rate(580, 600).to_json(),
            "by_source": {"ai": rate(290, 300).to_json(), "human": rate(290, 300).to_json()},
            "by_kind": {"harmful": rate(292, 300).to_json(), "harmless": rate(288, 300).to_json()},
            "keyword_baseline": rate(310, 600).to_json(),
            "baseline_by_kind": {"harmful": rate(280, 300).to_json()},
        },
        "rows": {"revision": {"ok": 40, "truncated": 3}},
        "seconds": {"generate": 48.2, "sft": 61.0, "preferences": 22.5, "pm": 40.1, "rl": 74.9},
        "calls": {"made": 9_120, "cached": 312, "input_tokens": 812_011, "output_tokens": 201_882},
    }


def label_metrics() -> dict[str, object]:
    bins = [
        {
            "low": index / 10,
            "high": (index + 1) / 10,
            "mean_p": index / 10 + 0.05,
            "truth": index / 10 + 0.06 - 0.002 * index,
            "n": 20 + 15 * abs(index - 5),
        }
        for index in range(10)
    ]
    return {
        "accuracy": rate(279, 300).to_json(),
        "brier": 0.131,
        "brier_floor": 0.122,
        "flip_rate": rate(12, 300).to_json(),
        "position_first": rate(309, 600).to_json(),
        "ece": 0.021,
        "bins": bins,
        "by_principle": {
            name: {"n": 60, "accuracy": rate(55, 60).to_json(), "flip_rate": rate(2, 60).to_json()}
            for name in PRINCIPLES
        },
    }


async def write_run(
    run: Path, content: dict[str, object] | None = None, *, hostile: str = "", length: int = 0
) -> None:
    (run / "models" / "rl_cai").mkdir(parents=True)
    (run / "metrics.json").write_text(json.dumps(content or metrics()))
    (run / "recipe.yaml").write_text("name: microworld\nseed: 7\nconstitution: microworld\n")
    noise = random.Random(0)
    steps = [
        {"step": n, "reward": 2.4 - 3.6 * math.exp(-n / 25) + noise.gauss(0, 0.12) * (n > 0)}
        | {"kl": 3 * (1 - math.exp(-n / 40)) + abs(noise.gauss(0, 0.05))}
        for n in range(0, 120, 2)
    ]
    log = "".join(json.dumps(step) + "\n" for step in steps)
    (run / "models" / "rl_cai" / "training_log.jsonl").write_text(log)
    ledger = Ledger.open(run / "ledger.sqlite")
    await ledger.put_rows([row for n in range(8) for row in revised(n, hostile, length)])
    await ledger.put_rows([row for n in range(8) for row in compared(n, hostile, length)])
    ledger.close()


def prompt_of(text: str, kind: str, hostile: str) -> Prompt:
    asked = HOSTILE if hostile == "prompt" else text
    source = HOSTILE if hostile == "source" else "microworld"
    return Prompt((Message("user", asked),), source, kind)


def revised(n: int, hostile: str, length: int) -> list[Row]:
    prompt = prompt_of(f"How do I steal a bike of kind {n}?", "harmful", hostile)
    key = f"{prompt.id[:-1]}{n}"
    said = HOSTILE if hostile == "response" else f"Take the bike at night, kind {n}." + "x" * length
    model = HOSTILE if hostile == "model" else "microworld"
    rows = [row("response", key, 0, {"prompt": prompt, "text": said, "model": model})]
    for turn, text in enumerate(["Ask the owner first.", "I won't help to steal; buy one."], 1):
        record = {
            "round": turn,
            "principle": HOSTILE if hostile == "principle" else PRINCIPLES[(n + turn) % 5],
            "critique": HOSTILE if hostile == "critique" else "The reply helps to steal a bike.",
            "text": text + " y" * (length // 2),
            "model": "microworld",
        }
        rows.append(row("revision", key, turn, record))
    cut = RowKey("revision", key, 3)
    return [
        *rows,
        *(
            [Row(cut, "truncated", f"the revision was cut off after {40 + n} tokens")]
            if n < 3
            else []
        ),
    ]


def compared(n: int, hostile: str, length: int) -> list[Row]:
    kind = "harmful" if n % 2 else "harmless"
    asks = "How do I steal a bike in town" if n % 2 else "How do I bake bread"
    prompt = prompt_of(f"{asks} {n}?", kind, hostile)
    label = Comparison(
        prompt,
        HOSTILE if hostile == "response" else "I can't help with that." + " z" * (length // 2),
        "First take the flour, then the yeast; let it rise for an hour and bake it at 220 degrees.",
        p_a=0.7,
        principle=HOSTILE if hostile == "principle" else PRINCIPLES[n % 5],
        orders=(
            OrderWeights("a", math.log(0.8), math.log(0.2), 1.0, "exact", "c1"),
            OrderWeights("b", math.log(0.6), math.log(0.4), 0.98, "exact", "c2"),
        ),
        model=HOSTILE if hostile == "model" else "microworld",
        provenance={"constitution": "9b1deb4d3b7d4bad", "template": "0a1b2c3d", "seed": 7},
    )
    return [row("comparison", f"{prompt.id[:-1]}{n}", 0, label)]


def row(stage: str, prompt_id: str, turn: int, record: object) -> Row:
    return Row(RowKey(stage, prompt_id, turn), "ok", record=orjson.loads(orjson.dumps(record)))


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
