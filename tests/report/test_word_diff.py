import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.report.word_diff import word_diff

WORDS = st.lists(st.sampled_from(["a", "lock", "key", "never", "\n", "  "]), max_size=30)


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("one two", "one two", [("kept", "one two")]),
        (
            "Pick the lock at night, then go home.",
            "Ask the owner first, then go home.",
            [
                ("removed", "Pick"),
                ("added", "Ask"),
                ("kept", " the "),
                ("removed", "lock at night,"),
                ("added", "owner first,"),
                ("kept", " then go home."),
            ],
        ),
        (
            "I will help.",
            "I will not help.",
            [("kept", "I will "), ("added", "not "), ("kept", "help.")],
        ),
    ],
    ids=["the same", "words and phrases", "a word more"],
)
def test_a_diff_marks_whole_words(before: str, after: str, pieces: list[tuple[str, str]]):
    assert word_diff(before, after) == pieces


def test_texts_with_hardly_a_word_in_common_are_not_compared():
    assert word_diff("Take the bike at night.", "I will not help you steal; buy one.") is None


@given(WORDS, WORDS)
def test_a_diff_gives_back_both_texts(before: list[str], after: list[str]):
    was, now = " ".join(before), " ".join(after)

    pieces = word_diff(was, now)

    if pieces is not None:
        assert "".join(one.text for one in pieces if one.change != "added") == was
        assert "".join(one.text for one in pieces if one.change != "removed") == now
