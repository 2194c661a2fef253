"""Providers' replies and classes as LangChain shows them, and what they mean to us."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field

from cai.errors import PermanentError, TransientError
from cai.models.langchain_errors import Explained
from cai.models.langchain_fields import given, slot
from cai.models.langchain_integration import Integration
from cai.models.langchain_replies import first_token, read_reply, to_langchain
from cai.records import Message, Sampling

USAGE = {"input_tokens": 5, "output_tokens": 4, "total_tokens": 9}


def answer(content: str | list[Any] = "Hi", usage: Any = USAGE, **metadata: Any) -> AIMessage:
    return AIMessage(content=content, response_metadata=metadata, usage_metadata=usage)


@pytest.mark.parametrize(
    ("provider", "metadata", "reason"),
    [
        ("openai", {"finish_reason": "stop"}, "stop"),
        ("openai", {"finish_reason": "length"}, "length"),
        ("openai", {"finish_reason": "content_filter"}, "refusal"),
        ("responses", {"status": "completed"}, "stop"),
        (
            "responses",
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
        ),
        ("anthropic", {"stop_reason": "end_turn"}, "stop"),
        ("anthropic", {"stop_reason": "stop_sequence"}, "stop"),
        ("anthropic", {"stop_reason": "max_tokens"}, "length"),
        ("anthropic", {"stop_reason": "refusal"}, "refusal"),
        ("bedrock_converse", {"stopReason": "end_turn"}, "stop"),
        ("bedrock_converse", {"stopReason": "guardrail_intervened"}, "refusal"),
        ("google_genai", {"finish_reason": "STOP"}, "stop"),
        ("google_genai", {"finish_reason": "MAX_TOKENS"}, "length"),
        ("google_genai", {"finish_reason": "SAFETY"}, "refusal"),
        ("mistralai", {"finish_reason": "model_length"}, "length"),
        ("ollama", {"done_reason": "stop", "done": True}, "stop"),
        ("ollama", {"done_reason": "length"}, "length"),
        ("cohere", {"finish_reason": "COMPLETE"}, "stop"),
        ("huggingface", {"finish_reason": "eos_token"}, "stop"),
    ],
)
def test_why_a_reply_ended_is_read_as_its_provider_says_it(
    provider: str, metadata: dict[str, Any], reason: str
):
    reply = read_reply(answer(**metadata), provider, max_tokens=100)

    assert reply.stop_reason == reason


def test_an_unknown_reason_to_end_is_no_finished_reply():
    with pytest.raises(TransientError, match="'load'"):
        read_reply(answer(done_reason="load"), "ollama", max_tokens=100)


@pytest.mark.parametrize(("max_tokens", "reason"), [(4, "length"), (5, "stop")])
def test_without_a_reason_a_reply_of_the_longest_length_was_cut_off(max_tokens: int, reason: str):
    assert read_reply(answer(), "any", max_tokens).stop_reason == reason


def test_without_reason_and_token_count_a_provider_cannot_be_used():
    with pytest.raises(PermanentError, match="neither why the reply ended nor how many tokens"):
        read_reply(answer(usage=None), "any", max_tokens=4)


def test_tokens_and_the_reported_model_are_kept():
    reply = read_reply(answer(finish_reason="stop", model_name="gpt-4o-2024"), "gpt-4o", 100)

    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 4)
    assert reply.model == "gpt-4o-2024"


@pytest.mark.parametrize(
    "message",
    [
        AIMessage(
            content=[
                {"type": "thinking", "thinking": "Let me see.", "signature": "x"},
                {"type": "text", "text": "Hi"},
            ],
            response_metadata={"model_provider": "anthropic", "stop_reason": "end_turn"},
        ),
        AIMessage(
            content="Hi",
            additional_kwargs={"reasoning_content": "Let me see."},
            response_metadata={"done_reason": "stop"},
        ),
        AIMessage(
            content=[
                {"type": "reasoning", "reasoning": "Let me see."},
                {"type": "text", "text": "Hi"},
            ],
            response_metadata={"finish_reason": "stop", "output_version": "v1"},
        ),
    ],
    ids=["anthropic", "ollama, deepseek", "standard blocks"],
)
def test_reasoning_is_kept_apart_from_the_text(message: AIMessage):
    reply = read_reply(message, "any", max_tokens=100)

    assert (reply.text, reply.reasoning) == ("Hi", "Let me see.")


def test_likely_first_tokens_are_read_from_openais_and_ollamas_shape():
    tokens = [{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}]}]

    openai, ollama = answer(logprobs={"content": tokens}), answer(logprobs=tokens)

    assert first_token(openai) == first_token(ollama) == (("A", -0.1),)


def test_a_prefill_carries_the_mark_that_its_provider_needs():
    integration = Integration("mistralai", "mistral-small")
    messages = [Message("user", "Hello"), Message("assistant", "I")]

    sent = to_langchain(messages, integration.prefill_mark())

    assert (sent[0].additional_kwargs, sent[1].additional_kwargs) == ({}, {"prefix": True})


@pytest.mark.parametrize(
    ("provider", "model", "goes_on"),
    [
        ("anthropic", "claude-3-5-haiku-latest", True),
        ("bedrock_converse", "anthropic.claude-3-haiku-20240307-v1:0", True),
        ("anthropic", "claude-opus-4-8", False),
        ("google_genai", "gemini-2.5-pro", False),
    ],
)
def test_a_prefill_is_taken_by_the_models_that_go_on_with_it(
    provider: str, model: str, goes_on: bool
):
    integration = Integration(provider, model)

    if goes_on:
        assert integration.prefill_mark() == {}
    else:
        with pytest.raises(PermanentError, match="set `prefill: true`"):
            integration.prefill_mark()


class Ollama(BaseModel):
    """Fields as langchain-ollama's class names them."""

    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None


class Google(BaseModel):
    """As langchain-google-genai's does."""

    model_config = ConfigDict(populate_by_name=True)

    max_output_tokens: int | None = Field(default=None, alias="max_tokens")
    temperature: float | None = None
    top_p: float | None = None


class Groq(BaseModel):
    """As langchain-groq's does."""

    max_tokens: int | None = None
    temperature: float = 0.7


class Bare(BaseModel):
    """A class that takes no parameter at all."""


def test_fields_are_found_by_name_and_by_alias():
    assert slot(Ollama, "max_tokens") == ("num_predict", "num_predict")
    assert slot(Google, "max_tokens") == ("max_tokens", "max_output_tokens")
    assert slot(Google, "seed") is None


def test_a_parameter_at_one_is_sent_where_the_class_has_a_default_of_its_own():
    sorted_out = given(Ollama, "ollama", "qwen3", Sampling(max_tokens=9))

    assert sorted_out.made_with == {"temperature": 1, "top_p": 1, "max_tokens": 9}


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-opus-4-1"), ("openai", "o3"), ("azure_openai", "gpt-5")],
)
def test_a_parameter_at_one_is_left_out_where_models_refuse_any(provider: str, model: str):
    assert given(Ollama, provider, model, Sampling(max_tokens=9)).made_with == {"max_tokens": 9}


def test_what_a_class_lacks_goes_with_the_call_where_that_is_known():
    sorted_out = given(Groq, "groq", "llama", Sampling(top_p=0.9, max_tokens=9, seed=3))

    assert sorted_out.made_with == {"temperature": 1, "max_tokens": 9}
    assert sorted_out.called_with == {"top_p": 0.9, "seed": 3}


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        (Sampling(top_p=0.9), "cannot be asked for top_p 0.9: Groq has no field .* set top_p: 1"),
        (Sampling(), None),
    ],
)
def test_a_parameter_without_a_place_is_an_error_unless_it_is_at_one(
    sampling: Sampling, told: str | None
):
    if told is None:
        assert "top_p" not in given(Groq, "other", "llama", sampling).made_with
    else:
        with pytest.raises(PermanentError, match=told):
            given(Groq, "other", "llama", sampling)


def test_a_class_that_takes_no_longest_length_cannot_be_used():
    with pytest.raises(PermanentError, match="max_tokens 256: Bare has no field"):
        given(Bare, "other", "llama", Sampling())


def test_an_error_of_aws_is_known_by_the_status_in_its_answer():
    class ClientError(Exception):
        def __init__(self, message: str) -> None:
            super().__init__(message)
            self.response = {"ResponseMetadata": {"HTTPStatusCode": 429}}

    with (
        pytest.raises(TransientError, match="429: Too many requests") as raised,
        Explained("langchain:bedrock:llama", TransientError),
    ):
        raise ClientError("Too many requests")

    assert raised.value.cause == "overload"


def test_a_providers_own_error_without_a_status_stops_the_run_with_its_words():
    class NoCredentialsError(Exception):
        pass

    with (
        pytest.raises(PermanentError, match="NoCredentialsError: Unable to locate credentials"),
        Explained("langchain:bedrock:llama", TransientError),
    ):
        raise NoCredentialsError("Unable to locate credentials")


def test_a_bug_of_ours_keeps_its_trace():
    with pytest.raises(RuntimeError), Explained("langchain:openai:gpt-4o", TransientError):
        raise RuntimeError("a bug")
