"""Which model, and how it is reached, as a recipe says it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from cai.errors import Fault, InputError
from cai.models.address import check_address
from cai.models.capabilities import Api, Capabilities, Server
from cai.models.family import broken_family
from cai.models.limits import Allowance
from cai.models.price_list import listed_prices
from cai.models.prices import Prices
from cai.models.providers import (
    IN_PROCESS,
    LIMITS,
    NAMES,
    OPTIONS,
    PROVIDERS,
    ROLE_OPTIONS,
    VLLM_ENGINE,
    provider_of,
    way_of,
)
from cai.models.roles import RoleSampling
from cai.validation import Broken, check_with


class ModelSettings(BaseModel):
    """Which model, and how it is reached. Options that the provider has no use for are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description=f"One of: {NAMES}.")
    endpoint: str | None = Field(
        default=None,
        description="Address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1; "
        "of a server for anthropic:MODEL without the /v1.",
    )
    identity: str | None = Field(
        default=None, min_length=1, description="Names the model whatever its address, in keys."
    )
    api_key_env: str | None = Field(
        default=None, description="Name of the environment variable that holds the API key."
    )
    api_key_keyring: str | None = Field(
        default=None,
        description="SERVICE/USER of the entry of the system's keyring that holds the API key.",
    )
    prefill: bool | None = Field(
        default=None, description="The server goes on with a last assistant message."
    )
    control_tokens: Literal["break", "keep"] = Field(
        default="break", description="Break text that spells control tokens, or send it as it is."
    )
    label_samples: int | None = Field(
        default=None, ge=1, le=1000, description="Labels from so many sampled replies."
    )
    token_logprobs: bool = Field(
        default=False, description="Ask for log-probabilities of sampled tokens."
    )
    thinking: bool | None = Field(
        default=None, description="The model thinks first; by default not, where that can be had."
    )
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, description="How much the model puts into thinking and answering."
    )
    api: Api | None = Field(
        default=None,
        description="The server's interface: chat, completions (plain text, for base models) or "
        "responses (for reasoning models that have no other); by default as the server has them.",
    )
    served_by: Server | None = Field(
        default=None, description="The kind of server, where neither name nor address tells it."
    )
    capabilities: Capabilities | None = Field(
        default=None, description="What the server takes and gives, where it is known better."
    )
    timeout: float = Field(default=600, gt=0, description="Seconds that one call may take.")
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Most requests in any 60 seconds, failed ones included."
    )
    input_tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens sent in any 60 seconds; estimated before a call, real after it.",
    )
    output_tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens received in any 60 seconds; taken as max_tokens before a call.",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Most requests at once; else as many as rows are in flight, and as the server "
        "takes.",
    )
    batch: bool = Field(
        default=False,
        description="Ask through the provider's batch API: at half the price, within a day.",
    )
    options: dict[str, JsonValue] | None = Field(
        default=None, description="Further keyword arguments of the LangChain class."
    )
    redirects: Literal["refuse", "follow"] = Field(
        default="refuse", description="What a LangChain class does that is sent to another address."
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = Field(
        default=None, description="Number format; by default as the weights are stored."
    )
    quantization: Literal["8bit", "4bit"] | None = Field(
        default=None, description="Round the weights to so many bits at load, by bitsandbytes."
    )
    adapter: str | None = Field(
        default=None,
        min_length=1,
        description="A LoRA adapter on top of the model: a folder, or hf:ORG/NAME.",
    )
    format: Literal["chat", "completion"] | None = Field(
        default=None,
        description="Turns by the chat template, or as Human:/Assistant: text; by default by the "
        "template if there is one.",
    )
    engine: dict[str, JsonValue] | None = Field(
        default=None,
        description="Further arguments of vLLM's engine in this process, such as "
        "tensor_parallel_size.",
    )
    device: str | None = Field(
        default=None, description="cpu, cuda, cuda:1, mps; by default an accelerator if any."
    )
    max_batch_tokens: int | None = Field(
        default=None, ge=1, description="Rows × positions of one batch; by default by memory."
    )
    prices: Prices | None = Field(
        default=None,
        description="Dollars per million tokens; else unknown, or nothing for in-process models.",
    )

    family: Literal["chat", "completion"] | None = Field(
        default=None,
        description="Which templates the role is asked with: chat (messages, the default), or "
        "completion (the paper's plain text, for base models).",
    )
    sampling: RoleSampling | None = Field(
        default=None, description="How this role draws its replies; else as its stage says."
    )

    @property
    def provider(self) -> str:
        """What stands before the colon; "folder" for a path, "microworld" for itself."""
        return provider_of(self.name)

    @property
    def way(self) -> str:
        """The provider; "vllm engine" for vllm without an address. Its options are `OPTIONS`'."""
        return way_of(self.name, self.endpoint)

    @property
    def known_prices(self) -> Prices | None:
        """The prices of a call, in a batch if it is asked in one; None if they are not known."""
        prices = self._prices_at_once
        return prices.in_batches() if prices is not None and self.batch else prices

    @property
    def _prices_at_once(self) -> Prices | None:
        """The prices given, else those of the shipped table, or zero in-process; else None."""
        if self.prices is not None or self.way in IN_PROCESS:
            return self.prices or Prices(input=0, output=0)
        listed = listed_prices(self.name, self.endpoint)
        return None if listed is None else listed.prices

    @property
    def allowance(self) -> Allowance:
        """The limits given."""
        return Allowance(**{name: getattr(self, name) for name in LIMITS})

    @property
    def server(self) -> tuple[str, ...] | None:
        """What limits hold for: a model at an address, and the account; None if in-process."""
        if self.way in IN_PROCESS:
            return None
        account = self.api_key_keyring or self.api_key_env or ""
        return (self.name, self.endpoint or "", account)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        provider = provider_of(name)
        if provider not in PROVIDERS:
            raise ValueError(f"{name!r} has no known provider; write {NAMES}")
        if provider not in ("microworld", "folder") and not name.partition(":")[2]:
            raise ValueError(f"{name!r} lacks the model after the colon")
        return name

    @field_validator("api_key_env")
    @classmethod
    def _a_variable(cls, name: str | None) -> str | None:
        if name is not None and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            # The value is not shown, here and below: it may be the key itself.
            raise ValueError("names the variable that holds the key, such as OPENAI_API_KEY")
        return name

    @field_validator("api_key_keyring")
    @classmethod
    def _an_entry(cls, name: str | None) -> str | None:
        if name is not None and re.fullmatch(r"[^/].*/[^/]+", name) is None:
            raise ValueError("names the keyring's entry as SERVICE/USER, such as anthropic/me")
        return name

    @field_validator("endpoint", mode="before")
    @classmethod
    def _an_address(cls, endpoint: Any) -> Any:
        if isinstance(endpoint, str):
            check_address(endpoint)
        return endpoint

    @model_validator(mode="wrap")
    @classmethod
    def _useful_options(
        cls, value: Any, handler: ModelWrapValidatorHandler[ModelSettings]
    ) -> ModelSettings:
        return check_with(value, handler, _broken_in_settings(value))

    @model_serializer(mode="wrap")
    def _own_options(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what the provider has no use for, so that what is written reads back."""
        return {
            name: value
            for name, value in handler(self).items()
            if name == "name" or name in OPTIONS[self.way] | ROLE_OPTIONS
        }


def settings_of(name: str, **options: Any) -> ModelSettings:
    """Settings of a model named on the command line; options that are None are left out.

    Raises:
        InputError: name or options are wrong.
    """
    given = {option: value for option, value in options.items() if value is not None}
    try:
        return ModelSettings(name=name, **given)
    except ValidationError as error:
        faults = [Fault(fault["msg"].removeprefix("Value error, ")) for fault in error.errors()]
        raise InputError(f"model {name}", faults) from error


def _broken_in_settings(value: Any) -> Iterator[Broken]:
    if not isinstance(value, Mapping):
        return
    given = {
        name: option
        for name, option in cast("Mapping[str, Any]", value).items()
        if name in ModelSettings.model_fields and option is not None
    }
    name = given.pop("name", None)
    way = way_of(name, given.get("endpoint")) if isinstance(name, str) else ""
    if way not in OPTIONS:
        return
    useful = OPTIONS[way] | ROLE_OPTIONS
    if useless := sorted(given.keys() - useful):
        how = " in this process (with endpoint: it is asked as a server)"
        yield Broken(
            (),
            f"{', '.join(useless)} cannot be used with {name}{how if way == VLLM_ENGINE else ''}; "
            f"its options are {', '.join(sorted(useful))}",
        )
    if "api_key_env" in given and "api_key_keyring" in given:
        fix = "keep the one that holds the key"
        yield Broken((), f"api_key_env and api_key_keyring are both given; {fix}")
    if way == "anthropic" and given.get("effort") in ("none", "minimal"):
        yield Broken(("effort",), f"{given['effort']} is none of {name}'s; the least is low")
    if given.get("family") == "completion":
        yield from broken_family(str(name), way, given)
    if way == VLLM_ENGINE:
        from cai.models.vllm_arguments import broken_engine

        yield from broken_engine(given.get("engine"))
    if way == "langchain":
        from cai.models.langchain_integration import broken_settings

        yield from broken_settings(str(name), given.get("options"))
