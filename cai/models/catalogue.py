"""The models that settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cai.models.base import LanguageModel
from cai.models.providers import LANGCHAIN_OPTIONS, LIMITS, OPENAI_OPTIONS, VLLM_ENGINE
from cai.models.settings import ModelSettings
from cai.models.weights import LoadOptions


def open_model(settings: ModelSettings) -> LanguageModel:
    """The model of these settings; nothing is loaded or connected before its first call."""
    return FACTORIES[settings.way](settings)


def _local(settings: ModelSettings) -> LanguageModel:
    from cai.models.local import LocalModel

    return LocalModel(
        settings.name,
        _load_options(settings),
        device=settings.device,
        max_batch_tokens=settings.max_batch_tokens,
    )


def _vllm_engine(settings: ModelSettings) -> LanguageModel:
    from cai.models.vllm_engine import VLLMModel

    return VLLMModel(
        settings.name.removeprefix("vllm:"),
        _load_options(settings),
        settings.engine or {},
        token_logprobs=settings.token_logprobs,
    )


def _load_options(settings: ModelSettings) -> LoadOptions:
    return LoadOptions(
        dtype=settings.dtype,
        quantization=settings.quantization,
        adapter=settings.adapter,
        format=settings.format or ("completion" if settings.family == "completion" else None),
    )


def _http(settings: ModelSettings) -> LanguageModel:
    from cai.models.capabilities import Capabilities
    from cai.models.openai_compatible import OPENAI, Endpoint, OpenAICompatibleModel

    elsewhere = {"endpoint", "identity", "prices", "capabilities"}
    chosen: dict[str, Any] = settings.model_dump(include=set(OPENAI_OPTIONS - LIMITS - elsewhere))
    if settings.family == "completion":
        chosen["api"] = "completions"
    endpoint = Endpoint(
        provider="vllm" if settings.provider == "vllm" else "openai",
        model=settings.name.partition(":")[2],
        url=settings.endpoint or OPENAI,
        stated=settings.capabilities or Capabilities(),
        **chosen,
    )
    return OpenAICompatibleModel(endpoint, settings.identity)


def _anthropic(settings: ModelSettings) -> LanguageModel:
    from cai.models.anthropic import AnthropicModel
    from cai.models.messages_endpoint import ANTHROPIC, MessagesEndpoint

    keys = {"api_key_env", "api_key_keyring"}
    options = keys | {"prefill", "label_samples", "thinking", "effort", "timeout"}
    chosen: dict[str, Any] = settings.model_dump(include=options)
    model = settings.name.partition(":")[2]
    endpoint = MessagesEndpoint(model, settings.endpoint or ANTHROPIC, **chosen)
    return AnthropicModel(endpoint, settings.identity)


def _langchain(settings: ModelSettings) -> LanguageModel:
    from cai.models.langchain import LangChainModel
    from cai.models.langchain_integration import Integration

    chosen: dict[str, Any] = settings.model_dump(
        include=set(LANGCHAIN_OPTIONS - LIMITS - {"endpoint", "identity", "prices", "options"})
    )
    provider, _, model = settings.name.removeprefix("langchain:").partition(":")
    options = settings.options or {}
    integration = Integration(provider, model, url=settings.endpoint, options=options, **chosen)
    return LangChainModel(integration, settings.identity)


FACTORIES: Mapping[str, Callable[[ModelSettings], LanguageModel]] = {
    "microworld": _local,
    "hf": _local,
    "folder": _local,
    "openai": _http,
    "vllm": _http,
    VLLM_ENGINE: _vllm_engine,
    "anthropic": _anthropic,
    "langchain": _langchain,
}
