"""The example on real judgements: three ways on the same pairs, and no more said than is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cai.errors import InputError
from cai.records import Comparison, Message, Prompt
from examples.real_pm import compared, length_baseline, split_pairs, words_baseline

SHARED = Path(__file__).parents[2] / "shared" / "data" / "hh-rlhf"
REAL = SHARED / "harmless-base-1800.jsonl.gz"


def pair(question: str, better: str, worse: str) -> Comparison:
    prompt = Prompt((Message("user", question),), "pairs")
    return Comparison(prompt, better, worse, p_a=1.0, source="human")


def always(right: int, of: int):
    """Right on the first so many pairs; a pair's number is its prompt."""
    return lambda one: 1.0 if int(one.prompt.messages[0].content) < right else -1.0


def test_a_difference_is_of_the_same_pairs():
    pairs = [pair(str(number), "a", "b") for number in range(100)]

    found = compared({"first": always(60, 100), "second": always(63, 100)}, pairs)

    # The two differ on 3 of 100 pairs, so that they lie closer than their own intervals would say.
    apart = found["difference"]["second less first"]
    assert apart["value"] == pytest.approx(0.03)
    assert 0 <= apart["low"] <= 0.01
    assert apart["high"] <= 0.07
    assert found["accuracy"]["first"]["value"] == 0.6


@pytest.mark.parametrize(
    ("right", "said"),
    [(90, "better"), (10, "worse"), (52, "no difference shown")],
    ids=["clearly-better", "clearly-worse", "too-close"],
)
def test_better_is_said_only_where_the_interval_leaves_zero(right: int, said: str):
    pairs = [pair(str(number), "a", "b") for number in range(100)]

    def half(one: Comparison) -> float:
        return 1.0 if int(one.prompt.messages[0].content) % 2 else -1.0

    found = compared({"half": half, "other": always(right, 100)}, pairs)

    assert found["difference"]["other less half"]["said"] == said


def test_the_length_baseline_prefers_what_was_right_more_often():
    brief = [pair(str(n), "no", "a much longer reply") for n in range(5)]
    wordy = [pair("x", "a much longer reply", "no")]

    assert length_baseline([*brief, *wordy])(brief[0]) > 0
    assert length_baseline([*wordy, *wordy, *brief[:1]])(wordy[0]) > 0


def test_the_words_baseline_learns_a_word():
    pairs = [pair(str(n), f"sorry number {n % 7}", f"sure number {n % 7}") for n in range(20)]

    margin = words_baseline(pairs)

    assert margin(pair("new", "sorry", "sure")) > 0
    assert margin(pair("new", "sure", "sorry")) < 0


def written(path: Path, dialogues: int, deep: int) -> Path:
    """Pairs of dialogues; each is there at as many depths as `deep` says, as in HH-RLHF."""
    rows = []
    for number in range(dialogues):
        for depth in range(deep):
            later = f"\n\nAssistant: no\n\nHuman: and then {number}?" * depth
            asked = f"\n\nHuman: question {number}{later}\n\nAssistant:"
            rows.append({"chosen": f"{asked} yes", "rejected": f"{asked} no"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("deep", [1, 3], ids=["one-turn", "nested"])
def test_dialogues_to_learn_from_and_to_measure_on_share_none(tmp_path: Path, deep: int):
    path = written(tmp_path / "pairs.jsonl", 50, deep)

    learned, held_out = split_pairs(path, train=1000, test=10)

    first = [{one.prompt.messages[0] for one in pairs} for pairs in (learned, held_out)]
    assert not first[0] & first[1]
    assert (len(learned), len(held_out), len(first[1])) == (40 * deep, 10, 10)
    assert len(split_pairs(path, train=30, test=10)[0]) == 30


def test_too_few_dialogues_are_refused(tmp_path: Path):
    path = written(tmp_path / "pairs.jsonl", 5, deep=3)

    with pytest.raises(InputError, match=r"has 5 dialogues .* more than 5 are needed"):
        split_pairs(path, train=1, test=5)


@pytest.mark.skipif(not REAL.is_file(), reason="the real pairs lie beside the project")
def test_no_real_dialogue_is_both_learned_from_and_measured_on():
    learned, held_out = split_pairs(REAL, train=1500, test=300)

    opened = {one.prompt.messages[0].content for one in learned}
    assert not [one for one in held_out if one.prompt.messages[0].content in opened]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="the real pairs lie beside the project")
def test_an_encoder_learns_real_judgements_and_is_held_against_baselines(tmp_path: Path):
    import typer

    from examples.real_pm import main

    app = typer.Typer()
    app.command()(main)

    # All pairs, as docs/preference-models.md has them, take most of an hour on a busy core.
    command = [str(REAL), "--out", str(tmp_path), "--train", "200", "--test", "100"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)

    found = json.loads((tmp_path / "results.json").read_text())
    assert 0 < found["pairs"]["train"] <= 200
    assert found["accuracy"]["encoder"]["n"] == found["pairs"]["test"] == 100
    for one in found["difference"].values():
        assert (one["said"] == "better") == (one["low"] > 0)
    assert found["command"].startswith("python -m examples.real_pm")
    assert found["date"]
    assert "encoder less words" in result.stdout
