"""Read a template without rendering it: what it is given, imports, and says of replies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from jinja2 import DictLoader, StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2 import Template as CompiledTemplate
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cai.errors import Fault, InputError
from cai.prompt_tags import Family, RoleTags, text_line
from cai.turn_marks import unmarked

REQUIRED: Mapping[str, frozenset[str]] = {
    "respond": frozenset({"conversation"}),
    "context": frozenset({"conversation", "statements"}),
    "critique": frozenset({"conversation", "response", "principle", "few_shots"}),
    "revise": frozenset({"conversation", "response", "principle", "critique", "few_shots"}),
    "compare": frozenset({"conversation", "response_a", "response_b", "principle", "few_shots"}),
    "reason": frozenset(
        {"conversation", "response_a", "response_b", "principle", "few_shots", "reasoning"}
    ),
    "rate": frozenset({"conversation", "response", "principle", "few_shots"}),
    "grade": frozenset({"conversation", "response", "principle"}),
    "classify": frozenset({"conversation", "response", "principle", "few_shots"}),
    "answer": frozenset({"conversation", "question", "options"}),
    "write_prompts": frozenset({"examples", "topic"}),
}
"""The variables that each template is given; a template may use these and no others."""

PARTS = ("question", "preamble", "sample")
"""Files with macros that templates import from; a user's own ones count as theirs do."""


def quote(text: str) -> str:
    r"""Put "> " before each line, whatever breaks it (\r, \v, \u2028 … too).

    No line of quoted text begins as one of ours does, so it cannot pose as an option, a heading
    or an instruction of the template.
    """
    return "\n".join("> " + line for line in text.splitlines() or [""])


class Source(NamedTuple):
    """A template that is to be checked."""

    name: str
    path: Path
    text: str
    family: Family


class Checked(NamedTuple):
    """What is known of a template without rendering it."""

    used: frozenset[str]
    imported: frozenset[str]
    stop: tuple[str, ...]
    answer: nodes.Macro | None


def environment_of(parts: Mapping[str, str]) -> ImmutableSandboxedEnvironment:
    """Where templates are compiled, with the parts that they can import from."""
    environment = ImmutableSandboxedEnvironment(
        loader=DictLoader(parts),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[RoleTags],
    )
    cast("Any", environment).filters.update(quote=quote, unmarked=unmarked)
    return environment


def check_template(
    environment: ImmutableSandboxedEnvironment, source: Source, parts: Mapping[str, str]
) -> Checked:
    """What a template uses, imports and says of replies.

    Raises:
        InputError: it would fail on the first call.
    """
    name, path, text, family = source
    try:
        tree = environment.parse(text)
        used = meta.find_undeclared_variables(tree) - {"__pieces"}
    except TemplateSyntaxError as error:
        raise InputError(path, [Fault(error.message or "bad syntax", "", error.lineno)]) from error
    except RecursionError as error:
        raise InputError(path, [Fault("is nested too deeply to be read")]) from error
    given = ", ".join(sorted(REQUIRED[name]))
    lines = {word.name: word.lineno for word in reversed(list(tree.find_all(nodes.Name)))}
    faults = [
        Fault(f"asks for {word!r}, which it is not given; it has {given}", line=lines[word])
        for word in sorted(used - REQUIRED[name], key=lambda word: lines[word])
    ]
    imported = set(meta.find_referenced_templates(tree))
    faults += [
        Fault(f"imports {other!r}; it can import {', '.join(sorted(parts)) or 'nothing'} alone")
        for other in sorted(imported - parts.keys(), key=str)
    ]
    line = text_line(tree)
    if family == "chat" and line is not None:
        told = "has a {% text %}, which only templates of the family completion can; use {% user %}"
        faults.append(Fault(told, line=line))
    stop = _stop(tree, faults)
    if faults:
        raise InputError(path, faults)
    macros = (node for node in tree.body if isinstance(node, nodes.Macro))
    return Checked(
        frozenset(used),
        frozenset(part for part in imported if part is not None),
        stop,
        next((macro for macro in macros if macro.name == "answer"), None),
    )


def _stop(tree: nodes.Template, faults: list[Fault]) -> tuple[str, ...]:
    """What ``{% set stop = [...] %}`` lists."""
    for node in tree.body:
        if not (isinstance(node, nodes.Assign) and isinstance(node.target, nodes.Name)):
            continue
        if node.target.name != "stop":
            continue
        try:
            listed = cast("Any", node.node).as_const()
        except nodes.Impossible:
            listed = None
        if isinstance(listed, list):
            texts = cast("list[Any]", listed)
            if all(isinstance(text, str) and text for text in texts):
                return tuple(texts)
        message = 'sets stop to what is no list of texts; write {% set stop = ["…"] %}'
        faults.append(Fault(message, line=node.lineno))
    return ()


def macro_alone(
    environment: ImmutableSandboxedEnvironment, macro: nodes.Macro
) -> Callable[[str], str]:
    """A macro of a template, to be called without rendering the template."""
    tree = nodes.Template([macro], lineno=macro.lineno)
    tree.set_environment(environment)
    known: dict[str, Any] = cast("Any", environment).globals
    template = CompiledTemplate.from_code(environment, environment.compile(tree), known)
    return cast("Any", template.module).answer
