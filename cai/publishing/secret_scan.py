"""Look for API keys in what is to be published, once more, before it leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from cai.datasets.parquet import open_parquet
from cai.errors import CaiError
from cai.redaction import keys_in, redacted

WEIGHTS = (".safetensors", ".model")
"""Files of numbers."""

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
"""Files of a base model's tokens: pieces of words that nobody here has written."""

SHOWN = 5

_LIKE_A_TOKEN = re.compile(r"Bearer\s+(?=\S*\d)\S{16,}")
"""`Bearer` before a word is no key in a text about authentication: keys are long, with digits."""

_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s:@\"']+:[^/\s@\"']+@")
"""A user and a password before the name of a server."""

ROWS_PER_BATCH = 1000


def refuse_secrets(files: Mapping[str, Path]) -> None:
    """Look through texts and rows.

    Args:
        files: by the names that an error shows.

    Raises:
        CaiError: some have a key of this environment, a text in the shape of a known provider's
            key, or an address with a password; says where, and never which.
    """
    found = [
        f"{name}, {place}"
        for name, file in files.items()
        for place, text in _texts(file)
        if has_secret(text)
    ]
    if found:
        more = f"\n… and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise CaiError(
            "nothing was sent: there is what looks like an API key or a password in\n"
            + "\n".join(found[:SHOWN])
            + more
            + "\nrevoke it if it is one; then take the rows out (`cai rows show` tells their "
            "history) and run again"
        )


def has_secret(text: str) -> bool:
    """Whether a text has a key that this process knows of, one by its shape, or a password."""
    shaped = (
        not key.startswith("Bearer") or _LIKE_A_TOKEN.fullmatch(key) is not None
        for key in keys_in(text)
    )
    known = redacted(text) != text or _PASSWORD_IN_ADDRESS.search(text) is not None
    return known or any(shaped)


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    """The texts of a file, each with its place: lines from 1, or rows from 1."""
    if file.suffix in WEIGHTS or file.name in VOCABULARIES:
        return
    if file.suffix == ".parquet":
        number = 0
        with open_parquet(file) as opened:
            for batch in opened.iter_batches(ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", orjson.dumps(row).decode()
        return
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            yield f"line {number}", line
