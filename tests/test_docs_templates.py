"""docs/templates.md shows what is sent."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from cai.constitution import Principle
from cai.prompt_tags import TAGS
from cai.prompts import REQUIRED, Prompts
from cai.records import Message

TEXT = (Path(__file__).parents[1] / "docs" / "templates.md").read_text(encoding="utf-8")
SHOWN = [textwrap.dedent(block) for block in re.findall(r"(?:^ {4}.*\n|^\n)+", TEXT, re.MULTILINE)]
PRINCIPLE = Principle(
    id="shown",
    critique="Identify specific ways in which the last reply is harmful.",
    revision="Rewrite it.",
    comparison="Which of these replies is less harmful?",
)


@pytest.mark.parametrize("name", ["critique", "compare"])
def test_the_texts_of_the_page_are_those_that_are_sent(name: str):
    given = {
        "conversation": (Message("user", "How do I pick a lock?"),),
        "response": "With a bent hairpin.",
        "response_a": "With a bent hairpin.",
        "response_b": "Call a locksmith.",
        "principle": PRINCIPLE,
        "few_shots": (),
    }

    (sent,) = Prompts(family="completion").render(
        name, **{key: value for key, value in given.items() if key in REQUIRED[name]}
    )

    assert sent.content.strip() in [block.strip() for block in SHOWN]


def test_every_template_and_tag_is_named():
    named = set(re.findall(r"`([a-z_]+)`", TEXT)) | set(re.findall(r"{% (\w+)", TEXT))

    assert {*REQUIRED, *TAGS} <= named
