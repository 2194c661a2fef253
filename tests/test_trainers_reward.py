"""What RL pays for: parts with weights and scales, and replies that are worth no number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cai.errors import CaiError, RunError
from tests.trainers_support import assistant, log, user, write
from trainers.reward import Part, Reward, RewardSource, open_reward
from trainers.rl import train_rl
from trainers.scoring import DrawnScorer, Scorer
from trainers.settings import RewardSettings, RlSettings


@dataclass(frozen=True)
class Says:
    """Scores that are known by the reply's text."""

    scores: Mapping[str, float | None]
    identity: str = "mine"

    def score(self, conversations: Sequence[Any]) -> list[float | None]:
        return [self.scores[turns[-1]["content"]] for turns in conversations]


class RatesLongReplies:
    """1 for a reply of some length, and no rating for a shorter one."""

    identity = "mine"

    def score(self, conversations: Sequence[Any]) -> list[float | None]:
        return [1.0 if len(turns[-1]["content"]) > 6 else None for turns in conversations]


def replies(*texts: str) -> list[list[dict[str, str]]]:
    return [[user("Why?"), assistant(text)] for text in texts]


def test_the_reward_is_the_weighted_sum_of_its_parts_on_their_scales():
    score = Part("score", Says({"yes": 5.0, "no": 1.0}), weight=2.0, mean=3.0, spread=4.0)
    rating = Part("rating", Says({"yes": 0.5, "no": -0.5}), weight=3.0)

    paid = Reward([score, rating]).pay(replies("yes", "no"))

    assert paid.rewards == [2 * 0.5 + 3 * 0.5, -2 * 0.5 - 3 * 0.5]
    assert paid.figures == {"score": 0.0, "rating": 0.0, "unrated": 0.0}


def test_a_reply_without_a_rating_is_worth_no_number_and_is_counted():
    score = Part("score", Says({"yes": 5.0, "no": 1.0}))
    rating = Part("rating", Says({"yes": 0.5, "no": None}))

    paid = Reward([score, rating]).pay(replies("yes", "no", "no", "no"))

    assert paid.rewards == [5.5, None, None, None]
    assert paid.figures == {"score": 2.0, "rating": 0.5, "unrated": 0.75}


def test_a_batch_without_any_reward_stops_the_training():
    rating = Part("rating", Says({"no": None}))

    with pytest.raises(RunError, match="none of the 2 replies of a rollout batch has a reward"):
        Reward([rating]).pay(replies("no", "no"))


def test_replies_that_have_no_score_are_told_with_what_the_template_says(refuses_even: Path):
    score = Part("score", DrawnScorer(Scorer(refuses_even)))

    with pytest.raises(RunError, match="refuses it: even; some templates refuse a blank reply"):
        Reward([score]).pay(replies(""))


def test_a_part_without_weight_is_logged_and_changes_no_reward():
    score = Part("score", Says({"yes": 5.0}))
    watched = Part("watched", Says({"yes": 7.0}), weight=0.0)

    assert Reward([score, watched]).pay(replies("yes")) == ([5.0], {"score": 5.0, "watched": 7.0})


@given(st.floats(-5, 5), st.floats(-1, 1), st.floats(0.1, 3), st.floats(0.1, 3))
def test_twice_the_weights_are_twice_the_reward(score: float, rating: float, v: float, w: float):
    def reward(times: float) -> float | None:
        parts = [
            Part("score", Says({"a": score}), weight=times * v),
            Part("rating", Says({"a": rating}), weight=times * w),
        ]
        return Reward(parts).pay(replies("a")).rewards[0]

    assert reward(2) == pytest.approx(2 * (reward(1) or 0), abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": {}}, "nothing is paid for"),
        ({"reward": {"rating": -1}}, "greater than or equal to 0"),
        ({"reward": {"rating": 1}, "subtract_mean": False}, "does not read subtract_mean"),
        ({"reward": {"rating": 1}, "divide_by_spread": True}, "does not read divide_by_spread"),
        ({"lora": {"dropout": 0.1}}, "leave lora.dropout out"),
    ],
    ids=str,
)
def test_settings_that_pay_for_nothing_or_are_not_read_are_refused(
    settings: dict[str, Any], message: str
):
    with pytest.raises(ValidationError, match=message):
        RlSettings(**settings)


def test_what_the_settings_give_weight_must_be_there():
    with pytest.raises(RunError, match="there is no judge to rate"):
        open_reward(RewardSource(), RlSettings(reward=RewardSettings(rating=1)))
    with pytest.raises(RunError, match="there is no such model"):
        open_reward(RewardSource(), RlSettings())


def test_ratings_are_bought_by_one_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(CaiError, match="bought by one process, and there are 2"):
        open_reward(RewardSource(rating=Says({})), RlSettings(reward=RewardSettings(rating=1)))


@pytest.mark.parametrize("algorithm", ["rloo", "grpo", "ppo", "reinforce"])
def test_the_logged_reward_is_that_of_the_replies_that_have_one(
    tiny_model: Path, tmp_path: Path, algorithm: Any
):
    prompts = write(tmp_path / "prompts", [{"prompt": [user(f"Question {n}")]} for n in range(8)])
    settings = RlSettings(
        algorithm=algorithm,
        reward=RewardSettings(rating=1),
        steps=2,
        prompts_per_step=8,
        max_completion_length=6,
    )
    source = RewardSource(rating=RatesLongReplies())

    train_rl(str(tiny_model), source, prompts, tmp_path / "out", settings, inputs="a")

    for entry in log(tmp_path / "out"):
        assert 0 < entry["unrated"] < 1
        assert entry["reward"] == pytest.approx(1.0)
