"""Answers come back from JSON exactly as they went in."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.engine.codec import (
    completion_from_json,
    settled,
    to_json,
    weighed_from_json,
    with_call,
)
from cai.errors import PermanentError, RejectedRequest
from cai.records import Completion, Sampling, Usage, Weighed

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
LOGPROBS = st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple)
USAGES = st.builds(Usage, st.integers(0, 2**40), st.integers(0, 2**40))
COMPLETIONS = st.builds(
    Completion,
    text=TEXTS,
    stop_reason=st.sampled_from(["stop", "length", "refusal"]),
    usage=USAGES,
    model=TEXTS,
    reasoning=st.none() | TEXTS,
    logprobs=st.none() | LOGPROBS,
    call=TEXTS,
    cached=st.booleans(),
)
WEIGHINGS = st.builds(
    Weighed,
    logprobs=LOGPROBS,
    mass=st.floats(0, 1),
    method=st.sampled_from(["exact", "top_k", "samples"]),
    usage=USAGES,
    model=TEXTS,
    standard_error=st.none() | st.floats(0, 1),
    samples=st.none() | st.integers(1, 100),
    call=TEXTS,
    cached=st.booleans(),
)


@given(COMPLETIONS)
def test_a_completion_comes_back_to_the_last_bit(completion):
    read = completion_from_json(to_json(completion), call=completion.call, cached=completion.cached)

    assert read == completion


@given(COMPLETIONS)
def test_a_completion_at_hand_is_the_one_that_would_be_read_back(completion):
    read = completion_from_json(to_json(completion), call="k1", cached=True)

    assert with_call(completion, "k1", cached=True) == read


@given(WEIGHINGS)
def test_a_weighing_comes_back_to_the_last_bit(weighed):
    read = weighed_from_json(to_json(weighed), call=weighed.call, cached=weighed.cached)

    assert read == weighed


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_logprob_that_is_no_number_stops_the_run(number):
    broken = Weighed((-0.1, number), 1.0, "exact", Usage(), "hf:broken")

    with pytest.raises(PermanentError, match="hf:broken gave a log-probability"):
        to_json(broken)


def test_a_reply_with_half_an_emoji_is_rejected_with_its_place():
    broken = Completion("so \ud83d", "stop", Usage(), "m")

    with pytest.raises(RejectedRequest, match=r"the reply has half a character \(.*at 3\)"):
        to_json(broken)


@pytest.mark.parametrize(
    ("given_sampling", "expected"),
    [
        (Sampling(temperature=0, seed=7), Sampling(temperature=0.0, seed=0)),
        (Sampling(temperature=1, seed=7), Sampling(temperature=1.0, seed=7)),
    ],
)
def test_a_seed_is_forgotten_only_where_the_reply_is_greedy(given_sampling, expected):
    assert settled(given_sampling) == expected
