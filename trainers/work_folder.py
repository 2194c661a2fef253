"""Where a training works, goes on after a kill, and puts its model when it is done.

Beside the model's folder ``out`` stands ``out.training`` with checkpoints while the training
lasts, and ``out.training.lock``, which keeps a second process from the same work. The finished
model is moved to ``out`` in one step, so that ``out`` holds either the old model or the new one,
whole. Nothing but a model and a training of this program is replaced.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from cai.errors import RunError
from cai.models.weights import MICROWORLD
from cai.outputs import check_folder
from cai.whole import sync_folder, write_whole

COMPLETE = "complete"
"""Stands in a checkpoint's folder once all of it is written."""

RECORD = "training.json"
SNAPSHOTS = "snapshots"
LOG = "training_log.jsonl"

MARK = "inputs"
"""Stands in a training's folder from its beginning to its very end, and makes it one."""


class WorkFolder:
    """Owns the files of one training.

    Args:
        out: where the model goes.
        inputs: hash of all that the result depends on; checkpoints of another are not used.
    """

    def __init__(self, out: Path, inputs: str) -> None:
        """Look at nothing yet.

        Raises:
            RunError: the folder has no name, as ``.`` has none.
        """
        if not out.name:
            raise RunError(f"{out} is no name for a model; name a folder within it with --out")
        self.out = out
        self.inputs = inputs
        self.path = out.with_name(out.name + ".training")
        self._mark = self.path / MARK
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.snapshots = self.path / SNAPSHOTS

    def finished(self) -> Mapping[str, Any] | None:
        """The record of a finished training with the same inputs, its model in its place.

        Raises:
            CaiError: what lies where the model is to go, or beside it, is none of ours.
        """
        self._refuse_other_work()
        for folder in (self.out, self.model):
            record = read_record(folder)
            if record is not None and record.get("inputs") == self.inputs:
                if folder == self.model:
                    with self.held():
                        self.install()
                return record
        return None

    def is_begun(self) -> bool:
        """Whether a training with the same inputs was begun, and not finished."""
        return self._mark.is_file() and self._mark.read_text() == self.inputs

    @contextmanager
    def held(self) -> Generator[None]:
        """Keep every other process from training this model inside the block.

        Raises:
            RunError: another process trains it.
        """
        from cai.engine.opening import RunLock

        self.out.parent.mkdir(parents=True, exist_ok=True)
        lock = RunLock(self.path.with_name(f"{self.path.name}.lock"), self.path)
        try:
            yield
        finally:
            lock.remove()

    def open(self) -> None:
        """Make the folder ready: checkpoints of other inputs are removed."""
        if not self.is_begun():
            self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            self._mark.write_text(self.inputs)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        moved = self.model / self.snapshots.name
        if moved.is_dir():
            # Of a process that was killed at the very end: they are not made again.
            moved.rename(self.snapshots)
        shutil.rmtree(self.model, ignore_errors=True)

    def last_checkpoint(self) -> Path | None:
        """The last whole checkpoint, if there is one."""
        whole = {
            int(found[1]): folder
            for folder in self.checkpoints.iterdir()
            if (found := re.fullmatch(r"checkpoint-(\d+)", folder.name))
            and (folder / COMPLETE).is_file()
        }
        return whole[max(whole)] if whole else None

    def mark_complete(self, step: int) -> None:
        """Note that the checkpoint of a step is written in full, once the disk has all of it."""
        folder = self.checkpoints / f"checkpoint-{step}"
        sync_folder(folder)
        write_whole(folder / COMPLETE, b"")

    def models(self) -> Sequence[Path]:
        """The trained model, behind its snapshots if there are any."""
        return (*sorted(self.snapshots.glob("step-*")), self.model)

    def keep_snapshots(self) -> None:
        """Move them into the trained model's folder, if there are any."""
        if self.snapshots.is_dir():
            self.snapshots.rename(self.model / self.snapshots.name)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write what the training was; the model's folder counts as finished from here on.

        The disk has the model by then.
        """
        sync_folder(self.model)
        write_record(self.model, {**record, "inputs": self.inputs}, self.out)

    def install(self) -> None:
        """Move the finished model to its place and remove all else.

        Raises:
            CaiError: something else has been put there since the training began.
        """
        self._refuse_other_work()
        replaced = self.path / "replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if self.out.exists():
            self.out.rename(replaced)
        self.model.rename(self.out)
        self._clear()
        shutil.rmtree(self.path)

    def _clear(self) -> None:
        """Remove what a training has left, all but its mark: it stays known as a training's."""
        for one in self.path.iterdir() if self.path.is_dir() else ():
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            elif one != self._mark:
                one.unlink()

    def _refuse_other_work(self) -> None:
        """What is there is replaced, or removed: it must be of a training."""
        check_folder(self.out)
        record = read_record(self.out)
        if (record is None or "inputs" not in record) and _has_files(self.out):
            raise RunError(
                f"{self.out} is there already and holds no model of a training (no {RECORD} of "
                "one), which the new one could replace; name another folder with --out"
            )
        check_folder(self.path)
        if _has_files(self.path) and not self._mark.is_file():
            raise RunError(
                f"{self.path} is there already and of no training, which would keep its "
                f"checkpoints there; move it away, or name another folder than {self.out}"
            )


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def write_record(folder: Path, record: Mapping[str, Any], place: Path) -> None:
    """Put the record of a training into a model's folder, whole or not at all.

    Folders of this machine are named as they are found from the model's own, such as
    ``../sl_cai``, so that a run can be moved and says nothing of where it was.

    Args:
        folder: the model's, for now.
        record: what the training was.
        place: where the model's folder will be.
    """
    told = _with_names(record, lambda name: _from(place, name))
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_whole(folder / RECORD, orjson.dumps(told, option=option))


def read_record(folder: Path) -> Mapping[str, Any] | None:
    """What a model's folder says of its training; None if it holds no trained model.

    Raises:
        RunError: it is no JSON, or no record.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        record = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise RunError(f"{file} is not JSON ({error}); delete the folder to train again") from error
    if not isinstance(record, dict):
        raise RunError(f"{file} is no record of a training; name another folder")
    return _with_names(record, lambda name: _at(folder, name))


def _with_names(record: Mapping[str, Any], change: Callable[[str], str]) -> Mapping[str, Any]:
    """A record with other names of its models, and of files and folders among its settings."""
    names = {
        role: {**one, "name": change(one["name"])} for role, one in record.get("models", {}).items()
    }
    settings = {
        name: change(value) if isinstance(value, str) and value.startswith(("/", ".")) else value
        for name, value in record.get("settings", {}).items()
    }
    told = {"models": names, "settings": settings}
    return {name: told.get(name, value) for name, value in record.items()}


def _from(place: Path, name: str) -> str:
    """What a file or folder is called, seen from a place; names on the hub stay as they are."""
    path = Path(name)
    if path == MICROWORLD:
        return "microworld"
    if not (path.is_absolute() or path.exists()):
        return name
    seen = os.path.relpath(path, place)
    return seen if seen.startswith(".") else f"./{seen}"


def _at(place: Path, name: str) -> str:
    """The file or folder that is called so, seen from a place."""
    if name == "microworld":
        return str(MICROWORLD)
    return os.path.normpath(place / name) if name.startswith(".") else name
