"""What a constitution is: principles with a text for each stage (Bai et al. 2022, App. C)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    model_validator,
)

from cai.errors import Fault, InputError
from cai.records import Message, Role, digest
from cai.validation import Broken, Entry, check_with

Stage = Literal["revision", "comparison"]
STAGES: tuple[Stage, ...] = ("revision", "comparison")

SLUG = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; write the text or delete the key")
    return text


def _is_slug(text: str) -> str:
    if not SLUG.fullmatch(text):
        nearest = "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "be-kind"
        raise ValueError(f"is {text!r}; use small letters, digits and dashes: {nearest!r}")
    return text


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _as_messages(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("user", _not_blank(value)),)
    if isinstance(value, Sequence):
        items = cast("Sequence[Any]", value)
        value = [vars(item) if isinstance(item, Message) else item for item in items]
    turns = _TURNS.validate_python(value)
    roles = [turn.role for turn in turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or spoken != [("user", "assistant")[i % 2] for i in range(len(spoken))]:
        raise ValueError(f"has the roles {roles}; user and assistant must take turns, user first")
    if spoken[-1] != "user":
        raise ValueError("ends with the assistant; the last turn must be the user's")
    return tuple(Message(turn.role, turn.content) for turn in turns)


def _without_system(conversation: tuple[Message, ...]) -> tuple[Message, ...]:
    if conversation[0].role == "system":
        raise ValueError("begins with a system turn, which would stand amid the turns; delete it")
    return conversation


Text = Annotated[str, Field(strict=True), AfterValidator(_not_blank)]
Slug = Annotated[str, Field(strict=True), AfterValidator(_is_slug)]
Conversation = Annotated[tuple[Message, ...], BeforeValidator(_as_messages)]
"""Turns that end with the user's; a single text stands for one user turn."""


class _Turn(Entry):
    role: Role
    content: Text


_TURNS = TypeAdapter(tuple[_Turn, ...])


class Principle(Entry):
    """One rule, and how each stage of the method asks about it.

    `critique` asks for a critique of the last reply and `revision` for the rewrite that follows
    from it, so they stand together (§3.1); `comparison` is the question that chooses between two
    replies (§4.1). `weight` is relative to the other principles' (1 unless given): a principle of
    weight 2 is drawn twice as often as one of weight 1. `statement`, `rationale` and `tags` are
    for readers and for templates.
    """

    later: ClassVar[frozenset[str]] = frozenset(
        {"reasoning", "rating", "classify", "contrast", "applies_if"}
    )

    id: Slug
    statement: Text | None = None
    rationale: Text | None = None
    critique: Text | None = None
    revision: Text | None = None
    comparison: Text | None = None
    weight: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 1.0
    tags: tuple[Text, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that this principle has texts for; "revision" means critique and revision."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    @model_validator(mode="wrap")
    @classmethod
    def _texts_fit(cls, value: Any, handler: ModelWrapValidatorHandler[Principle]) -> Principle:
        return check_with(value, handler, _broken_in_principle(value))


class RevisionShot(Entry):
    """A worked example of one critique and revision, shown before the real request."""

    conversation: Annotated[Conversation, AfterValidator(_without_system)]
    response: Text
    critique_request: Text
    critique: Text
    revision_request: Text
    revision: Text


class ComparisonShot(Entry):
    """A worked example of a choice between two replies; `answer` is the right letter."""

    conversation: Conversation
    response_a: Text
    response_b: Text
    comparison: Text
    answer: Literal["A", "B"]


class FewShots(Entry):
    """Worked examples for each stage, in the order in which they are shown."""

    revision: tuple[RevisionShot, ...] = ()
    comparison: tuple[ComparisonShot, ...] = ()


class Constitution(Entry):
    """A list of principles with what is needed to use and to cite it.

    `extends` names other constitutions (files beside this one, or shipped ones) whose principles
    and few-shot examples this one begins with; `remove` gives ids that it does not want. A
    principle of the same id replaces the inherited one whole, and so do the examples of a stage.
    """

    later: ClassVar[frozenset[str]] = frozenset({"defaults", "cases"})

    id: Slug
    title: Text | None = None
    version: Text | None = None
    license: Text | None = None
    language: Text = "en"
    source: Text | None = None
    extends: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = ()
    remove: tuple[Slug, ...] = ()
    few_shots: FewShots = FewShots()
    principles: tuple[Principle, ...] = ()

    @property
    def hash(self) -> str:
        """Names the content that calls can depend on, in 16 hexadecimal digits.

        It covers language, few-shot examples and all of the principles; not their order, comments,
        layout, or the title, version and origin of the file.
        """
        principles = {
            principle.id: principle.model_dump(exclude_defaults=True)
            for principle in self.principles
        }
        shots = self.few_shots.model_dump(exclude_defaults=True)
        return digest([self.language, shots, principles])[:16]

    def of_stage(self, stage: Stage) -> tuple[Principle, ...]:
        """The principles that have that stage's texts."""
        return tuple(principle for principle in self.principles if stage in principle.stages)

    def principle(self, id: str) -> Principle:
        """The principle of that id.

        Raises:
            InputError: there is none.
        """
        for principle in self.principles:
            if principle.id == id:
                return principle
        known = ", ".join(principle.id for principle in self.principles)
        raise InputError(self.id, [Fault(f"has no principle {id!r}; choose from {known}")])

    @model_validator(mode="wrap")
    @classmethod
    def _parts_fit(
        cls, value: Any, handler: ModelWrapValidatorHandler[Constitution]
    ) -> Constitution:
        return check_with(value, handler, _broken_in_constitution(value))


def _broken_in_principle(value: Any) -> Iterator[Broken]:
    if not isinstance(value, Mapping):
        return
    given = cast("Mapping[str, Any]", value)
    critique, revision, comparison = (
        given.get(key) is not None for key in ("critique", "revision", "comparison")
    )
    if critique and not revision:
        yield Broken(("critique",), "stands without a revision; write the revision too")
    if revision and not critique:
        yield Broken(("revision",), "stands without a critique; write the critique too")
    if not (critique or revision or comparison):
        yield Broken((), "says nothing to any stage; write critique and revision, or comparison")


def _broken_in_constitution(value: Any) -> Iterator[Broken]:
    if not isinstance(value, Mapping):
        return
    given = cast("Mapping[str, Any]", value)
    if not given.get("extends"):
        if given.get("remove"):
            yield Broken(("remove",), "has nothing to remove from; write `extends` or delete it")
        if not given.get("principles"):
            yield Broken(("principles",), "has no principle; write at least one")
    principles = given.get("principles")
    if isinstance(principles, Sequence):
        yield from _repeated_ids(cast("Sequence[Any]", principles))


def _repeated_ids(principles: Sequence[Any]) -> Iterator[Broken]:
    times: Counter[str] = Counter()
    for index, principle in enumerate(principles):
        id = (
            cast("Mapping[str, Any]", principle).get("id")
            if isinstance(principle, Mapping)
            else getattr(principle, "id", None)
        )
        if isinstance(id, str):
            times[id] += 1
            if times[id] == 2:
                yield Broken(("principles", index, "id"), f"is {id!r} again; choose another id")
