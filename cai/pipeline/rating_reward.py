"""A judge's rating of a reply as the reward of reinforcement learning: direct RLAIF.

Lee et al. (2023), §2.2.2: no preference model stands between the judge and the policy.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import fmean
from types import TracebackType
from typing import Any

from cai.at_once import all_of
from cai.engine import Ledger, Progress, RowEnded
from cai.engine.budget import Budget
from cai.pipeline.folder import RunFolder
from cai.pipeline.studio import Studio
from cai.recipe import Recipe
from cai.records import Message, Prompt, Response, RowKey, digest
from cai.stages.label_maths import rating_reward
from cai.stages.rate import rate_replies

STAGE = "reward"

Turns = Sequence[Mapping[str, Any]]


class RatingReward:
    """A reward function of TRL's `RLOOTrainer` and `GRPOTrainer`; owns the judge and its ledger.

    Every reply is rated from 1 to 10 under the principles that are drawn for its prompt, and the
    mean rating s is its reward, 2 (s − 1) / 9 − 1, in [−1, 1]. A reply that the judge declines to
    rate, or gives no number for, has none. Every call is bought once.

    Args:
        recipe: whose judge, fallback, constitution, templates, number of principles
            (``comparisons.label.principles``) and least mass are used.
        folder: keeps the calls.
        budget: the most that may be spent; None for any amount.

    Example:
        ``RLOOTrainer(policy, reward_funcs=reward, …)`` within ``with RatingReward(…) as reward:``
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, budget: Budget | None = None) -> None:
        """Open the ledger; the judge is opened at the first call.

        Raises:
            CaiError: the recipe, its constitution or a template has faults, or another process
                writes to the folder.
        """
        self.__name__ = "rating"  # TRL logs the reward under it
        self.unrated = Counter[str]()
        folder.make()
        with ExitStack() as opened:
            ledger = opened.enter_context(Ledger.open(folder.ledger))
            progress = opened.enter_context(Progress())
            self._studio = Studio(recipe, folder, ledger, progress, budget=budget or Budget())
            self._runner = opened.enter_context(asyncio.Runner())
            self._opened = opened.pop_all()

    def __call__(
        self, prompts: Sequence[Turns], completions: Sequence[Turns], **columns: Any
    ) -> list[float | None]:
        """Rewards of replies, in their order; None where the judge gave no rating.

        `unrated` counts those, by how and why they ended.

        Args:
            prompts: turns with ``role`` and ``content``.
            completions: of each, one turn of the assistant's.
            **columns: of the data set; not looked at.

        Raises:
            CaiError: what stops a run as well; everything bought is kept.
        """
        pairs = zip(prompts, completions, strict=True)
        return self._runner.run(self._rewards([(*pair,) for pair in pairs]))

    def close(self) -> None:
        """Close the judge and the ledger."""
        with self._opened:
            self._runner.run(self._studio.close())

    def __enter__(self) -> RatingReward:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    async def _rewards(self, pairs: Sequence[tuple[Turns, Turns]]) -> list[float | None]:
        return await all_of(self._reward(prompt, completion) for prompt, completion in pairs)

    async def _reward(self, prompt: Turns, completion: Turns) -> float | None:
        turns = tuple(Message(turn["role"], turn["content"]) for turn in prompt)
        asked, text = Prompt(turns, STAGE), str(completion[-1]["content"])
        key = RowKey(STAGE, digest([asked.id, text])[:16])
        studio, settings = self._studio, self._studio.recipe.comparisons
        try:
            # Replies to one prompt are measured against each other: under the same principles.
            principles = studio.setting.draw_many(
                "rating", settings.label.principles, asked, key, round_number=0
            )
            rated = await all_of(
                rate_replies(
                    [Response(asked, text, 0, "", "")],
                    principle,
                    key,
                    judge=studio.model("judge", key),
                    setting=studio.setting,
                    minimum_mass=settings.minimum_mass,
                )
                for principle in principles
            )
        except RowEnded as end:
            self.unrated[f"{end.row.status}: {end.row.reason}"] += 1
            return None
        return rating_reward(fmean(one.ratings[0].expected for one in rated))
