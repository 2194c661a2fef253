"""Check a YAML file against a pydantic model and report all that is wrong with it at once."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from cai.document import Document, Place
from cai.errors import Fault, InputError

M = TypeVar("M", bound=BaseModel)

_FROM_FILE = "from a file"

LARGEST = 2**63 - 1
"""Seeds are added to, so that less would do; more does not fit into 64 bits."""


class Entry(BaseModel):
    """A mapping in a file: frozen, unknown keys refused, no key without a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _has_value(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.context == _FROM_FILE:
            raise ValueError("has no value; write one or delete the key")
        return value


def written_as(pattern: str, advice: str) -> AfterValidator:
    """Refuse a text that is not of a pattern, and say how it is written.

    Args:
        pattern: of the whole text.
        advice: what to do, in words; a regular expression tells few people anything.
    """

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"is {reprlib.repr(text)}; {advice}")
        return text

    return AfterValidator(check)


class Broken(NamedTuple):
    """A rule between several values that does not hold; `place` is relative to the checked one."""

    place: Place
    message: str


def validate(document: Document, model: type[M]) -> M:
    """Make a record of a document.

    Raises:
        InputError: with every fault of the document, in the order of its lines.
    """
    faults = [*document.faults, *_too_large(document, document.data, ())]
    record: M | None = None
    try:
        record = model.model_validate(document.data, context=_FROM_FILE)
    except ValidationError as error:
        faults += [_fault(document, model, details) for details in _true_errors(error)]
    if faults or record is None:
        raise InputError(document.path, sorted(faults, key=lambda fault: fault.line or 0))
    return record


def _too_large(document: Document, value: Any, place: Place) -> Iterator[Fault]:
    """Whole numbers that no file and no library of ours can hold."""
    if isinstance(value, int) and abs(value) > LARGEST:
        yield document.fault(f"is {reprlib.repr(value)}; whole numbers end at {LARGEST}", place)
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _too_large(document, inner, (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _too_large(document, inner, (*place, number))


def check_with(value: Any, handler: ModelWrapValidatorHandler[M], broken: Iterable[Broken]) -> M:
    """Validate the parts of a value and add the rules between them that are broken.

    Pydantic's own after-validators run only when every part is right, so that a fault would hide
    others; called in a wrap validator, this reports both.
    """
    rules = list(broken)
    try:
        record = handler(value)
    except ValidationError as error:
        found = [*(_again(details) for details in error.errors()), *_details(value, rules)]
        raise ValidationError.from_exception_data(error.title, found) from error
    return refuse_broken(record, rules)


def refuse_broken(record: M, broken: Iterable[Broken]) -> M:
    """Refuse a record whose parts are right, for the rules between them that are broken.

    Called in a validator; gives the record if there is none.
    """
    if found := _details(record, broken):
        raise ValidationError.from_exception_data(type(record).__name__, found)
    return record


def _details(value: Any, broken: Iterable[Broken]) -> list[InitErrorDetails]:
    return [
        InitErrorDetails(
            type=PydanticCustomError("broken_rule", "{rule}", {"rule": rule.message}),
            loc=rule.place,
            input=value,
        )
        for rule in broken
    ]


def _again(details: ErrorDetails) -> InitErrorDetails:
    kind: str | PydanticCustomError = details["type"]
    if kind == "broken_rule":
        kind = PydanticCustomError("broken_rule", "{rule}", details.get("ctx"))
    return InitErrorDetails(
        type=kind, loc=details["loc"], input=details["input"], ctx=details.get("ctx", {})
    )


def _fault(document: Document, model: type[BaseModel], details: ErrorDetails) -> Fault:
    return document.fault(_message(model, details), details["loc"])


def _true_errors(error: ValidationError) -> Iterator[ErrorDetails]:
    """All but those that only follow: pydantic counts the items of a tuple that are right."""
    found = error.errors()
    places = [details["loc"] for details in found]
    for details in found:
        place = details["loc"]
        around = any(len(one) > len(place) and one[: len(place)] == place for one in places)
        if details["type"] != "too_short" or not around:
            yield details


def _message(model: type[BaseModel], details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    met = f"is {reprlib.repr(details['input'])}"
    if kind == "missing":
        return "is missing; write it"
    if kind == "extra_forbidden":
        return _unknown_key(model, details["loc"])
    if kind == "string_type":
        fix = "write a text" if isinstance(details["input"], list | dict) else "put it in quotes"
        return f"{met}, which is no text; {fix}"
    if kind in ("tuple_type", "list_type"):
        return f"{met}, which is no list; write [{reprlib.repr(details['input'])}] or '- ' lines"
    if kind in ("model_type", "dict_type", "model_attributes_type") and not details["loc"]:
        met = "is empty" if details["input"] is None else f"{met}, which is no mapping"
        return f"{met}; write {_keys(model, details['loc'])}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"{met}, which is no mapping; write {_keys(model, details['loc'])}"
    if kind == "literal_error":
        return f"{met}; choose from {context['expected']}"
    if kind == "too_short":
        return f"{met}, and needs {context['min_length']} at least"
    if kind == "value_error":
        return str(context["error"])
    if kind == "broken_rule":
        return details["msg"]
    return f"{met}; {details['msg'].replace('Input should', 'it must')}"


def _unknown_key(model: type[BaseModel], place: Place) -> str:
    key, around = str(place[-1]), _model_at(model, place[:-1])
    if around is None:
        return "is not a key here; delete it"
    near = difflib.get_close_matches(key.lower(), around.model_fields, n=1)
    if near:
        return f"is not a key here; did you mean {near[0]!r}?"
    return f"is not a key here; delete it, or choose from {', '.join(around.model_fields)}"


def _keys(model: type[BaseModel], place: Place) -> str:
    """The keys that the mapping at a place must have, as lines to write."""
    around = _model_at(model, place)
    fields = around.model_fields if around else {}
    needed = [name for name, field in fields.items() if field.is_required()]
    return ", ".join(f"'{name}: …'" for name in needed or fields)


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for step in place:
        if current is None or isinstance(step, int):
            continue
        field = current.model_fields.get(step)
        current = next(_models_in(field.annotation), None) if field else None
    return current


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
