"""RL whose reward is a judge's rating, in a run: what it buys, keeps, counts and trains on."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.engine import Ledger
from cai.engine.budget import Budget
from cai.errors import BudgetReached, InputError, RunError
from cai.pipeline import RunFolder, run_recipe, steps_of
from cai.pipeline.forecast import forecast
from cai.pipeline.preview import Plan
from cai.recipe import Recipe, load_recipe
from tests.chat_server import ChatServer, Reply, chat_server
from tests.processes import running
from tests.test_evaluate_labeler import letters
from tests.test_trainers_tried import command
from tests.trainers_support import log, same_weights, user, write

MINE = """
id: mine
principles:
  - {id: kind, rating: How kind is it?, critique: Is it kind?, revision: Be kind.}
"""
RECIPE = """
name: rated
constitution: mine.yaml
models:
  default: {{name: "openai:m", endpoint: "{url}", served_by: openai}}
  base: {base}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
datasets: {{test_share: 0}}
rl:
  reward: {{rating: 1}}
  steps: 4
  prompts_per_step: 2
  generations: 4
  max_completion_length: 6
  save_every: 1
"""
REPLIES = 4 * 2 * 4


def number_of(body: dict[str, Any]) -> int:
    return hashlib.sha256(body["messages"][-1]["content"].encode()).digest()[0]


def rates_most(body: dict[str, Any]) -> Reply:
    """A rating that follows from the text; one reply in four is not rated."""
    number = number_of(body)
    return Reply("", "content_filter") if number % 4 == 0 else letters(**{str(number % 9 + 1): 1.0})


def rates_none(body: dict[str, Any]) -> Reply:
    return Reply("", "content_filter")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(rates_most) as served:
        yield served


@pytest.fixture
def recipe(server: ChatServer, tiny_model: Path, tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "prompts.txt").write_text("".join(f"How do I break {n}?\n" for n in range(6)))
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(url=server.url, base=tiny_model))
    return path


def folder_with_sl_cai(tiny_model: Path, path: Path) -> RunFolder:
    folder = RunFolder(path)
    shutil.copytree(tiny_model, folder.model("sl_cai"))
    return folder


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> RunFolder:
    return folder_with_sl_cai(tiny_model, tmp_path / "run")


def rewards(folder: RunFolder) -> Counter[str]:
    with Ledger.open(folder.ledger, read_only=True) as ledger:
        return Counter(row.status for row in ledger.rows("reward"))


@pytest.mark.parametrize("algorithm", ["rloo", "grpo", "ppo", "reinforce"])
def test_every_reply_is_rated_and_those_without_a_rating_are_counted_at_each_step(
    recipe: Path, folder: RunFolder, server: ChatServer, algorithm: str
):
    rated = load_recipe(recipe, [f"rl.algorithm={algorithm}"])

    figures = run_recipe(rated, folder, steps=("rl",))

    counts, steps = rewards(folder), log(folder.model("rl_cai"))
    assert counts["refused"] and counts["ok"]
    assert counts.total() == len(server.asked) <= REPLIES
    assert len(steps) == 4
    assert all(-1 <= step["reward"] <= 1 for step in steps)
    assert any(0 < step["unrated"] < 1 for step in steps)
    assert figures["reward"] == {"preference_model": 0.0, "rating": 1.0}
    assert figures["rows"]["reward"] == counts


def test_a_row_says_what_the_judge_made_of_a_reply_and_under_which_principle(
    recipe: Path, folder: RunFolder
):
    run_recipe(load_recipe(recipe), folder, steps=("rl",))

    with Ledger.open(folder.ledger, read_only=True) as ledger:
        record = next(ledger.rows("reward", "ok")).record or {}
    rating = record["ratings"][0]
    assert rating["principle"] == "kind"
    assert record["reward"] == pytest.approx(2 * (rating["expected"] - 1) / 9 - 1)


@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_a_training_that_goes_on_pays_for_no_rating_twice_and_ends_with_the_same_weights(
    recipe: Path, folder: RunFolder, server: ChatServer, tiny_model: Path, algorithm: str
):
    rated = load_recipe(recipe, [f"rl.algorithm={algorithm}"])
    with pytest.raises(BudgetReached):
        run_recipe(rated, folder, steps=("rl",), budget=Budget(max_calls=REPLIES // 2))

    run_recipe(rated, folder, steps=("rl",))

    assert len(server.questions) == len(set(server.questions))
    whole = folder_with_sl_cai(tiny_model, folder.path.with_name("whole"))
    run_recipe(rated, whole, steps=("rl",))
    assert same_weights(folder.model("rl_cai"), whole.model("rl_cai"))
    assert rewards(folder) == rewards(whole)


PROGRAM = """
import sys
from pathlib import Path
from cai.pipeline import RunFolder, run_recipe
from cai.recipe import load_recipe

recipe, setting, run = sys.argv[1:]
run_recipe(load_recipe(Path(recipe), [setting]), RunFolder(Path(run)), steps=("rl",))
"""
BOUGHT_LAST = 3
"""Ratings of the third batch that the judge gives before the process is killed."""


class SlowJudge:
    """Rates as `rates_most`, but falls silent in the middle of the third batch.

    Args:
        checkpoint: file that is there once the second batch has been learned from.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.answered: list[str] = []
        self.silent, self.killed = threading.Event(), threading.Event()
        self._checkpoint = checkpoint
        self._left = BOUGHT_LAST
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Reply:
        with self._lock:
            if not self.killed.is_set() and self._checkpoint.is_file():
                self._left -= 1
            falls_silent = self._left < 0 and not self.killed.is_set()
            if not falls_silent:
                self.answered.append(body["messages"][-1]["content"])
        if falls_silent:
            self.silent.set()
            self.killed.wait(300)
            return rates_none(body)
        return rates_most(body)


def calls_in(folder: RunFolder) -> int:
    with Ledger.open(folder.ledger, read_only=True) as ledger:
        return ledger.call_count()


@pytest.mark.parametrize("algorithm", ["rloo", pytest.param("ppo", marks=pytest.mark.slow)])
def test_a_rated_training_killed_within_a_batch_pays_once_and_ends_with_the_same_weights(
    recipe: Path, folder: RunFolder, server: ChatServer, tiny_model: Path, algorithm: str
):
    setting = f"rl.algorithm={algorithm}"
    work = folder.model("rl_cai").with_name("rl_cai.training")
    server.answer = judge = SlowJudge(work / "checkpoints" / "checkpoint-2" / "complete")
    arguments = [str(recipe), setting, str(folder.path)]
    deadline = time.monotonic() + 300

    with running([sys.executable, "-c", PROGRAM, *arguments]) as child:
        while not judge.silent.wait(0.1):
            assert child.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
        # A kill between an answer and the disk would have that one bought again.
        while calls_in(folder) < len(judge.answered) and time.monotonic() < deadline:
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
    judge.killed.set()
    bought = calls_in(folder)
    assert bought == len(judge.answered)
    run_recipe(load_recipe(recipe, [setting]), folder, steps=("rl",))

    assert len(judge.answered) == len(set(judge.answered)) == calls_in(folder) > bought
    whole = folder_with_sl_cai(tiny_model, folder.path.with_name("whole"))
    run_recipe(load_recipe(recipe, [setting]), whole, steps=("rl",))
    assert same_weights(folder.model("rl_cai"), whole.model("rl_cai"))
    assert rewards(folder) == rewards(whole)


def test_a_judge_that_rates_nothing_stops_the_training(
    recipe: Path, folder: RunFolder, server: ChatServer
):
    server.answer = rates_none

    with pytest.raises(RunError, match="none of the 8 replies of a rollout batch has a reward"):
        run_recipe(load_recipe(recipe), folder, steps=("rl",))

    assert rewards(folder)["refused"]


def test_the_rows_of_an_earlier_training_go_when_another_begins(recipe: Path, folder: RunFolder):
    run_recipe(load_recipe(recipe), folder, steps=("rl",))

    run_recipe(load_recipe(recipe, ["rl.steps=1"]), folder, steps=("rl",))

    assert rewards(folder).total() <= REPLIES / 4


def test_a_constitution_with_nothing_to_rate_under_is_told_before_any_training(
    recipe: Path, folder: RunFolder
):
    (recipe.parent / "mine.yaml").write_text(MINE.replace("rating: How kind is it?, ", ""))

    with pytest.raises(InputError, match="rating"):
        run_recipe(load_recipe(recipe), folder, steps=("rl",))

    assert not folder.model("rl_cai").exists()


def test_another_rating_text_is_another_policy(recipe: Path, folder: RunFolder):
    run_recipe(load_recipe(recipe), folder, steps=("rl",))
    before = json.loads((folder.model("rl_cai") / "training.json").read_text())

    (recipe.parent / "mine.yaml").write_text(MINE.replace("How kind", "How very kind"))
    run_recipe(load_recipe(recipe), folder, steps=("rl",))

    after = json.loads((folder.model("rl_cai") / "training.json").read_text())
    assert before["inputs"] != after["inputs"]


def test_without_the_preference_model_in_the_reward_none_is_trained(recipe: Path):
    assert steps_of(load_recipe(recipe)) == ("revisions", "sft", "rl", "evaluate")
    both = load_recipe(recipe, ["rl.reward.preference_model=1"])
    assert "pm" in steps_of(both) and "preferences" in steps_of(both)


def test_the_trainer_alone_takes_the_judge_of_the_recipe(
    recipe: Path, folder: RunFolder, server: ChatServer, monkeypatch: pytest.MonkeyPatch
):
    write(folder.dataset("rl") / "train", [{"prompt": [user(f"Question {n}")]} for n in range(6)])

    code = command(monkeypatch, "rl", recipe, "--run", folder.path)

    assert code == 0
    record = json.loads((folder.model("rl_cai") / "training.json").read_text())
    assert record["reward"] == {"rating": {"weight": 1.0, "mean": 0.0, "spread": 1.0}}
    assert rewards(folder).total() == len(server.asked) > 0


def test_the_trainer_without_a_recipe_has_no_judge(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    data = write(tmp_path / "data", [{"prompt": "Why?"}])
    given = ["--base", tiny_model, "--data", data, "--out", tmp_path / "out"]

    code = command(monkeypatch, "rl", *given, "--set", "reward.rating=1")

    assert code == 1
    assert "reward.rating needs a recipe" in capsys.readouterr().err


def foreseen(recipe: Recipe, folder: RunFolder) -> dict[str, tuple[int, str]]:
    told = forecast(Plan(recipe, folder))
    return {part.part: (part.to_buy, part.model) for part in told.parts}


def test_a_dry_run_counts_the_rating_of_every_reply_that_the_training_will_draw(
    recipe: Path, tmp_path: Path, server: ChatServer
):
    counted = foreseen(load_recipe(recipe), RunFolder(tmp_path / "none yet"))

    assert counted["reward"] == (REPLIES, "openai:m")
    assert not server.asked


def test_a_dry_run_counts_no_rating_where_the_policy_would_stay(
    recipe: Path, folder: RunFolder, server: ChatServer
):
    rated = load_recipe(recipe)
    run_recipe(rated, folder, steps=("rl",))

    told = forecast(Plan(rated, folder), steps=("rl",))

    assert told.to_train == () and told.to_buy == 0


def test_principles_for_prompts_of_a_kind_rate_the_replies_to_them(
    recipe: Path, folder: RunFolder, tmp_path: Path
):
    of_a_kind = MINE.replace("rating: How", "applies_if: {kinds: [harmful]}, rating: How")
    (tmp_path / "mine.yaml").write_text(of_a_kind)
    rated = load_recipe(recipe)

    foretold = forecast(Plan(rated, folder), ("rl",)).to_buy
    run_recipe(rated, folder, steps=("rl",))

    assert foretold == REPLIES
    assert rewards(folder)["ok"]


def test_a_forecast_of_ratings_that_no_principle_is_for_buys_none(
    recipe: Path, folder: RunFolder, tmp_path: Path
):
    of_others = MINE.replace("rating: How", "applies_if: {kinds: [harmless]}, rating: How")
    (tmp_path / "mine.yaml").write_text(of_others)

    assert forecast(Plan(load_recipe(recipe), folder), ("rl",)).to_buy == 0
