"""The pages of all keys of a recipe and of a constitution, from the models that read them."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cai.constitution.case import CaseFile
from cai.constitution.schema import Constitution
from cai.constitution.values import Turn
from cai.recipe import Recipe
from cai.records import Message
from docs.reference.layout import (
    NAMES,
    WRITTEN_BY,
    escaped,
    paragraph,
    require_described,
    slug,
    table,
)

RECIPE = """# Keys of a recipe

One YAML file says all that a run does. `--set a.b=value` sets any key on the command line.
Relative paths are relative to the recipe's folder; a constitution and the folder of a model or an
adapter are looked for there first, and then where the command is typed. A key without a default may
be left out unless it is *needed*; an unknown key is a fault, and so is a key without a value.
"""

CONSTITUTION = """# Keys of a constitution

What a constitution may say; [how it is meant](../constitution.md) is told elsewhere. The same as
JSON Schema, for editors: `cai constitution schema`. Where a list is asked for, a single text
stands for a list of one; a conversation is a text (one turn of the user) or a list of turns.
"""


class Section(NamedTuple):
    """One mapping of a file.

    Args:
        model: what reads it.
        keys: everywhere that it may stand, with dots; the file itself is the empty key.
    """

    model: type[BaseModel]
    keys: list[str]


def recipe_page() -> str:
    """The page of a recipe's keys as Markdown.

    Raises:
        CaiError: a key has no description.
    """
    return keys_page(RECIPE, Recipe)


def constitution_page() -> str:
    """The page of a constitution's keys, and of those of a file of cases, as Markdown.

    Raises:
        CaiError: a key has no description.
    """
    beside = "## A file of cases\n\n`mine.cases.yaml` beside `mine.yaml` has one key, `cases`.\n"
    assert set(CaseFile.model_fields) == {"cases"}, "the page says that it has one key"
    return keys_page(CONSTITUTION, Constitution) + "\n" + beside


def sections_of(model: type[BaseModel]) -> list[Section]:
    """A model and all models under it, each once, in the order of their keys."""
    found: dict[type[BaseModel], Section] = {}
    _gather(model, "", found)
    return list(found.values())


def _gather(model: type[BaseModel], key: str, found: dict[type[BaseModel], Section]) -> None:
    known = model in found
    found.setdefault(model, Section(model, [])).keys.append(key)
    if known:
        return
    for name, field in model.model_fields.items():
        for under in _models_in(field.annotation):
            _gather(under, f"{key}.{name}".lstrip("."), found)


def keys_page(introduction: str, root: type[BaseModel]) -> str:
    """A page of all keys of a file.

    Args:
        introduction: what comes first.
        root: what reads the file.

    Raises:
        CaiError: a key has no description.
    """
    sections = sections_of(root)
    require_described([name for section in sections for name in _undescribed(section)])
    titles = _titles(sections)
    parts = [_section(section, titles) for section in sections]
    return "\n".join([WRITTEN_BY + introduction, *parts])


def _titles(sections: Sequence[Section]) -> dict[type[BaseModel], str]:
    """What each section is called: its key; one that stands in several places, its name."""
    titles: dict[type[BaseModel], str] = {}
    shared = {one.keys[0]: _words(one.model) for one in sections if len(one.keys) > 1}
    for model, (key, *others) in sections:
        around = next((one for one in shared if key.startswith(f"{one}.")), None)
        if others:
            titles[model] = shared[key]
        elif around:
            titles[model] = f"{shared[around]}: `{key.removeprefix(around + '.')}`"
        else:
            titles[model] = f"`{key}`" if key else "The whole file"
    return titles


def _words(model: type[BaseModel]) -> str:
    name = model.__name__.removesuffix("Settings")
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).capitalize()


def _undescribed(section: Section) -> Iterator[str]:
    for name, field in section.model.model_fields.items():
        if not _meaning(field):
            yield f"{section.model.__name__}.{name}"


def _section(section: Section, titles: dict[type[BaseModel], str]) -> str:
    told = paragraph(section.model.__doc__ or "")
    where = ", ".join(f"`{key}`" for key in section.keys) if len(section.keys) > 1 else ""
    rows = [
        (
            f"`{name}`",
            _kind(field.annotation, titles) + _range(field),
            _default(field),
            escaped(meaning),
        )
        for name, field in section.model.model_fields.items()
        if (meaning := _meaning(field))
    ]
    head = [
        f"## {titles[section.model]}\n",
        f"{told}\n",
        *([f"Stands at {where}.\n"] if where else []),
    ]
    return "\n".join([*head, table(["key", "value", "default", "meaning"], rows)])


def _meaning(field: FieldInfo) -> str:
    """A key's description; of a section that has none of its own, what the section is."""
    if field.description:
        return field.description
    under = list(_models_in(field.annotation))
    return paragraph(under[0].__doc__ or "") if under else ""


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    annotation = _plain(annotation)
    if isinstance(annotation, type) and not get_args(annotation):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for part in get_args(annotation):
        yield from _models_in(part)


def _plain(annotation: Any) -> Any:
    """An annotation as it is written in a file: turns are messages' form there."""
    if hasattr(annotation, "__metadata__"):
        return _plain(get_args(annotation)[0])
    return Turn if annotation is Message else annotation


def _kind(annotation: Any, titles: dict[type[BaseModel], str]) -> str:
    annotation = _plain(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in titles:
        title = titles[annotation]
        return f"[{title.replace('`', '')}](#{slug(title)})"
    if origin is Literal:
        return ", ".join(f"`{_yaml(choice)}`" for choice in parts)
    if origin in (Union, types.UnionType):
        kinds = [_kind(part, titles) for part in parts if part is not type(None)]
        return " or ".join(kinds)
    if origin is tuple and parts[-1] is Ellipsis:
        return f"list: {_kind(parts[0], titles)}"
    if origin is tuple:
        return f"[{', '.join(_kind(part, titles) for part in parts)}]"
    if origin is dict:
        return "mapping"
    return NAMES.get(annotation, "any")


def _range(field: FieldInfo) -> str:
    signs = {annotated_types.Ge: "≥", annotated_types.Gt: ">"}
    signs |= {annotated_types.Le: "≤", annotated_types.Lt: "<"}
    bounds = [
        f"{sign} {getattr(rule, kind.__name__.lower()):g}"
        for rule in field.metadata
        for kind, sign in signs.items()
        if isinstance(rule, kind)
    ]
    return "".join(f", {bound}" for bound in bounds)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        said = value.model_dump(mode="json", exclude_defaults=True)
        return f"`{_yaml(said)}`" if said else ""
    return "" if value is None or value in ((), {}) else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A value as YAML in one line has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list):
        return f"[{', '.join(_yaml(part) for part in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(part)}" for key, part in value.items()) + "}"
    return json.dumps(value)
