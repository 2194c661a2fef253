"""What this installation and machine offer, and what is wrong with them; for `cai doctor`.

Nothing here asks a server, and no key is read: of environment variables only the names are told.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from cai.errors import CaiError
from cai.redaction import SECRET_NAMES
from cai.requirements import Needed, needed_packages

State = Literal["ok", "note", "problem"]
"""A note stops nothing; with a problem, what most people want to do does not work."""

OLDEST_PYTHON = (3, 11)
GIB = 2**30
LOW_MEMORY, LOW_DISK, NO_DISK = 4 * GIB, 5 * GIB, GIB // 10
OLD_PRICES = 180
"""Days after which a price list is worth a look at the provider's page."""

WEIGHTS = Path(__file__).parent / "microworld" / "model"
CHECKSUMS = Path(__file__).parent / "microworld" / "checksums.json"

SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "vllm", "openai", "anthropic")
SHOWN_TOO = ("langchain", "langchain-core", "datasets", "keyring")

OWN_ENVIRONMENT = "if you need it, best in an environment of its own (docs/vllm.md)"
"""vLLM pins versions that seldom fit those of training."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Args:
        name: what was looked at.
        state: whether it is as it should be.
        told: what was found.
        fix: what to do about it; empty if nothing.
    """

    name: str
    state: State
    told: str
    fix: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, in the order in which a person would."""
    yield _python()
    yield Finding("system", "ok", f"{platform.platform()}, {platform.machine()}")
    yield from _machine()
    yield from _packages()
    yield _accelerators()
    yield from _keys()
    yield from _shipped()
    yield _cache()


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        needed = ".".join(map(str, OLDEST_PYTHON))
        return Finding("python", "problem", version, f"install Python {needed} or newer")
    return Finding("python", "ok", f"{version} ({sys.executable})")


def _machine() -> Iterator[Finding]:
    yield Finding("cores", "ok", str(_cores()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    low = memory < LOW_MEMORY
    fix = (
        "enough for the microworld and hosted models; weights of your own need more" if low else ""
    )
    yield Finding("memory", "note" if low else "ok", f"{memory / GIB:.1f} GiB", fix)
    free = shutil.disk_usage(Path.cwd()).free
    state: State = "problem" if free < NO_DISK else "note" if free < LOW_DISK else "ok"
    fix = "" if state == "ok" else "make room: ledgers, data sets and trained models are kept here"
    yield Finding("disk", state, f"{free / GIB:.1f} GiB free in this folder", fix)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _packages() -> Iterator[Finding]:
    needed = {one.name: one for one in needed_packages()}
    base = [one.name for one in needed.values() if not one.extra]
    for name in dict.fromkeys((*SHOWN, *SHOWN_TOO, *base)):
        one = needed.get(name, Needed(name))
        if name in SHOWN or name in SHOWN_TOO or one.fault:
            yield _package(one)


def _package(one: Needed) -> Finding:
    if one.version is None and one.name == "vllm":
        return Finding(one.name, "note", "not installed", OWN_ENVIRONMENT)
    if one.version is None and one.extra:
        return Finding(
            one.name, "note", "not installed", f"if you need it, in the checkout: {one.command}"
        )
    if one.version is None:
        state: State = "problem" if one.tested else "note"
        fix = f"in the checkout: {one.command}" if one.tested else "only for models that need it"
        return Finding(one.name, state, "not installed", fix)
    if one.fault:
        return Finding(
            one.name,
            "note",
            f"{one.version}, tested with {one.tested}",
            f"in the checkout: {one.command}",
        )
    return Finding(
        one.name, "ok", f"{one.version}{f' (tested: {one.tested})' if one.tested else ''}"
    )


def _accelerators() -> Finding:
    try:
        import torch
    except ImportError:
        told = "none can be told without torch; hosted models need none"
        return Finding("accelerators", "note", told)
    # torch leaves the type of its device properties open.
    cuda: Any = torch.cuda
    if cuda.is_available():
        devices = [cuda.get_device_properties(number) for number in range(cuda.device_count())]
        told = ", ".join(f"{one.name} ({one.total_memory / GIB:.0f} GiB)" for one in devices)
        return Finding("accelerators", "ok", told)
    if torch.backends.mps.is_available():
        return Finding("accelerators", "ok", "Apple GPU (mps)")
    return Finding("accelerators", "ok", "none: models in this process run on the CPU")


def _keys() -> Iterator[Finding]:
    names = sorted(name for name in os.environ if SECRET_NAMES.search(name))
    told = ", ".join(names) if names else "none is set"
    fix = "" if names else "hosted models need one, such as export OPENAI_API_KEY=…"
    yield Finding("keys in the environment", "ok", told, fix)
    try:
        import keyring
    except ImportError:
        return
    kind = type(keyring.get_keyring())
    usable = kind.__module__ != "keyring.backends.fail"
    told = f"{kind.__module__}.{kind.__name__}" if usable else "this system offers none"
    fix = "" if usable else "keep keys in environment variables"
    yield Finding("keyring entries", "ok" if usable else "note", told, fix)


def _shipped() -> Iterator[Finding]:
    yield examine_weights(WEIGHTS)
    yield from _data()
    yield _prices()


def examine_weights(folder: Path) -> Finding:
    """Whether the microworld's model in a folder is the one that was released."""
    expected: dict[str, str] = orjson.loads(CHECKSUMS.read_bytes())
    broken = [name for name, known in expected.items() if _sha256(folder / name) != known]
    fix = "reinstall constitutional-ai, or restore the files"
    if broken:
        told = f"damaged or missing: {', '.join(broken)}"
        return Finding("microworld weights", "problem", told, fix)
    whole = expected["model.safetensors"][:16]
    return Finding("microworld weights", "ok", f"{len(expected)} files, sha256 {whole}…")


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _data() -> Iterator[Finding]:
    """The shipped constitutions and templates: each is read as a run would read it."""
    from cai.constitution import load_constitution
    from cai.prompts import Prompts
    from cai.resources import shipped

    try:
        found = sorted(shipped("constitution").glob("*.yaml"))
        # Files beside a constitution have a second ending, such as harmlessness.cases.yaml.
        files = [path for path in found if "." not in path.stem]
        loaded = [load_constitution(str(path)) for path in files]
        hashes = ", ".join(f"{one.id} {one.hash[:8]}" for one in loaded)
        yield Finding("constitutions", "ok" if loaded else "problem", hashes or "none found")
        chat = Prompts(frame="rlaif-base").templates
        plain = Prompts(family="completion", frame="rlaif-detailed").templates
        told = f"{len(chat)} templates of messages, {len(plain)} of plain text"
        yield Finding("prompts", "ok", f"{told} in {shipped('prompts')}")
    except (CaiError, FileNotFoundError) as error:
        fix = "reinstall constitutional-ai, or restore the file"
        yield Finding("shipped files", "problem", str(error), fix)


def _prices() -> Finding:
    from datetime import UTC, datetime

    from cai.models.price_list import price_list

    lists = price_list().lists
    oldest = min(one.date for one in lists)
    old = (datetime.now(UTC).date() - oldest).days > OLD_PRICES
    told = ", ".join(f"{one.provider} of {one.date.isoformat()}" for one in lists)
    fix = "compare them with the providers' pages; prices: in a recipe comes first" if old else ""
    return Finding("price list", "note" if old else "ok", told, fix)


def _cache() -> Finding:
    """Whether downloaded models can be kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("HF_HOME", home / "huggingface"))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return Finding("cache folder", "ok", f"{folder} can be written")
    except OSError as error:
        fix = "give write access, or name another folder with export HF_HOME=…"
        return Finding("cache folder", "problem", f"{folder}: {error.strerror}", fix)


def stops_work(findings: Iterable[Finding]) -> bool:
    """Whether one of them is a problem."""
    return any(one.state == "problem" for one in findings)
