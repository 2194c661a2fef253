"""How a model's name tells its provider, and which options each provider has a use for."""

from __future__ import annotations

from collections.abc import Mapping

LIMITS = frozenset(
    {
        "requests_per_minute",
        "input_tokens_per_minute",
        "output_tokens_per_minute",
        "concurrency",
    }
)
"""Options that say how much a server may be asked. They change no answer, and so no call's key."""

HTTP_OPTIONS = frozenset(
    {
        "endpoint",
        "identity",
        "api_key_env",
        "api_key_keyring",
        "prefill",
        "control_tokens",
        "label_samples",
        "token_logprobs",
        "timeout",
        "prices",
    }
    | LIMITS
)
OPENAI_OPTIONS = HTTP_OPTIONS | {"api", "served_by", "capabilities", "effort"}
ANTHROPIC_OPTIONS = (HTTP_OPTIONS - {"control_tokens", "token_logprobs"}) | {"thinking", "effort"}
LANGCHAIN_OPTIONS = HTTP_OPTIONS | {"options", "redirects"}
LOCAL_OPTIONS = frozenset(
    {"dtype", "device", "max_batch_tokens", "adapter", "quantization", "format", "prices"}
)
VLLM_ENGINE_OPTIONS = frozenset(
    {"dtype", "adapter", "format", "engine", "token_logprobs", "prices"}
)

BATCHES = frozenset({"batch"})
"""Options of providers that have a batch API. As limits do, they change no answer and no key."""

ROLE_OPTIONS = frozenset({"sampling", "family"})
"""Options of the role that a model plays, whatever the way to the model."""

VLLM_ENGINE = "vllm engine"
"""The way to a model of vLLM without a server."""

OPTIONS: Mapping[str, frozenset[str]] = {
    "microworld": LOCAL_OPTIONS,
    "hf": LOCAL_OPTIONS,
    "folder": LOCAL_OPTIONS,
    "openai": OPENAI_OPTIONS | BATCHES,
    "vllm": OPENAI_OPTIONS,
    VLLM_ENGINE: VLLM_ENGINE_OPTIONS,
    "anthropic": ANTHROPIC_OPTIONS | BATCHES,
    "langchain": LANGCHAIN_OPTIONS,
}
"""The options that each way to a model has a use for; others are refused rather than ignored."""

PROVIDERS = OPTIONS.keys() - {VLLM_ENGINE}
"""What a name may begin with; the engine is told from the server by the address, not by name."""

IN_PROCESS = frozenset({"microworld", "hf", "folder", VLLM_ENGINE})
"""The ways that ask no server: nothing limits them but this machine, and no one is paid."""

NAMES = (
    "microworld, a folder such as ./model, hf:ORG/NAME, openai:MODEL, vllm:MODEL, "
    "anthropic:MODEL, langchain:PROVIDER:MODEL"
)


def provider_of(name: str) -> str:
    """What stands before the colon; "folder" for a path, "microworld" for itself; else ""."""
    if name == "microworld":
        return name
    prefix, colon, _ = name.partition(":")
    if "/" in prefix or name.startswith((".", "~")):
        return "folder"
    return prefix if colon else ""


def way_of(name: str, endpoint: str | None) -> str:
    """The provider; "vllm engine" for vllm without an address: its engine, in this process."""
    provider = provider_of(name)
    return VLLM_ENGINE if provider == "vllm" and endpoint is None else provider
