"""What a push sends: named files with sizes and hashes, and nothing else of the run.

Ledger, logs, metrics, reports, checkpoints and optimizer states have no way into it: data sets are
taken by their splits, models by the names that weights, configurations and tokenizers have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cai.card import CARD, read_head
from cai.errors import CaiError
from cai.publishing.secret_scan import refuse_secrets

Kind = Literal["dataset", "model"]


@dataclass(frozen=True)
class PublishedFile:
    """A file of a push.

    Args:
        path: in the repository.
        file: here.
        size: in bytes.
        sha256: of its bytes, in hexadecimal digits.
    """

    path: str
    file: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Publication:
    """All that a push sends.

    Args:
        what: of the run, such as "data" or "rl_cai".
        run: its name.
        kind: of the repository.
        files: in the order of their paths.
        license: as its card says.
        notes: what people should know before it is sent.
    """

    what: str
    run: str
    kind: Kind
    files: Sequence[PublishedFile]
    license: str
    notes: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files)


def publication_of(
    what: str, run: str, kind: Kind, files: Mapping[str, Path], notes: Iterable[str] = ()
) -> Publication:
    """Hash and check the files of a push.

    Args:
        what: of the run.
        run: its name.
        kind: of the repository.
        files: by their paths in the repository; the card is among them.
        notes: what people should know before it is sent.

    Raises:
        CaiError: the card has no license, or a file has a key in it.
    """
    card = files[CARD]
    license = read_head(card.parent).get("license")
    if not license:
        raise CaiError(
            f"the card of {what} has no license, so nobody could use it: state publication.license "
            "in the recipe and run it again, or give --license, such as --license cc-by-4.0"
        )
    published = [
        PublishedFile(path, file, file.stat().st_size, _sha256(file))
        for path, file in sorted(files.items())
    ]
    refuse_secrets({one.path: one.file for one in published})
    return Publication(what, run, kind, published, str(license), tuple(notes))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
