"""How a LangChain class is told how to sample: by its fields, whose names differ by provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel

from cai.errors import PermanentError, UnsupportedSampling
from cai.models.capabilities import capabilities_of
from cai.records import Sampling

FIELDS: Mapping[str, frozenset[str]] = {
    "temperature": frozenset({"temperature"}),
    "top_p": frozenset({"top_p"}),
    "max_tokens": frozenset(
        {
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",  # Google
            "max_new_tokens",
            "num_predict",  # Ollama
        }
    ),
    "seed": frozenset({"seed", "random_seed"}),  # the second is Mistral's
    "logprobs": frozenset({"logprobs"}),
    "top_logprobs": frozenset({"top_logprobs"}),
    "timeout": frozenset({"timeout"}),
    "max_retries": frozenset({"max_retries"}),
}
"""Names, or aliases, that the fields of LangChain classes have."""

BY_CALL: Mapping[str, Mapping[str, str]] = {
    "cohere": {"max_tokens": "max_tokens", "top_p": "p", "seed": "seed"},
    "groq": {"top_p": "top_p", "seed": "seed"},
}
"""Of providers whose class lacks a field: what the call itself takes, and under which name."""

TRIES: Mapping[str, int] = {"google_genai": 1, "google_vertexai": 1, "cohere": 1}
"""`max_retries` of providers that count the first try, or take 0 for their own default."""


class Slot(NamedTuple):
    """Where a class takes a parameter: the keyword to make it with, and the attribute it sets."""

    keyword: str
    attribute: str


@cache
def slot(kind: type[BaseModel], parameter: str) -> Slot | None:
    """Where a class takes a parameter; None if no field of it has one of the known names.

    Args:
        kind: a LangChain chat model class.
        parameter: a key of `FIELDS`.
    """
    for name, field in kind.model_fields.items():
        if FIELDS[parameter] & {name, field.alias}:
            return Slot(field.alias or name, name)
    return None


def keywords(kind: type[BaseModel]) -> frozenset[str]:
    """All keywords that a class can be made with: its fields and their aliases."""
    aliases = {field.alias for field in kind.model_fields.values() if field.alias}
    return frozenset(kind.model_fields) | aliases


def is_claude(provider: str, model: str) -> bool:
    """Whether a model is Anthropic's, at whatever provider."""
    return re.search(r"anthropic|claude", f"{provider}:{model}".lower()) is not None


def tries(provider: str) -> int:
    """The value of `max_retries` that means no second try: retries are the engine's."""
    return TRIES.get(provider, 0)


class Given(NamedTuple):
    """How the parameters of one sampling are handed over.

    Args:
        made_with: those that a model is made with, by our names.
        called_with: those that each call gets, by the provider's names.
    """

    made_with: Mapping[str, Any]
    called_with: Mapping[str, Any]


def given(kind: type[BaseModel], provider: str, model: str, sampling: Sampling) -> Given:
    """Sort the parameters of a sampling by how a class takes them; the seed may have no place.

    Raises:
        PermanentError: the class has no place for a parameter that changes answers;
            `UnsupportedSampling` for temperature and top_p.
    """
    wanted = {name: getattr(sampling, name) for name in ("temperature", "top_p", "max_tokens")}
    plain = _plain_at_one(provider, model)
    wanted = {name: value for name, value in wanted.items() if not (value == 1 and name in plain)}
    by_call = BY_CALL.get(provider, {})
    made_with: dict[str, Any] = {}
    called_with: dict[str, Any] = {}
    for name, value in wanted.items():
        if slot(kind, name) is not None:
            made_with[name] = value
        elif name in by_call:
            called_with[by_call[name]] = value
        elif name == "max_tokens" or value != 1:
            kind_of_error = PermanentError if name == "max_tokens" else UnsupportedSampling
            raise kind_of_error(
                f"langchain:{provider}:{model} cannot be asked for {name} {value}: "
                f"{kind.__name__} has no field for it; "
                + ("choose another provider" if name == "max_tokens" else f"set {name}: 1")
            )
    if slot(kind, "seed") is None and "seed" in by_call:
        called_with[by_call["seed"]] = sampling.seed
    return Given(made_with, called_with)


def _plain_at_one(provider: str, model: str) -> frozenset[str]:
    """Parameters that are not sent at 1, their default there: some models refuse any value."""
    if is_claude(provider, model) or (
        provider in ("openai", "azure_openai") and capabilities_of("openai", model).fixed
    ):
        return frozenset({"temperature", "top_p"})
    return frozenset()
