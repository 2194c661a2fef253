"""Prompt templates: Jinja files that yield messages, so that no text can forge a turn.

A template marks its turns with its own tags (`cai.prompt_tags`)::

    {% messages conversation %}
    {% user %}{{ principle.critique }}{% enduser %}

Roles come from these tags alone. What a user or model wrote is only ever a value, so it can open
no tag. Where it is shown inside a turn or text of ours, a filter keeps it from reading as ours:
`quote` puts "> " before each of its lines, and `unmarked` breaks what it spells of our marks
(`cai.turn_marks`).

There are two families: "chat" yields messages; "completion" the plain text of Bai et al. (2022),
which a base model goes on with. A template says with a macro ``answer(option)`` how an option is
written as a reply, if not as it is named, and with ``{% set stop = [...] %}`` what ends a reply in
plain text; a message ends by itself.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jinja2 import Template as CompiledTemplate
from jinja2 import TemplateError

from cai.errors import Fault, InputError
from cai.prompt_check import (
    PARTS,
    REQUIRED,
    Source,
    check_template,
    environment_of,
    macro_alone,
    quote,
)
from cai.prompt_tags import Family, Piece, as_messages
from cai.records import Message, Sampling
from cai.resources import shipped

__all__ = ["PARTS", "REQUIRED", "Family", "Frame", "Prompts", "Template", "quote"]

Frame = Literal["cai", "rlaif-base", "rlaif-detailed"]
"""How a judge is asked: as in Bai et al. (2022), or as in Lee et al. (2023) with one of their
preambles."""

_FAILURES = (TypeError, ValueError, ArithmeticError, LookupError, RecursionError)
"""What an expression in a template can raise, such as a sum of a text and a number, or a macro
that calls itself."""


@dataclass(frozen=True)
class Template:
    """One template file: its text's hash goes into every record made with it.

    Args:
        name: such as "critique".
        path: of the file.
        hash: of its text, and of the parts that it imports.
        family: what it yields.
        stop: what ends a reply in plain text, beside what its sampling says.
    """

    name: str
    path: Path
    hash: str
    family: Family = "chat"
    stop: tuple[str, ...] = ()


class Prompts:
    """The templates that the calls of a run are made with, a user's own before the shipped ones.

    A file is looked for in folders of this order, each with a subfolder named by the language
    before it: the user's own for the family (``mine/completion``), the user's own, those of the
    frame, those of the family.

    Args:
        folder: a folder whose files (``critique.j2`` …) replace shipped ones of the same name.
        family: of every template, or of each by its name; those not named are of "chat".
        language: of the constitution, such as "de".
        frame: how a judge is asked.

    Attributes:
        templates: by name.
        used: the variables that each of them uses.
        files: every file that was read, by a name under which a folder of them is the same
            templates: ``chat/critique.j2``.

    Raises:
        InputError: there is no such folder, a file in it has no template's name, or a template
            has a syntax error or asks for a variable that it is not given.
    """

    def __init__(
        self,
        folder: Path | None = None,
        family: Family | Mapping[str, Family] = "chat",
        *,
        language: str = "en",
        frame: Frame = "cai",
    ) -> None:
        """Read and check every template, so that a fault shows before the first call."""
        self.templates: dict[str, Template] = {}
        self.used: dict[str, frozenset[str]] = {}
        self.files: dict[str, Path] = {}
        self._compiled: dict[str, CompiledTemplate] = {}
        self._answers: dict[str, Callable[[str], str]] = {}
        for one in ("chat", "completion"):
            names = [
                name
                for name in REQUIRED
                if (family if isinstance(family, str) else family.get(name, "chat")) == one
            ]
            self._take(names, one, _folders(folder, one, language, frame))

    def _take(self, names: Sequence[str], family: Family, folders: Sequence[Path]) -> None:
        found = {name: _find(name, folders) for name in PARTS}
        parts = {f"{name}.j2": _read(path) for name, path in found.items() if path}
        if names:
            self.files |= {f"{family}/{name}.j2": path for name, path in found.items() if path}
        environment = environment_of(parts)
        for name in names:
            path = _find(name, folders)
            if path is None:
                raise InputError(folders[0], [Fault(f"has no template {name}.j2; write it")])
            text = _read(path)
            self.files[f"{family}/{name}.j2"] = path
            checked = check_template(environment, Source(name, path, text, family), parts)
            whole = "\0".join([text, *(parts[part] for part in sorted(checked.imported))])
            hashed = hashlib.sha256(whole.encode()).hexdigest()[:16]
            self.used[name] = checked.used
            stop = checked.stop if family == "completion" else ()
            self.templates[name] = Template(name, path, hashed, family, stop)
            self._compiled[name] = environment.from_string(text)
            if checked.answer is not None:
                self._answers[name] = macro_alone(environment, checked.answer)

    def render(self, name: str, **variables: Any) -> tuple[Message, ...]:
        """Messages of the template, given exactly the variables in `REQUIRED` of that name.

        Raises:
            InputError: the template failed on these values, gave no message, or left text outside
                its role tags.
        """
        missing = REQUIRED[name] - variables.keys()
        if missing:
            raise TypeError(f"template {name!r} needs {', '.join(sorted(missing))}")
        pieces: list[Piece] = []
        path = self.templates[name].path
        try:
            rest = self._compiled[name].render(**variables, __pieces=pieces)
        except (TemplateError, *_FAILURES) as error:
            raise InputError(path, [Fault(f"cannot be rendered: {error}")]) from error
        if rest.strip():
            fault = Fault(f"has text outside {{% user %}} … {{% enduser %}}: {rest.strip()[:80]!r}")
            raise InputError(path, [fault])
        if not pieces:
            raise InputError(path, [Fault("gives no message; write a {% user %} turn")])
        return as_messages(pieces, self.templates[name].family)

    def answers(self, name: str, options: Sequence[str]) -> tuple[str, ...]:
        """How options are written as replies to a template, such as " (A)" for "A".

        Raises:
            InputError: the template's macro `answer` failed, or wrote two options alike.
        """
        write = self._answers.get(name)
        if write is None:
            return tuple(options)
        path = self.templates[name].path
        try:
            written = tuple(str(write(option)) for option in options)
        except (TemplateError, *_FAILURES) as error:
            raise InputError(path, [Fault(f"cannot write an answer: {error}")]) from error
        if len({*written}) < len(written) or not all(text.strip() for text in written):
            fault = f"writes the answers {written}, of which each must be another and none blank"
            raise InputError(path, [Fault(fault)])
        return written

    def ending(self, name: str, sampling: Sampling) -> Sampling:
        """A sampling whose reply also ends before what the template says."""
        more = [text for text in self.templates[name].stop if text not in sampling.stop]
        return replace(sampling, stop=(*sampling.stop, *more)) if more else sampling


def _folders(folder: Path | None, family: Family, language: str, frame: Frame) -> list[Path]:
    """Where the templates of a family are looked for, in order."""
    own = shipped("prompts")
    bases = [own / family]
    if frame != "cai":
        rlaif = own / "rlaif"
        bases = [rlaif / frame.removeprefix("rlaif-"), rlaif, *bases]
    whole = [path for base in bases for path in (base / language, base)]
    if folder is None:
        return whole
    if not folder.is_dir():
        raise InputError(folder, [Fault("is not a folder; name the one that has your templates")])
    theirs = [path for base in (folder / family, folder) for path in (base / language, base)]
    for path in theirs:
        _refuse_unknown(path)
    return [*theirs, *whole]


def _refuse_unknown(folder: Path) -> None:
    """Refuse what would leave the shipped template in use: a mistyped name, and a folder."""
    faults: list[Fault] = []
    known = (*REQUIRED, *PARTS)
    for path in sorted(folder.glob("*.j2")):
        if path.stem not in known:
            near = difflib.get_close_matches(path.stem, known, n=1)
            names = f"did you mean {near[0]}.j2?" if near else f"choose from {', '.join(known)}"
            faults.append(Fault(f"{path.name} is no template's name; {names}"))
        elif path.is_dir():
            faults.append(Fault(f"{path.name} is a folder; a template is a file"))
    if faults:
        raise InputError(folder, faults)


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    paths = (folder / f"{name}.j2" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(path, [Fault("is not UTF-8 text; save it as UTF-8")]) from error
