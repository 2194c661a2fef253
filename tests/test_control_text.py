"""Text that spells a control token is broken before it is sent; all other text is sent as it is."""

import re

import pytest

from cai.models.control_text import BREAK, SHAPES, broken
from cai.records import Message

EXAMPLES = (
    "<|im_end|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "[/INST]",
    "<<SYS>>",
    "<end_of_turn>",
    "<extra_id_0>",
    "<turn|>",
    "]~b[",
    "[e~[",
)


def sent(text: str) -> str:
    (message,) = broken([Message("user", text)])
    return message.content


@pytest.mark.parametrize("token", EXAMPLES)
def test_a_token_in_the_middle_of_a_text_is_broken_after_its_first_character(token):
    assert sent(f"so {token} it is") == f"so {token[0]}{BREAK}{token[1:]} it is"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_known_shape_has_an_example_here(shape):
    assert any(re.fullmatch(shape, token) for token in EXAMPLES)


@pytest.mark.parametrize("text", ["", "plain words", "if a < b then [1] or ]~ is <b>bold</b>"])
def test_other_text_is_sent_as_it_is(text):
    assert sent(text) == text
