"""Where a model behind OpenAI's interfaces is reached, and how it is to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import orjson

from cai.models.api_keys import find_key
from cai.models.capabilities import (
    Api,
    Capabilities,
    Prefill,
    Server,
    capabilities_of,
    key_variable,
    server_at,
)

OPENAI = "https://api.openai.com/v1"

TOP_LOGPROBS = 20
"""Tokens to ask for where it is not known how many a server lists: most list so many."""

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

PLAIN: Mapping[str, Mapping[str, Any]] = {
    "openai": {"api": "chat", "prefill": False, "extra": {}, "logprobs": TOP_LOGPROBS},
    "vllm": {
        "api": "chat",
        "prefill": {"add_generation_prompt": False, "continue_final_message": True},
        "extra": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
        "logprobs": TOP_LOGPROBS,
    },
}
"""What an identity leaves unsaid, by provider: never to be changed, since keys stand on it."""


@dataclass(frozen=True)
class Endpoint:
    """A model on a server, and how it is to be asked.

    Args:
        provider: "openai" or "vllm"; decides the kind of server if nothing else tells it.
        model: the server's name for the model.
        url: such as ``http://127.0.0.1:8000/v1``, without a slash at its end.
        api_key_env: environment variable that holds the key; None: that of a known host, no key
            for any other.
        api_key_keyring: ``SERVICE/USER`` of the keyring's entry that holds it.
        api: the interface to use; None: the first that the server has for the model.
        served_by: the kind of server; None: as its address or the provider tells.
        stated: capabilities that a person knows better than the table.
        prefill: True if the server goes on with a last assistant message; None: as is known.
        control_tokens: "break" texts that spell control tokens (see `cai.models.control_text`),
            or "keep" them, for servers that encode messages as plain text.
        label_samples: weigh options by this many sampled replies; None: by log-probabilities if
            there are any.
        token_logprobs: ask for the log-probabilities of sampled tokens, at several times the
            traffic.
        effort: how much a reasoning model thinks; None: its own default.
        timeout: seconds that one call may take.
    """

    provider: Literal["openai", "vllm"]
    model: str
    url: str = OPENAI
    api_key_env: str | None = None
    api_key_keyring: str | None = None
    api: Api | None = None
    served_by: Server | None = None
    stated: Capabilities = field(default_factory=Capabilities)
    prefill: bool | None = None
    control_tokens: Literal["break", "keep"] = "break"
    label_samples: int | None = None
    token_logprobs: bool = False
    effort: Effort | None = None
    timeout: float = 600

    @cached_property
    def kind(self) -> Server:
        """The kind of server."""
        told: Server = "vllm" if self.provider == "vllm" else "other"
        return self.served_by or server_at(self.url) or told

    @cached_property
    def capabilities(self) -> Capabilities:
        """What is known without asking: the table, and what was stated over it."""
        known = self.stated.over(capabilities_of(self.kind, self.model))
        if self.prefill is None:
            return known
        fields: Prefill = (known.prefill or {}) if self.prefill else False
        return known.model_copy(update={"prefill": fields})

    @cached_property
    def used_api(self) -> Api:
        """The interface that is used."""
        apis = self.capabilities.apis
        return self.api or (apis[0] if apis else "chat")

    @property
    def top_logprobs(self) -> int | None:
        """Tokens that the interface lists for a position; 0: none; None: not known."""
        return 0 if self.used_api == "responses" else self.capabilities.logprobs.get(self.used_api)

    @property
    def reasons(self) -> bool:
        """True for models that think before they answer, as far as is known."""
        return self.capabilities.fixed or self.used_api == "responses"

    def api_key(self) -> str | None:
        """The key from the environment or the keyring; None if this server needs none.

        Raises:
            PermanentError: it is not there.
        """
        variable = self.api_key_env or key_variable(self.url)
        return find_key(f"{self.provider}:{self.model}", variable, self.api_key_keyring)

    def is_one_token(self, option: str) -> bool:
        """Whether the model surely writes an option as one token.

        OpenAI's own models do so with every number of up to three digits: their tokenizers
        (cl100k, o200k) split digits into groups of three, and have all of them.
        """
        text = option.strip(" ")
        return self.kind == "openai" and len(text) <= 3 and text.isascii() and text.isdigit()

    def options(self) -> str:
        """What changes answers beside model and address, for the identity; empty by default.

        How a field is spelled changes none; nor does what is found out later of a server, which
        goes into the keys of the calls that it shapes (see `OpenAICompatibleModel`).
        """
        given = {
            "prefill": self.prefill,
            "control_tokens": None if self.control_tokens == "break" else self.control_tokens,
            "label_samples": self.label_samples,
            "token_logprobs": self.token_logprobs or None,
            "effort": self.effort,
        }
        said = [f"&{name}={value}" for name, value in given.items() if value is not None]
        return "".join([*said, *self._shape()])

    def _shape(self) -> list[str]:
        known = self.capabilities
        shape: dict[str, Any] = {"api": self.used_api, "extra": known.extra}
        if self.prefill is None and known.prefill is not None:
            shape["prefill"] = known.prefill
        if self.top_logprobs:
            shape["logprobs"] = self.top_logprobs
        if known.echo and self.used_api == "completions":
            shape["echo"] = True
        if known.seed is False:
            shape["seed"] = False
        plain = PLAIN[self.provider]
        return [
            f"&{name}={_written(value)}"
            for name, value in shape.items()
            if value != plain.get(name)
        ]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
