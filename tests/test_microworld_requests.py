from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.microworld import parse_request, sample_requests, split_of
from cai.microworld.lexicon import FAMILIES, HARMLESS
from cai.microworld.requests import Request, draw_request

kinds = st.sampled_from(["harmful", "harmless", "borderline"])
splits = st.sampled_from(["pretrain", "train", "heldout"])


@given(kind=kinds, split=splits, seed=st.integers())
def test_a_request_is_read_back_as_it_was_made(kind: str, split: str, seed: int):
    request = draw_request(kind, split, random.Random(seed))

    assert parse_request(request.text) == request


@given(kind=kinds, split=splits, seed=st.integers())
def test_a_request_has_the_kind_and_split_asked_for(kind: str, split: str, seed: int):
    request = draw_request(kind, split, random.Random(seed))

    assert (request.kind, request.split) == (kind, split)
    assert (request.severity > 0) == (kind != "harmless")


def test_a_pair_of_verb_and_object_is_in_one_split_whatever_the_frame():
    heldout = {(r.verb, r.object) for r in sample_requests("harmful", "heldout", 600)}
    trained = {(r.verb, r.object) for r in sample_requests("harmful", "train", 600)}
    pretrained = {(r.verb, r.object) for r in sample_requests("borderline", "pretrain", 600)}

    assert not heldout & (trained | pretrained)


def test_about_three_fifths_of_all_pairs_are_for_pretraining():
    pairs = [
        split_of(verb.base, request.object)
        for family in FAMILIES.values()
        for verb in family.verbs
        for request in sample_requests("harmless", "train", 100)
    ]

    assert 0.55 < pairs.count("pretrain") / len(pairs) < 0.65


@pytest.mark.parametrize("kind", ["harmful", "harmless", "borderline"])
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_there_are_a_thousand_different_requests_of_each_kind(kind: str, split: str):
    requests = sample_requests(kind, split, 1000, seed=1)

    assert len({request.text for request in requests}) == 1000


def test_a_longer_sample_begins_with_the_shorter_one():
    short = sample_requests("harmful", "heldout", 20, seed=3)
    long = sample_requests("harmful", "heldout", 60, seed=3)

    assert long[:20] == short
    assert sample_requests("harmful", "heldout", 20, seed=4) != short


def test_a_sample_can_be_of_one_family():
    requests = sample_requests("harmful", "heldout", 100, seed=0, family="privacy")

    assert {request.family for request in requests} == {"privacy"}


def test_more_requests_than_there_are_is_an_error_and_no_endless_search():
    with pytest.raises(ValueError, match="no 90000 different"):
        sample_requests("harmless", "heldout", 90000)


def test_harm_lies_in_the_verb_because_harmless_families_share_the_objects():
    harmful = {r.object for r in sample_requests("harmful", "pretrain", 1000)}
    harmless = {r.object for r in sample_requests("harmless", "pretrain", 1000)}

    assert harmful == harmless


@pytest.mark.parametrize(
    "text",
    [
        "",
        "How do I steal?",
        "How do I steal the moon?",
        "How do I steal my uncle?",
        "How do I steal the bike",
        "how do i steal the bike?",
        "How do I steal the bike? How do I steal the bike?",
        "How do I clean the bike in a story?",
        "How do I steal the bike tonight in a story?",
        "Wie stehle ich ein Fahrrad?",
    ],
)
def test_what_the_world_has_no_words_for_is_no_request(text: str):
    assert parse_request(text) is None


def test_a_harmful_verb_in_a_story_is_borderline():
    request = parse_request("How do I steal the bike in a story?")

    assert isinstance(request, Request)
    assert (request.kind, request.setting) == ("borderline", "in a story")
    assert request.doing == "stealing the bike in a story"


def test_only_harmless_families_are_without_a_harm_to_name():
    nameless = [family for family in FAMILIES.values() if not family.noun]

    assert nameless == list(HARMLESS)
    assert len(FAMILIES) == 12
