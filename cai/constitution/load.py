"""Read a constitution, follow what it extends, and say where each of its texts stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cai.constitution.schema import Constitution, Principle
from cai.document import Document, read_document
from cai.errors import Fault, InputError
from cai.resources import shipped
from cai.validation import validate

Lines = Mapping[tuple[str, str], int]
"""Line of a principle's text, by (principle id, key); a whole principle's by (id, "")."""


@dataclass(frozen=True)
class Loaded:
    """A constitution and where it was read.

    Args:
        constitution: everything that it extends is already in it.
        path: the file that was asked for.
        lines: of the principles in that file; inherited ones have none.
    """

    constitution: Constitution
    path: Path
    lines: Lines


def load_constitution(name_or_path: str | Path) -> Constitution:
    """Read a constitution, with everything that it extends.

    Args:
        name_or_path: a path that ends in .yaml or .yml, or a shipped name such as "harmlessness".

    Raises:
        InputError: the file, or one that it extends, has faults; all of that file's are given.
    """
    return read_constitution(name_or_path).constitution


def read_constitution(name_or_path: str | Path) -> Loaded:
    """As `load_constitution`, and keep the lines of the file.

    Raises:
        InputError: as `load_constitution`.
    """
    return _read(_path(name_or_path, Path()), ())


def _path(name_or_path: str | Path, folder: Path) -> Path:
    """A name has no suffix and no folder; so a mistyped path is never taken for one."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) != 1:
        return folder / path
    files = {file.stem: file for file in sorted(shipped("constitution").glob("*.yaml"))}
    if path.name not in files:
        known = ", ".join(files)
        message = f"is no shipped constitution; choose from {known}, or give a path ending in .yaml"
        raise InputError(str(name_or_path), [Fault(message)])
    return files[path.name]


def _read(path: Path, below: tuple[Path, ...]) -> Loaded:
    document = read_document(path)
    own = validate(document, Constitution)
    if not own.extends:
        return Loaded(own, path, _lines(document, own))
    parents = [
        _read(parent, (*below, path.resolve())).constitution
        for parent in _parents(document, own, below)
    ]
    return Loaded(_resolved(document, own, parents), path, _lines(document, own))


def _parents(document: Document, own: Constitution, below: tuple[Path, ...]) -> list[Path]:
    line, here = document.line(("extends",)), document.path
    paths: list[Path] = []
    for index, name in enumerate(own.extends):
        place = f"extends.{index}"
        try:
            path = _path(name, here.parent)
        except InputError as error:
            message = f"{name!r} {error.faults[0].message}"
            raise InputError(here, [Fault(message, place, line)]) from error
        if not path.is_file():
            fault = Fault(f"is {name!r}, but there is no file {path}; check the path", place, line)
            raise InputError(here, [fault])
        ring = (*below, here.resolve(), path.resolve())
        if path.resolve() in ring[:-1]:
            way = " → ".join(step.name for step in ring[ring.index(path.resolve()) :])
            raise InputError(here, [Fault(f"goes in a ring: {way}; delete one", place, line)])
        paths.append(path)
    return paths


def _resolved(document: Document, own: Constitution, parents: list[Constitution]) -> Constitution:
    principles: dict[str, Principle] = {}
    few_shots = dict[str, object]()
    for parent in parents:
        principles |= {principle.id: principle for principle in parent.principles}
        few_shots |= _given_shots(parent)
    faults = [
        Fault(
            f"is {id!r}, which nothing extended has; choose from {', '.join(principles)}",
            f"remove.{index}",
            document.line(("remove", index)),
        )
        for index, id in enumerate(own.remove)
        if id not in principles
    ]
    kept = {id: principle for id, principle in principles.items() if id not in own.remove}
    kept |= {principle.id: principle for principle in own.principles}
    if not kept:
        faults.append(Fault("leaves no principle; keep at least one", "remove"))
    if faults:
        raise InputError(document.path, faults)
    shots = own.few_shots.model_copy(update=few_shots | _given_shots(own))
    return own.model_copy(update={"principles": tuple(kept.values()), "few_shots": shots})


def _given_shots(constitution: Constitution) -> dict[str, object]:
    shots = constitution.few_shots
    return {stage: getattr(shots, stage) for stage in shots.model_fields_set}


def _lines(document: Document, own: Constitution) -> Lines:
    lines: dict[tuple[str, str], int] = {}
    for index, principle in enumerate(own.principles):
        for key in ("", *type(principle).model_fields):
            line = document.lines.get(("principles", index, *((key,) if key else ())))
            if line is not None:
                lines[principle.id, key] = line
    return lines
