"""Read a data set from the hub, streamed, through the library `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cai.errors import Fault, InputError
from cai.sources.files import value_of
from cai.untyped import untyped


def read_hub(name: str, split: str, column: str | None) -> Iterator[tuple[int, Any]]:
    """Stream (row number from 1, value of the prompt column) of a data set on the hub.

    Raises:
        InputError: it cannot be reached or opened, or has no such column.
    """
    datasets = untyped("datasets")
    try:
        rows = datasets.load_dataset(name, split=split, streaming=True)
    except (ConnectionError, OSError, ValueError) as error:  # DatasetNotFoundError is an OSError
        raise InputError(name, [Fault(f"cannot be read from the hub: {error}")]) from error
    for number, row in enumerate(rows, 1):
        yield number, value_of(name, number, row, column)
