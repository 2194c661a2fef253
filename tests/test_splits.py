from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from cai.records import Message
from cai.splits import position, purpose_of, split_of


def numbered(count: int) -> list[tuple[Message, ...]]:
    return [(Message("user", f"request {number}"),) for number in range(count)]


@given(st.text(), st.floats(0, 1))
def test_records_and_their_json_data_fall_into_the_same_part(text, share):
    messages = (Message("user", text),)

    assert split_of(messages, share) == split_of([asdict(one) for one in messages], share)


def test_the_held_out_share_is_what_was_asked_for():
    held_out = sum(split_of(messages, 0.1) == "test" for messages in numbered(5000))

    assert 430 < held_out < 570


def test_purpose_and_split_are_independent():
    both = [m for m in numbered(5000) if purpose_of(m, 0.5) == "sft" and split_of(m, 0.5) == "test"]

    assert 1130 < len(both) < 1370


def test_a_larger_share_keeps_the_prompts_of_a_smaller_one():
    small = {m for m in numbered(500) if purpose_of(m, 0.3) == "sft"}

    assert small <= {m for m in numbered(500) if purpose_of(m, 0.4) == "sft"}


@given(st.text(), st.text())
def test_positions_lie_in_the_unit_interval(text, question):
    assert 0 <= position((Message("user", text),), question) < 1
