"""The bench of the trainers: both sides learn from the same rows, and each is measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.trainers import RESULTS
from bench.trainings import SIDES, WORKS, Work, make_models, rows_of, run_side

DOCS = Path(__file__).parents[1] / "docs"
FOUND: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["found"]
PREFERENCE = [name for name in FOUND if WORKS[name].kind == "pm"]


def test_the_table_of_trainings_on_the_page_is_what_is_committed():
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    table = page.split("| training | ours, tokens/s |")[1].split("\n\n")[0].splitlines()[2:]

    cells = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in table]

    assert cells == [
        [
            *(f"{one[f'{side}_tokens_per_s']:,.0f}" for side in SIDES),
            f"{one['speed_ratio']:.2f}",
            *(f"{one[f'{side}_mb']:,.0f}" for side in SIDES),
            f"{one['memory_ratio']:.2f}",
        ]
        for one in FOUND.values()
    ]


@pytest.mark.parametrize("name", FOUND)
def test_a_committed_ratio_is_the_median_of_its_rounds(name: str):
    one = FOUND[name]

    assert len(one["speed_ratios"]) == one["measured"]["rounds"]
    assert one["speed_ratio"] == statistics.median(one["speed_ratios"])


@pytest.mark.parametrize("name", PREFERENCE)
def test_in_every_round_the_preference_model_learned_half_as_fast_again_as_trls(name: str):
    assert min(FOUND[name]["speed_ratios"]) >= 1.5
    assert FOUND[name]["memory_ratio"] < 1


def span(figures: Iterable[float], digits: int) -> str:
    """From the least to the greatest, as a sentence has it."""
    kept = list(figures)
    return f"{min(kept):.{digits}f} to {max(kept):.{digits}f}"


def test_the_sentence_on_speed_has_the_span_of_what_is_committed():
    said = " ".join((DOCS / "training.md").read_text(encoding="utf-8").split("## Speed")[1].split())
    others = [name for name in FOUND if name not in PREFERENCE]

    assert f"learns {span((FOUND[one]['speed_ratio'] for one in PREFERENCE), 1)} times" in said
    assert f"in {span((FOUND[one]['memory_ratio'] for one in PREFERENCE), 2)} of the mem" in said
    assert f"at {span((FOUND[one]['speed_ratio'] for one in others), 2)} of its speed" in said


def test_a_training_that_is_not_in_the_committed_file_is_said_not_to_be():
    page = (DOCS / "performance.md").read_text(encoding="utf-8")

    assert set(WORKS) - set(FOUND) == {"SFT, by length", "SFT, packed"}
    assert "not measured again and are not in the file" in page


def test_the_rows_of_a_training_are_the_same_each_time_and_of_uneven_length():
    work = Work("pm", rows=32)

    lengths = {len(row["chosen"][0]["content"]) for row in rows_of(work)}

    assert rows_of(work) == rows_of(work)
    assert max(lengths) > 3 * min(lengths)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PM, dialogue", "SFT, packed", "RL, rloo"])
def test_both_sides_train_on_the_same_tokens(name: str, tmp_path: Path):
    make_models(tmp_path)
    asked = WORKS[name]
    work = Work(asked.kind, rows=8, batch=4, options=asked.options, replies=(2, 4))

    ours, plain = (run_side(work, side, tmp_path) for side in SIDES)

    assert ours["tokens"] == pytest.approx(plain["tokens"], rel=0.1)
    assert ours["seconds"] > 0 and plain["seconds"] > 0
