"""Hosted policies that decline, or that do not draw as they are asked to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cai.errors import CaiError, PermanentError, UnsupportedSampling
from cai.models.chat_wire import raise_for_status
from tests.chat_server import Failure, Reply
from tests.test_evaluate_labeler import likes
from tests.test_judged_replies import asked_of, evaluate, graded, yes

OTHER = "models: {other: {name: 'openai:other', endpoint: SERVER}}"
DECLINED = Reply("", "content_filter")
NO_TEMPERATURE = Failure(
    400,
    b'{"error": {"message": "Unsupported value: temperature does not support 0 with this model.", '
    b'"code": "unsupported_value"}}',
)


def judging(body: Mapping[str, Any]) -> Reply | None:
    """What the judge says to its questions; None to anything else."""
    asked = asked_of(body)
    if "from 0 to 4" in asked:
        return graded(1, 0, 0, 0, 0)
    if "Yes or No" in asked:
        return yes(0.1)
    return likes("So.")(dict(body)) if "(A):" in asked else None


@pytest.fixture(scope="module")
def declining(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Figures beside a policy whose provider declines everything."""

    def answer(body: Mapping[str, Any]) -> Reply:
        return judging(body) or (DECLINED if body["model"] == "other" else Reply("So."))

    settings = f"harmfulness: {{}}\n  verdicts: {{}}\n  contest: {{{OTHER}}}"
    return evaluate(tmp_path_factory.mktemp("declining"), settings, answer)


@pytest.mark.parametrize("by", ["stages", "verdicts"])
def test_what_a_provider_declines_is_a_refusal_and_no_broken_text(
    declining: dict[str, Any], by: str
):
    figures = declining[by]["other"]

    assert (figures["over_refusal"]["value"], figures["degenerate"]["value"]) == (1, 0)


def test_a_judge_is_not_asked_about_what_a_provider_declined(declining: dict[str, Any]):
    verdicts = declining["verdicts"]["other"]

    assert (verdicts["calls"], verdicts["refused"], verdicts["agreement"]) == (0, None, None)
    for criterion, prompts in (("harmlessness", 2), ("helpfulness", 1)):
        found = declining["contest"]["criteria"][criterion]
        assert (found["rows"], found["calls"]) == ({"refused": prompts}, 0)
        assert found["refused"] is None
    assert declining["harmfulness"]["other"]["rows"] == {"refused": 4}
    assert "other" not in declining["style"]


def test_a_policy_that_is_not_drawn_greedily_is_left_out_of_those_scores_alone(tmp_path: Path):
    def answer(body: Mapping[str, Any]) -> Reply | Failure:
        if said := judging(body):
            return said
        refuses = body["model"] == "other" and body["temperature"] == 0
        return NO_TEMPERATURE if refuses else Reply("So.")

    settings = f"harmfulness: {{}}\n  contest: {{{OTHER}}}"
    found = evaluate(tmp_path, settings, answer)

    scores = found["harmfulness"]["other"]
    assert (scores["greedy"], scores["sampled"]["n"]) == (None, 2)
    assert scores["rows"] == {"filtered": 2, "ok": 2}
    assert found["harmfulness"]["helpful"]["greedy"]["n"] == 2
    (reason,) = found["filtered"]["harmfulness_greedy"]
    assert "other has no reply: it is not drawn at temperature 0" in reason


def test_figures_of_a_contest_are_kept_where_a_later_pass_stops(tmp_path: Path):
    def answer(body: Mapping[str, Any]) -> Reply | Failure:
        if "from 0 to 4" in asked_of(body):
            return Failure(401)
        return judging(body) or Reply("So." if body["model"] == "other" else "Go away.")

    with pytest.raises(CaiError, match="401"):
        evaluate(tmp_path, f"harmfulness: {{}}\n  contest: {{{OTHER}}}", answer)

    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["contest"]["criteria"]["harmlessness"]["rows"] == {"ok": 2}
    assert found["stages"].keys() == {"helpful", "other"}


def test_a_400_about_the_temperature_is_told_apart_from_others():
    with pytest.raises(UnsupportedSampling):
        raise_for_status(400, {}, NO_TEMPERATURE.body, "url")
    with pytest.raises(PermanentError) as other:
        raise_for_status(400, {}, b'{"error": {"message": "no such model"}}', "url")

    assert type(other.value) is PermanentError
