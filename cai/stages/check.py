"""What is wrong with a revision that no reader of the data should learn from."""

from __future__ import annotations

from dataclasses import dataclass

from cai.records import Comparison, Revision
from cai.wording import Wording


@dataclass(frozen=True)
class Checks:
    """Which faults of a revision are looked for.

    Args:
        unchanged: it is the text before it again.
        unheeded: it is, although the critique calls that text harmful.
        preamble: it begins by speaking of itself, or of the text that it should revise.
        wording: how critiques and preambles are worded; None if neither is looked for.
    """

    unchanged: bool
    unheeded: bool
    preamble: bool
    wording: Wording | None


def fault_of(revision: Revision, before: str, checks: Checks) -> str | None:
    """Why a revision is left out; None if it is not.

    Args:
        revision: looked at.
        before: the text that it revises.
        checks: what is looked for.
    """
    same = revision.text.strip() == before.strip()
    if same and checks.unchanged:
        return "the revision is the text before it, unchanged"
    if checks.wording is None:
        return None
    critique = revision.critique
    if same and checks.unheeded and critique and checks.wording.finds_fault(critique):
        return "the critique calls the text harmful, and the revision is that text again"
    if checks.preamble and checks.wording.has_preamble(revision.text):
        return "the revision begins with words about itself, or says that nothing needs revising"
    return None


def verdict_against(label: Comparison) -> str | None:
    """Why a judge's label leaves a revision out; None if it does not.

    Args:
        label: of the revision, as a, and the text before it, as b.
    """
    if label.p_a >= 0.5:
        return None
    return f"the judge likes the text before it more: P(the revision is better) is {label.p_a:.3f}"
