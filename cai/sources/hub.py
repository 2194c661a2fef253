"""Data sets on the hub: named in a recipe, and read streamed through the library `datasets`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cai.errors import Fault, InputError
from cai.untyped import untyped


class HubSource(BaseModel):
    """Where rows of a prompt or pair set come from: a file, or a data set on the hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = Field(default=None, description="A file of rows.")
    dataset: str | None = Field(default=None, description="A data set on the hub, by name.")
    split: str = Field(default="train", description="Split of the hub data set.")
    data_dir: str | None = Field(default=None, description="Folder of the hub data set to read.")
    rows: int | None = Field(
        default=None,
        ge=1,
        description="How many it has, for a forecast made before it was downloaded or written.",
    )
    limit: int | None = Field(default=None, ge=1, description="Take at most so many.")

    @model_validator(mode="after")
    def _of_a_source(self) -> Self:
        if self.data_dir is not None and self.dataset is None:
            raise ValueError("data_dir is a folder of a data set on the hub; name it as dataset")
        if self.rows is not None and self.dataset is None and self.file is None:
            raise ValueError("rows is for a file or a data set on the hub; use limit")
        return self

    @property
    def short_name(self) -> str | None:
        """Name of the file or the data set, of a folder its last part; None if it is neither."""
        if self.file is not None:
            return self.file.name
        if self.dataset is None:
            return None
        folder = Path(self.dataset).expanduser()
        return folder.name if folder.is_absolute() or folder.is_dir() else self.dataset

    @property
    def is_at_hand(self) -> bool:
        """Whether it can be read without a download; the microworld always can."""
        if self.dataset is not None:
            return Path(self.dataset).is_dir()
        return self.file is None or self.file.is_file()


def read_hub(source: HubSource) -> Iterator[tuple[int, Any]]:
    """Stream (row number from 1, row) of a data set on the hub.

    Args:
        source: with a `dataset`.

    Raises:
        InputError: it cannot be reached or opened, or breaks off or is damaged further on.
    """
    assert source.dataset is not None, "asked for by a set that names one"
    datasets = untyped("datasets")
    try:
        rows = datasets.load_dataset(
            source.dataset, data_dir=source.data_dir, split=source.split, streaming=True
        )
        yield from enumerate(rows, 1)
    except _failures() as error:
        fault = Fault(f"cannot be read as a data set: {str(error) or type(error).__name__}")
        raise InputError(source.dataset, [fault]) from error


def _failures() -> tuple[type[Exception], ...]:
    """What libraries raise that fetch and decode rows; many of these are no OSError."""
    return (
        *(OSError, EOFError, ValueError, zlib.error),
        untyped("pyarrow").ArrowException,
        untyped("datasets.exceptions").DatasetsError,
        untyped("httpx2").HTTPError,
        untyped("aiohttp").ClientError,
    )
