"""The forecast of the demo, with real weights and real trainings, against the run itself."""

from pathlib import Path

import pytest

from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.forecast import Forecast, forecast
from cai.pipeline.preview import Plan
from cai.recipe import Recipe, load_recipe

EXAMPLE = Path(__file__).parents[1] / "examples" / "microworld.yaml"
SHORTER = ("rl.steps=10", "evaluation.label_probes=60")


def recipe(*overrides: str) -> Recipe:
    return load_recipe(EXAMPLE, (*SHORTER, *overrides)).limited(250)


@pytest.fixture(scope="module")
def told_and_done(tmp_path_factory) -> tuple[Forecast, dict, RunFolder]:
    """What was foretold after a sample, what the run then took, and where it is."""
    run = RunFolder(tmp_path_factory.mktemp("microworld") / "run")
    foretold = forecast(Plan(recipe(), run, sample=16))
    return foretold, run_recipe(recipe(), run)["calls"], run


@pytest.mark.slow
def test_calls_and_tokens_of_the_whole_method_are_foretold_within_a_tenth(told_and_done):
    foretold, calls, _ = told_and_done

    assert foretold.to_train == ("sl_cai", "pm", "rl_cai")
    assert foretold.to_buy == pytest.approx(calls["made"], rel=0.1)
    assert foretold.input_tokens == (pytest.approx(calls["input_tokens"], rel=0.1), True)
    assert foretold.output_tokens == (pytest.approx(calls["output_tokens"], rel=0.1), True)
    assert foretold.dollars == (0, True)


@pytest.mark.slow
def test_a_run_that_is_done_has_nothing_to_buy_or_to_train(told_and_done):
    foretold = forecast(Plan(recipe(), told_and_done[2]))

    assert (foretold.to_buy, foretold.to_train) == (0, ())


@pytest.mark.slow
def test_another_reinforcement_changes_its_own_policy_alone(told_and_done):
    foretold = forecast(Plan(recipe("rl.beta=0.2"), told_and_done[2]))

    assert foretold.to_train == ("rl_cai",)
    bought = {part.part for part in foretold.parts if part.to_buy}
    assert bought == {
        "evaluation_rl_cai",
        *("contest_harmlessness", "contest_helpfulness"),
        *("harmfulness_greedy", "harmfulness_sampled"),
    }
