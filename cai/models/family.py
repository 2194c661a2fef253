"""Which models can be asked with the templates of the family completion: those of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, cast, get_args

from cai.errors import CaiError
from cai.models.capabilities import Server, capabilities_of, server_at
from cai.models.openai_endpoint import OPENAI
from cai.models.providers import IN_PROCESS
from cai.validation import Broken


class HasFamily(Protocol):
    """Settings of a model."""

    @property
    def family(self) -> Literal["chat", "completion"] | None:
        """Which templates it is asked with."""
        ...


INSTEAD = "set family: chat, or take a base model"


def broken_family(name: str, way: str, given: Mapping[str, Any]) -> Iterator[Broken]:
    """What is wrong with ``family: completion`` for a model.

    Args:
        name: of the model, as a recipe names it.
        way: to it; see `cai.models.providers`.
        given: the options that were said of it.
    """
    if way in IN_PROCESS:
        if given.get("format") == "chat":
            yield Broken(("family",), "is plain text, but format is chat; delete one of them")
        return
    if way not in ("openai", "vllm"):
        yield Broken(("family",), f"is plain text, and {name} is asked in messages; {INSTEAD}")
        return
    api = given.get("api")
    if api is not None and api != "completions":
        yield Broken(("family",), f"is plain text, but api is {api}; set api: completions")
    elif api is None and not _has_completions(name, way, given):
        yield Broken(
            ("family",),
            f"is plain text, which {name} is not known to take; {INSTEAD}, or set api: completions "
            "if its server has that for it",
        )


def check_fallback(judge: HasFamily | None, fallback: HasFamily | None) -> None:
    """Keep a judge's questions from a fallback that cannot read them.

    Raises:
        CaiError: they are asked with templates of different families.
    """
    asked = (judge.family if judge else None) or "chat"
    last = (fallback.family if fallback else None) or "chat"
    if fallback is not None and last != asked:
        raise CaiError(
            f"the judge is of the family {asked} and the fallback of {last}, but the fallback is "
            "asked what the judge declines; give both one family"
        )


def _has_completions(name: str, way: str, given: Mapping[str, Any]) -> bool:
    """Whether a server goes on with plain text: OpenAI's for some models alone, others for all."""
    stated = given.get("capabilities")
    own = cast("Mapping[str, Any]", stated).get("apis") if isinstance(stated, Mapping) else None
    if own:
        return "completions" in own
    told: Server = "vllm" if way == "vllm" else "other"
    address = str(given.get("endpoint") or (OPENAI if way == "openai" else ""))
    stated = given.get("served_by")
    named = cast("Server", stated) if stated in get_args(Server) else server_at(address)
    server = named or told
    apis = capabilities_of(server, name.partition(":")[2]).apis
    # OpenAI's table names an interface for all of its models that a few alone have.
    return apis[:1] == ("completions",) if server == "openai" else not apis or "completions" in apis
