"""What the cards of a run say that no run can know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from cai.constitution.values import Text
from cai.validation import Entry, written_as

LicenseName = Annotated[
    str, written_as(r"[a-z0-9][a-z0-9.-]*", "write it as the hub does, such as apache-2.0 or other")
]
"""As the hub writes licenses: ``apache-2.0``, ``cc-by-4.0``, ``other``."""


class PublicationSettings(Entry):
    """License and citation, for those who publish; nothing here changes what a run makes."""

    license: LicenseName | None = Field(
        default=None,
        description="Of the data sets, and of the models unless their base says otherwise, as the "
        "hub writes it: apache-2.0, cc-by-4.0 … `cai push` wants one.",
    )
    sources: Mapping[str, LicenseName] = Field(
        default_factory=dict[str, str],
        description="License of each source of prompts and pairs, by its name in the cards: that "
        "of the file or of the data set on the hub.",
    )
    citation: Text | None = Field(
        default=None, description="How to cite the work, such as a BibTeX entry; for the cards."
    )
