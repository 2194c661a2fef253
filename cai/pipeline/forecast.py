"""What a run or rerun costs, told beforehand; see `cai.pipeline.preview` for how it is counted."""

from __future__ import annotations

from collections.abc import Sequence

from cai.pipeline.default_rates import default_rates
from cai.pipeline.forecast_parts import Forecast, parts_of
from cai.pipeline.preview import Plan, preview_of
from cai.pipeline.steps import Step, steps_of
from cai.stopping import run_until_stopped

__all__ = ["Forecast", "forecast"]


def forecast(plan: Plan, steps: Sequence[Step] | None = None) -> Forecast:
    """Say what steps of a run or rerun would cost; buys the calls of a sample and nothing else.

    A row that ends early (refused, cut off) makes fewer calls than foreseen.

    Args:
        plan: the recipe, the run's folder, and the size of the sample.
        steps: those that the run would do; None for all that the recipe asks for.

    Raises:
        CaiError: what would stop the run as well; calls bought for the sample are kept.
    """
    with preview_of(plan) as preview:
        recipe = plan.recipe
        steps = steps or steps_of(recipe)
        run_until_stopped(preview.take(steps))
        last = plan.recipe.models.fallback
        return Forecast(
            parts_of(preview.foresight, plan.recipe.forecast),
            tuple(preview.to_train),
            fallback=None if last is None else last.name,
            left_out=preview.left_out,
            rates=default_rates(recipe, steps) if preview.to_train else None,
        )
