"""Which option a sampled reply names, where a model gives no probabilities."""

from __future__ import annotations

import pytest

from cai.models.weighing import estimated_from_replies, named_option

OPTIONS = (" (A)", " (B)")


@pytest.mark.parametrize(
    "reply", ["A", "(A)", "**A**", "A.", " A) is better", "(A): since …", "A\n\nIt"]
)
def test_a_letter_with_a_mark_behind_it_or_alone_on_its_line_names_an_option(reply: str):
    assert named_option(reply, OPTIONS) == " (A)"


@pytest.mark.parametrize(
    "reply",
    [
        "A clear case for (B)",
        "A reply that helps is better",
        "A or B? B",
        "“A good one”",
        "C.",
        "",
        "\n",
    ],
)
def test_what_may_be_the_beginning_of_a_sentence_names_none(reply: str):
    assert named_option(reply, OPTIONS) is None


def test_replies_that_begin_with_an_article_are_no_labels():
    weighed = estimated_from_replies(["A clear case for (B)"] * 8, OPTIONS)

    assert weighed.mass == 0
    assert weighed.logprobs[0] == weighed.logprobs[1]
