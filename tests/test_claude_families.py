"""What is assumed of each of Anthropic's models, by its name."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from anthropic.types import Model

from cai.errors import PermanentError
from cai.models import ModelSettings, open_model
from cai.models.claude_families import NEWER, family_of

PREFILL = {"claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-4-5"}


@pytest.mark.parametrize(
    ("name", "prefill", "sampling", "thinking"),
    [
        ("claude-3-7-sonnet-20250219", True, "both", "asked"),
        ("claude-opus-4-0", True, "both", "asked"),
        ("claude-sonnet-4-20250514", True, "both", "asked"),
        ("claude-opus-4-1-20250805", True, "one", "asked"),
        ("claude-haiku-4-5", True, "one", "asked"),
        ("claude-sonnet-4-5-20250929", True, "one", "asked"),
        ("claude-opus-4-6", False, "one", "asked"),
        ("claude-opus-4-8", False, "none", "asked"),
        ("claude-sonnet-5", False, "none", "disabled"),
        ("claude-haiku-5-5", False, "none", "disabled"),
        ("claude-sonnet-5-5", False, "none", "between_tools"),
        ("claude-opus-5-5", False, "none", "always"),
        ("claude-fable-5-1", False, "none", "always"),
        ("claude-opus-9", False, "none", "unknown"),
        ("anthropic/claude-sonnet-4.5", True, "one", "asked"),
        ("eu.anthropic.claude-opus-4-20250514-v1:0", True, "both", "asked"),
    ],
)
def test_a_name_tells_what_the_model_takes(name: str, prefill: bool, sampling: str, thinking: str):
    family = family_of(name)

    assert (family.prefill, family.sampling, family.thinking) == (prefill, sampling, thinking)


def test_every_model_that_the_sdk_names_is_in_the_table():
    named = [name for part in get_args(Model) for name in get_args(part)]

    assert len(named) > 10
    assert [name for name in named if family_of(name) == NEWER] == []


@pytest.mark.parametrize(
    ("settings", "ending"),
    [
        ({}, "claude-opus-5@https://api.anthropic.com&thinking=disabled"),
        ({"endpoint": "http://host"}, "claude-opus-5@http://host&thinking=disabled"),
        ({"identity": "mine"}, "mine&thinking=disabled"),
        ({"thinking": True}, "&thinking=adaptive"),
        ({"effort": "low"}, "&thinking=disabled&effort=low"),
        ({"label_samples": 8}, "api.anthropic.com&thinking=disabled"),
        ({"label_samples": 4}, "api.anthropic.com&label_samples=4&thinking=disabled"),
        ({"timeout": 3.0, "api_key_env": "KEY"}, "claude-opus-5@https://api.anthropic.com&thinking=disabled"),
        ({"name": "anthropic:claude-haiku-4-5"}, "anthropic:claude-haiku-4-5@https://api.anthropic.com"),
    ],
)  # fmt: skip
def test_the_identity_holds_what_changes_answers(settings: dict[str, Any], ending: str):
    model = open_model(ModelSettings.model_validate({"name": "anthropic:claude-opus-5"} | settings))

    assert model.identity.endswith(ending)


@pytest.mark.parametrize(
    ("name", "thinking", "reason"),
    [
        ("claude-opus-5-5", False, "always thinks.*lower its `effort`"),
        ("claude-haiku-4-5", True, "only with a budget of tokens"),
    ],
)
def test_thinking_that_cannot_be_had_is_refused_at_once(name: str, thinking: bool, reason: str):
    model = open_model(ModelSettings(name=f"anthropic:{name}", thinking=thinking))

    with pytest.raises(PermanentError, match=reason):
        assert model.identity


@pytest.mark.parametrize(
    ("name", "field"),
    [("claude-opus-9", None), ("claude-sonnet-5-5", "between_tools"), ("claude-opus-5-5", None)],
)
def test_a_model_is_kept_from_thinking_where_that_is_known_to_work(name: str, field: str | None):
    model: Any = open_model(ModelSettings(name=f"anthropic:{name}"))

    assert model.endpoint.thinking_sent == field
