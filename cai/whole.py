"""Files and folders that are there whole or not at all, and on the disk before that is said."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cai.errors import RunError


@contextmanager
def whole_file(path: Path) -> Generator[BinaryIO]:
    """A file to write to, which takes its place when the block ends well; else nothing is left.

    Args:
        path: where it goes, in a folder that is there.

    Raises:
        OSError: it cannot be written.
    """
    # A name that no other file has: one called like the new one with an ending is a user's own.
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: there is the old one, or all of the new.

    Args:
        path: where it goes, in a folder that is there.
        content: of the file.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(path) as stream:
        stream.write(content)


def replace_folder(new: Path, place: Path) -> None:
    """Put a folder in the place of another, which is deleted when the new one is there.

    A process killed between the two renames leaves none under the name, and the old one in a
    hidden folder beside it.

    Args:
        new: all of it written, on the disk of `place`.
        place: where it goes; what is there, if anything, is ours.

    Raises:
        RunError: the new folder is in its place, and the old one cannot be deleted.
        OSError: it cannot be put there; the old one is as it was.
    """
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    old = aside / place.name
    try:
        if place.exists():
            place.rename(old)
        try:
            new.rename(place)
        except OSError:
            if old.exists():
                old.rename(place)
            raise
    except OSError:
        aside.rmdir()
        raise
    sync(place.parent)
    try:
        shutil.rmtree(aside)
    except OSError as error:
        raise RunError(
            f"{place} is written, and what was there before cannot be deleted: "
            f"{error.strerror}; delete {aside}"
        ) from error


def sync_folder(folder: Path) -> None:
    """Have all files of a folder on the disk, so that what says so can be written."""
    for path in folder.rglob("*"):
        if path.is_file() or path.is_dir():
            sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's names, before going on."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
