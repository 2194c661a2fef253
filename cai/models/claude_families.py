"""What Anthropic's models take: prefill, sampling, and how their thinking is switched off.

The table follows Anthropic's migration guides and error pages as of November 2026. A model that
it does not know is taken for a newer one: without prefill and sampling parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cai.errors import PermanentError, UnsupportedSampling
from cai.records import Sampling

ThinkingField = Literal["adaptive", "disabled", "between_tools"]
"""The `thinking.type` of a request; none at all leaves it to the model."""


@dataclass(frozen=True)
class Family:
    """What models of one generation take.

    Args:
        prefill: a last assistant turn is gone on with.
        sampling: which of temperature and top_p can be set: both, one of them, or none.
        thinking: without being told, the model does not think ("asked"), thinks unless the request
            says "disabled" or "between_tools", or cannot be kept from it ("always"); "unknown"
            for models that the table lacks.
        adaptive: takes ``thinking: {type: adaptive}``; older ones want a budget of tokens.
    """

    prefill: bool
    sampling: Literal["both", "one", "none"]
    thinking: Literal["asked", "disabled", "between_tools", "always", "unknown"]
    adaptive: bool = True


FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"claude-(?:[123](?!\d)|instant)", Family(True, "both", "asked", adaptive=False)),
    (r"(?:opus|sonnet)-4(?:-0|(?!-\d(?!\d)))", Family(True, "both", "asked", adaptive=False)),
    (r"(?:opus|sonnet|haiku)-4-[1-5](?!\d)", Family(True, "one", "asked", adaptive=False)),
    (r"(?:opus|sonnet)-4-6", Family(False, "one", "asked")),
    (r"opus-4-[78]", Family(False, "none", "asked")),
    (r"opus-5-5|fable|mythos", Family(False, "none", "always")),
    (r"sonnet-5-5", Family(False, "none", "between_tools")),
    (r"haiku-5-5|(?:opus|sonnet)-5(?!-\d(?!\d))", Family(False, "none", "disabled")),
)
"""Patterns of model names, with "-" for ".", and what those models take; the first that is found
counts."""

NEWER = Family(prefill=False, sampling="none", thinking="unknown")
"""What is assumed of a model that the table lacks."""


def family_of(model: str) -> Family:
    """What a model takes, by its name, whatever a gateway puts around that."""
    name = model.lower().replace(".", "-")
    return next((family for shape, family in FAMILIES if re.search(shape, name)), NEWER)


def thinking_field(model: str, asked: bool | None) -> ThinkingField | None:
    """The `thinking.type` to send; None for no field.

    Args:
        model: its name.
        asked: whether it shall think; None: not, where that can be had, so that the longest reply
            of a recipe is all reply.

    Raises:
        PermanentError: it cannot be had so.
    """
    family = family_of(model)
    if asked:
        if not family.adaptive:
            raise PermanentError(
                f"{model} thinks only with a budget of tokens, which is not offered here; "
                "leave `thinking` out, or name a model from Claude 4.6 on"
            )
        return "adaptive"
    if asked is False and family.thinking == "always":
        raise PermanentError(
            f"{model} always thinks; leave `thinking` out, and lower its `effort` instead"
        )
    if family.thinking == "disabled" or (asked is False and family.thinking == "unknown"):
        return "disabled"
    return "between_tools" if family.thinking == "between_tools" else None


def may_think(model: str, field: ThinkingField | None) -> bool:
    """True if the model may think in a request with this `thinking.type`."""
    return field == "adaptive" or (
        field is None and family_of(model).thinking in ("always", "unknown")
    )


def sampling_fields(
    model: str, sampling: Sampling, field: ThinkingField | None
) -> dict[str, float]:
    """Temperature and top_p as the request names them, without those at their default of 1.

    Raises:
        UnsupportedSampling: the model does not take them; nothing is left out that was asked for.
    """
    asked = {"temperature": float(sampling.temperature), "top_p": float(sampling.top_p)}
    asked = {name: value for name, value in asked.items() if value != 1}
    told = " and ".join(f"{name} {value:g}" for name, value in asked.items())
    takes = family_of(model).sampling
    thinks = takes != "none" and may_think(model, field)
    if asked and (takes == "none" or thinks):
        when = " while it thinks" if thinks else ""
        raise UnsupportedSampling(
            f"{model} takes neither temperature nor top_p{when}, and the recipe asks for {told}; "
            "set both to 1 in that stage's `sampling`, or name another model"
        )
    if len(asked) > 1 and takes == "one":
        raise UnsupportedSampling(
            f"{model} takes temperature or top_p, not both, and the recipe asks for {told}; set "
            "one of them to 1 in that stage's `sampling`"
        )
    if asked.get("temperature", 0) > 1:
        raise UnsupportedSampling(
            f"{model} takes temperatures from 0 to 1, and the recipe asks for {told}; lower it in "
            "that stage's `sampling`"
        )
    return asked
