"""Read a data set from the hub, streamed, through the library `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from cai.errors import Fault, InputError
from cai.sources.files import value_of


def read_hub(name: str, split: str, column: str | None) -> Iterator[tuple[int, Any]]:
    """Stream (row number from 1, value of the prompt column) of a data set on the hub.

    Raises:
        InputError: it cannot be reached or opened, or has no such column.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        rows = cast("Any", load_dataset(name, split=split, streaming=True))
    except (DatasetNotFoundError, ConnectionError, OSError, ValueError) as error:
        raise InputError(name, [Fault(f"cannot be read from the hub: {error}")]) from error
    for number, row in enumerate(rows, 1):
        yield number, value_of(name, number, row, column)
