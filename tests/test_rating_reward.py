"""A judge's rating is a reward: TRL's trainers call it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cai.engine.budget import Budget
from cai.errors import BudgetReached
from cai.pipeline import RunFolder
from cai.pipeline.rating_reward import RatingReward
from cai.recipe import Recipe, load_recipe
from cai.untyped import untyped
from tests.chat_server import ChatServer, Reply, chat_server
from tests.test_evaluate_labeler import letters

MINE = """
id: mine
principles:
  - {id: kind, rating: How kind is it?}
  - {id: short, rating: How short is it?}
"""
RECIPE = """
name: reward
constitution: mine.yaml
models: {{default: {{name: "openai:m", endpoint: "{url}", served_by: openai}}}}
prompts: {{red_team: []}}
"""
ASKED = [{"role": "user", "content": "Hello."}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def answer(body: dict[str, Any]) -> Reply:
    """A kind reply is a 9 or 10, a rude one a 1 or 2; the judge declines to rate an odd one."""
    asked = body["messages"][-1]["content"]
    if "odd" in asked:
        return Reply("", "content_filter")
    return letters(**({"10": 0.5, "9": 0.5} if "kindly" in asked else {"1": 0.5, "2": 0.5}))


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(answer) as served:
        yield served


@pytest.fixture
def recipe(server: ChatServer, tmp_path: Path) -> Recipe:
    (tmp_path / "mine.yaml").write_text(MINE)
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(url=server.url))
    return load_recipe(tmp_path / "recipe.yaml")


def test_the_mean_rating_is_the_reward_between_minus_one_and_one(recipe: Recipe, tmp_path: Path):
    with RatingReward(recipe, RunFolder(tmp_path / "run")) as reward:
        rewards = reward([ASKED] * 2, [said("kindly"), said("no")])

    assert rewards == pytest.approx([2 * 8.5 / 9 - 1, 2 * 0.5 / 9 - 1], abs=1e-3)


def test_a_reply_that_is_not_rated_has_no_reward_and_is_counted(recipe: Recipe, tmp_path: Path):
    with RatingReward(recipe, RunFolder(tmp_path / "run")) as reward:
        assert reward([ASKED], [said("odd")]) == [None]

        assert reward.unrated.total() == 1
        assert "refused: the judge declined" in next(iter(reward.unrated))


def test_every_rating_is_bought_once(recipe: Recipe, tmp_path: Path, server: ChatServer):
    for _ in range(2):
        with RatingReward(recipe, RunFolder(tmp_path / "run")) as reward:
            reward([ASKED] * 3, [said("kindly"), said("no"), said("kindly")])

    assert len(server.asked) == 2


def test_replies_to_one_prompt_are_rated_under_the_same_principles(
    recipe: Recipe, tmp_path: Path, server: ChatServer
):
    with RatingReward(recipe, RunFolder(tmp_path / "run")) as reward:
        reward([ASKED] * 6, [said(f"no {number}") for number in range(6)])

    rated = {text.partition("How ")[2].partition(" ")[0] for text in server.questions}
    assert len(rated) == 1


def test_several_principles_are_averaged(recipe: Recipe, tmp_path: Path, server: ChatServer):
    label = recipe.comparisons.label.model_copy(update={"principles": 2})
    comparisons = recipe.comparisons.model_copy(update={"label": label})
    both = recipe.model_copy(update={"comparisons": comparisons})

    with RatingReward(both, RunFolder(tmp_path / "run")) as reward:
        reward([ASKED], [said("kindly")])

    assert len(server.asked) == 2


def test_nothing_is_rated_past_the_budget(recipe: Recipe, tmp_path: Path, server: ChatServer):
    with RatingReward(recipe, RunFolder(tmp_path / "run"), Budget(None, 1)) as reward:
        reward([ASKED], [said("kindly")])
        with pytest.raises(BudgetReached):
            reward([ASKED], [said("no")])

    assert len(server.asked) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_policy_is_optimised_against_it(recipe: Recipe, tmp_path: Path, tiny_model: Path):
    trl, datasets = untyped("trl"), untyped("datasets")
    config = trl.RLOOConfig(
        output_dir=str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=4,
        use_cpu=True,
        bf16=False,
        report_to=[],
    )

    with RatingReward(recipe, RunFolder(tmp_path / "run")) as reward:
        rows = datasets.Dataset.from_list([{"prompt": ASKED}] * 2)
        trainer = trl.RLOOTrainer(str(tiny_model), reward, config, rows)
        trainer.train()

    logged = [entry for entry in trainer.state.log_history if "rewards/rating/mean" in entry]
    assert logged
    assert -1 <= logged[0]["rewards/rating/mean"] <= 1
