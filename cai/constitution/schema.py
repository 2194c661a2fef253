"""What a constitution is: principles with a text for each stage (Bai et al. 2022, App. C)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, model_validator

from cai.constitution.case import Case
from cai.constitution.condition import Condition
from cai.constitution.shots import FewShots
from cai.constitution.values import Selectors, Slug, Text
from cai.errors import Fault, InputError
from cai.records import Prompt, digest
from cai.validation import Broken, Entry, check_with

Stage = Literal["revision", "comparison", "reasoning", "rating", "classify"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""Each named by the text that it needs; "revision" needs a critique beside it."""

TEXTS = ("critique", *STAGES)
"""The fields of a principle that are sent to a model."""

Weight = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class Principle(Entry):
    """One rule, and how each stage of the method asks about it.

    `critique` asks for a critique of the last reply and `revision` for the rewrite that follows
    from it, so they stand together (§3.1); `comparison` is the question that chooses between two
    replies (§4.1), and `reasoning` asks for the thoughts before that choice.
    """

    id: Slug = Field(description="Names the principle: small letters, digits and dashes.")
    statement: Text | None = Field(
        default=None, description="The rule in one sentence; for readers, and for `defaults`."
    )
    contrast: Text | None = Field(
        default=None, description="The opposite of the rule: what a reply that breaks it does."
    )
    rationale: Text | None = Field(
        default=None, description="Why the rule; for readers, and for RLAIF's detailed frame."
    )
    critique: Text | None = Field(
        default=None, description="Asks for a critique of the last reply; goes with `revision`."
    )
    revision: Text | None = Field(
        default=None, description="Asks for the rewrite that follows from the critique."
    )
    comparison: Text | None = Field(
        default=None, description="The question that chooses between two replies, (A) and (B)."
    )
    reasoning: Text | None = Field(
        default=None, description="Asks for the thoughts before `comparison` is answered."
    )
    rating: Text | None = Field(
        default=None, description="Asks for a score of one reply, from 1 (worst) to 10 (best)."
    )
    classify: Text | None = Field(
        default=None, description="A question about one reply that is answered with yes or no."
    )
    weight: Weight = Field(
        default=1.0, description="A principle of weight 2 is drawn twice as often as one of 1."
    )
    tags: tuple[Text, ...] = Field(default=(), description="For selectors, and for readers.")
    applies_if: Condition | None = Field(
        default=None, description="Drawn only for prompts of which this holds; by default for all."
    )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that this principle has texts for; "revision" means critique and revision."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    @model_validator(mode="wrap")
    @classmethod
    def _texts_fit(cls, value: Any, handler: ModelWrapValidatorHandler[Principle]) -> Principle:
        return check_with(value, handler, _broken_in_principle(value))


class Defaults(Entry):
    """What every principle of the constitution has that it neither says nor inherits.

    In a text, ``{statement}`` stands for the principle's own statement; a principle without one
    does not get that text. Critique and revision are filled in together, and only where neither is
    given; `reasoning` only where there is a comparison.
    """

    critique: Text | None = Field(default=None, description="Where neither it nor revision is.")
    revision: Text | None = Field(default=None, description="Where neither it nor critique is.")
    comparison: Text | None = Field(default=None, description="Where there is none.")
    reasoning: Text | None = Field(default=None, description="Where only a comparison is.")
    rating: Text | None = Field(default=None, description="Where there is none.")
    classify: Text | None = Field(default=None, description="Where there is none.")
    weight: Weight | None = Field(default=None, description="Where there is none.")
    tags: tuple[Text, ...] | None = Field(default=None, description="Where there are none.")
    applies_if: Condition | None = Field(default=None, description="Where there is none.")

    @model_validator(mode="wrap")
    @classmethod
    def _together(cls, value: Any, handler: ModelWrapValidatorHandler[Defaults]) -> Defaults:
        return check_with(value, handler, _unpaired(value))


class Extension(Entry):
    """Another constitution, and what is taken of it."""

    constitution: Text = Field(
        description="A file, beside this one unless its path says otherwise, or a shipped name."
    )
    include: Selectors = Field(
        default=(), description="Only these principles: ids, patterns of ids, or tag:NAME."
    )
    exclude: Selectors = Field(default=(), description="Not these, whatever is included.")
    weight: Weight = Field(default=1.0, description="Multiplies the weights of all of them.")


def _extensions(value: Any) -> Any:
    if isinstance(value, str):
        return [{"constitution": value}]
    if isinstance(value, Mapping):
        return [cast("Mapping[str, Any]", value)]
    if not isinstance(value, Sequence):
        return value
    items = cast("Sequence[Any]", value)
    return [{"constitution": item} if isinstance(item, str) else item for item in items]


Extensions = Annotated[
    tuple[Extension, ...],
    BeforeValidator(
        _extensions, json_schema_input_type=str | Extension | tuple[str | Extension, ...]
    ),
]


class Constitution(Entry):
    """A list of principles with what is needed to use, to test and to cite it.

    `extends` names other constitutions whose principles and few-shot examples this one begins
    with; `remove` names those that it does not want. A principle of the same id overrides the
    inherited one key by key; the examples of a stage replace the inherited ones of that stage.
    """

    id: Slug = Field(description="Names the constitution: small letters, digits and dashes.")
    title: Text | None = Field(default=None, description="For people.")
    version: Text | None = Field(default=None, description='For people, in quotes: "1.0".')
    license: Text | None = Field(default=None, description="Under which its text may be used.")
    language: Text = Field(
        default="en", description="Of its texts; chooses the patterns that refusals are told by."
    )
    source: Text | None = Field(default=None, description="Where its text comes from.")
    extends: Extensions = Field(
        default=(), description="Constitutions whose principles and examples this one has too."
    )
    remove: Selectors = Field(
        default=(), description="Inherited principles to leave out: ids, patterns, or tag:NAME."
    )
    defaults: Defaults | None = Field(
        default=None, description="What principles have that say nothing else."
    )
    few_shots: FewShots = Field(default=FewShots(), description="Worked examples for each stage.")
    principles: tuple[Principle, ...] = Field(default=(), description="The rules.")
    cases: tuple[Case, ...] = Field(
        default=(), description="Tests of the constitution: what its judge should say."
    )

    @property
    def hash(self) -> str:
        """Names the content that calls can depend on, in 16 hexadecimal digits.

        It covers language, few-shot examples and all of the principles; not their order, comments,
        layout, the cases, or the title, version and origin of the file.
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

    @property
    def contrasting(self) -> tuple[Principle, ...]:
        """The principles that have both a statement and its contrast."""
        return tuple(one for one in self.principles if one.statement and one.contrast)

    def for_prompt(self, prompt: Prompt) -> Constitution:
        """The constitution with only those principles that apply to a prompt."""
        if all(principle.applies_if is None for principle in self.principles):
            return self
        fit = tuple(
            principle
            for principle in self.principles
            if principle.applies_if is None or principle.applies_if.holds(prompt)
        )
        return self.model_copy(update={"principles": fit})

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
    given = {key for key, part in cast("Mapping[str, Any]", value).items() if part is not None}
    yield from _unpaired(value)
    if "reasoning" in given and "comparison" not in given:
        yield Broken(("reasoning",), "stands without a comparison; write the comparison too")
    if not (given & {*TEXTS} or {"statement", "contrast"} <= given):
        yield Broken((), "says nothing to any stage; write critique and revision, or comparison")


def _unpaired(value: Any) -> Iterator[Broken]:
    if not isinstance(value, Mapping):
        return
    given = {key for key, part in cast("Mapping[str, Any]", value).items() if part is not None}
    if "critique" in given and "revision" not in given:
        yield Broken(("critique",), "stands without a revision; write the revision too")
    if "revision" in given and "critique" not in given:
        yield Broken(("revision",), "stands without a critique; write the critique too")


def _broken_in_constitution(value: Any) -> Iterator[Broken]:
    if not isinstance(value, Mapping):
        return
    given = cast("Mapping[str, Any]", value)
    if not given.get("extends"):
        if given.get("remove"):
            yield Broken(("remove",), "has nothing to remove from; write `extends` or delete it")
        if not given.get("principles"):
            yield Broken(("principles",), "has no principle; write at least one")
    for key in ("principles", "cases"):
        listed = given.get(key)
        if isinstance(listed, Sequence):
            yield from _repeated_ids(key, cast("Sequence[Any]", listed))


def _repeated_ids(key: str, listed: Sequence[Any]) -> Iterator[Broken]:
    times: Counter[str] = Counter()
    for index, one in enumerate(listed):
        id = (
            cast("Mapping[str, Any]", one).get("id")
            if isinstance(one, Mapping)
            else getattr(one, "id", None)
        )
        if isinstance(id, str):
            times[id] += 1
            if times[id] == 2:
                yield Broken((key, index, "id"), f"is {id!r} again; choose another id")
