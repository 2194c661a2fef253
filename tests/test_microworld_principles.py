from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.microworld import ASPECTS, HARMS, coverage, draw_principle
from cai.microworld.phrases import KEYWORDS, PHRASES
from cai.microworld.principles import is_held_out
from cai.microworld.wordings import FRAMES


@given(seed=st.integers(), held_out=st.booleans())
def test_the_words_of_a_principle_tell_what_it_covers(seed: int, held_out: bool):
    principle = draw_principle(random.Random(seed), held_out=held_out)

    covers = set(principle.covers)
    assert coverage(principle.critique) == covers
    assert coverage(principle.revision) == covers
    assert coverage(principle.comparison) == covers


@given(seed=st.integers())
def test_held_out_wordings_are_never_those_of_pretraining(seed: int):
    covers = ["theft", "privacy", "fraud"]

    seen = draw_principle(random.Random(seed), covers)
    unseen = draw_principle(random.Random(seed), covers, held_out=True)

    assert seen.critique != unseen.critique
    assert seen.comparison != unseen.comparison


@pytest.mark.parametrize("name", [*HARMS, *ASPECTS])
def test_every_phrase_is_about_its_own_family_alone(name: str):
    assert all(coverage(phrase) == {name} for phrase in PHRASES[name])


def test_no_frame_covers_anything_by_itself():
    frames = [
        frame
        for stage in FRAMES.values()
        for frame in (*stage.harm, *stage.tone, *stage.more, *stage.before, *stage.after)
    ]

    assert all(not coverage(frame) for frame in frames)
    assert all(len(stage.harm) >= 30 for stage in FRAMES.values())


def test_no_word_is_a_key_of_two_families():
    words = [word for keys in KEYWORDS.values() for word in keys]

    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("text", "covers"),
    [
        ("Which reply is less about THEFT?", {"theft"}),
        ("Do not spy, and do not preach.", {"privacy", "preachiness"}),
        ("Avoid jaywalking.", set()),
        ("", set()),
    ],
)
def test_a_users_own_words_have_a_truth_too(text: str, covers: set[str]):
    assert coverage(text) == covers


def test_about_a_fifth_of_phrase_combinations_are_held_out():
    combinations = [f"{a} + {b}" for a in PHRASES["theft"] for b in PHRASES["privacy"]]

    share = sum(is_held_out(text) for text in combinations) / len(combinations)

    assert 0.1 < share < 0.3
