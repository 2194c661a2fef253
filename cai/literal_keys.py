"""API keys that stand in a file are refused: a recipe is copied into its run folder, and shared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from cai.document import Document, Place
from cai.errors import Fault, InputError
from cai.redaction import keys_in, note_secret

FIX = (
    "looks like an API key, and a recipe is copied into its run folder: take it out, export it, "
    "and name the variable with api_key_env, or keep it in a keyring (api_key_keyring); if others "
    "may have read this file, have the provider replace the key"
)


def refuse_keys(document: Document) -> None:
    """Look at every text of a file.

    Raises:
        InputError: some look like API keys; they are named by their places, and not shown.
    """
    faults: list[Fault] = []
    for place, text in _texts(document.data, ()):
        for key in keys_in(text):
            note_secret(key)
            faults.append(document.fault(FIX, place))
    if faults:
        raise InputError(document.path, list(dict.fromkeys(faults)))


def note_keys(texts: Iterable[str]) -> None:
    """Keep the keys in texts out of the messages that may quote them."""
    for text in texts:
        for key in keys_in(text):
            note_secret(key)


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, part in cast("Mapping[str, Any]", value).items():
            yield from _texts(part, (*place, name))
    elif isinstance(value, Sequence):
        for number, part in enumerate(cast("Sequence[Any]", value)):
            yield from _texts(part, (*place, number))
