"""How a recipe says replies are revised."""

from __future__ import annotations

from pydantic import Field

from cai.roles import SamplingSettings
from cai.validation import Entry


def last_round(revisions: str) -> int | None:
    """The last round whose revisions SFT learns; None for no such limit.

    Args:
        revisions: `datasets.revisions`: "all", "last", or "upto:N".
    """
    kind, _, number = revisions.partition(":")
    return int(number) if kind == "upto" else None


class RevisionChecks(Entry):
    """Which revisions are left out; each check has a reason of its own among the filtered rows."""

    unchanged: bool = Field(
        default=False,
        description="Leave out a revision that is the text before it again: right where there was "
        "nothing to mend, so by default it stays.",
    )
    unheeded: bool = Field(
        default=False,
        description="Leave out such a revision if the critique calls that text harmful; critiques "
        "often overstate (Bai et al. 2022, §3.5), so by default it stays.",
    )
    preamble: bool | None = Field(
        default=None,
        description='Leave out a revision that begins with words like "Here is the revised", or '
        "says that there is nothing to revise; by default if there are patterns of wording for the "
        "constitution's language.",
    )
    worse: bool = Field(
        default=False,
        description="Ask the judge, and leave out a revision that it likes less than the text "
        "before: two calls more for each.",
    )


class RevisionSettings(Entry):
    """The critique → revision stage (Bai et al. 2022, §3.1)."""

    rounds: int = Field(default=4, ge=1, description="Rounds, each under a fresh principle.")
    critique: bool = Field(default=True, description="Off: revise without a critique (§3.5).")
    sampling: SamplingSettings = SamplingSettings()
    checks: RevisionChecks = RevisionChecks()
