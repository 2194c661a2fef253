"""What requests have in common is found by looking at them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cai.models.shared_prefixes import SEEN, SHORTEST, SharedPrefixes
from cai.records import Message

LONG = Message("user", "x" * SHORTEST)


def question(number: int) -> Message:
    return Message("user", f"question {number}")


def noted(prefixes: SharedPrefixes, *begin: Message, times: int) -> list[int]:
    return [prefixes.shared([*begin, question(number)]) for number in range(times)]


def test_a_beginning_is_shared_once_enough_requests_had_it():
    assert noted(SharedPrefixes(), LONG, times=5) == [0] * SEEN + [1] * (5 - SEEN)


def test_the_longest_shared_beginning_is_found():
    answer = Message("assistant", "y")

    assert noted(SharedPrefixes(), LONG, answer, times=4)[-1] == 2


def test_a_short_beginning_is_not_worth_a_mark():
    assert noted(SharedPrefixes(), Message("user", "x"), times=9) == [0] * 9


def test_texts_that_are_cut_elsewhere_are_not_the_same():
    prefixes = SharedPrefixes()
    noted(prefixes, Message("user", "x" * SHORTEST + "a"), Message("user", "b"), times=9)

    assert prefixes.shared([LONG, Message("user", "ab"), question(0)]) == 0


def test_samples_of_one_request_count_once():
    prefixes = SharedPrefixes()

    assert {prefixes.shared([LONG, question(0)]) for _ in range(9)} == {0}


turns = st.builds(Message, st.just("user"), st.sampled_from(["a", "b", "x" * SHORTEST]))


@given(st.lists(st.lists(turns, min_size=1, max_size=4), max_size=30))
def test_what_is_called_shared_stood_at_the_beginning_of_earlier_requests(
    requests: Sequence[Sequence[Message]],
):
    prefixes = SharedPrefixes()

    for number, request in enumerate(requests):
        shared = prefixes.shared(request)
        earlier = {tuple(one) for one in requests[:number]}
        begun_so = [one for one in earlier if one[:shared] == tuple(request[:shared])]

        assert shared < len(request)
        assert not shared or len(begun_so) >= SEEN
