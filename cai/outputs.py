"""Whether a command can write what it is to make, told before any of its work is done."""

from __future__ import annotations

import os
from pathlib import Path

from cai.errors import CaiError


def check_file(path: Path, option: str = "--out") -> None:
    """Refuse a place where no file can be written; the folders above it need not be there.

    Args:
        path: of the file; one that is there is written over.
        option: that names it, for the advice.

    Raises:
        CaiError: it is a folder or may not be written, or there is no folder for it.
    """
    if path.is_dir():
        raise CaiError(f"{path} is a folder; name a file with {option}")
    _check_rights(path, option)


def check_folder(path: Path, option: str = "--out") -> None:
    """Refuse a place where no folder can be written; the folders above it need not be there.

    Args:
        path: of the folder; it may be there.
        option: that names it, for the advice.

    Raises:
        CaiError: it is a file or may not be written, or there is no folder for it.
    """
    if os.path.lexists(path) and not path.is_dir():
        raise CaiError(f"{path} is a file; name a folder with {option}")
    _check_rights(path, option)


def _check_rights(path: Path, option: str) -> None:
    there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
    if there != path and not there.is_dir():
        raise CaiError(
            f"{path} cannot be written: {there} is no folder; name another place with {option}"
        )
    if not os.access(there, os.W_OK):
        raise CaiError(
            f"{path} cannot be written: {there} is read-only for you; name another with {option}"
        )
