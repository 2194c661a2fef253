"""What is said of training prompts that are among those something was measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = (
    "contamination: not known; no data sets of a run are known that what was measured learned from"
)

NOT_COMPARED = "not compared, as no data sets are known that they learned from:"
"""Said of models that lie in no run with data sets; their names follow."""


def contamination_lines(figures: Mapping[str, Any] | None) -> Iterator[str]:
    """One line, one for each set that shares anything, and one of what could not be compared.

    Args:
        figures: ``contamination`` of a `metrics.json`; None where there was nothing to compare.
    """
    if figures is None or not figures["training_prompts"]:
        yield UNKNOWN
        return
    same = f"{figures['words']} words in a row with one of {figures['training_prompts']}"
    counted = f"{figures['shared']} of {figures['evaluation_prompts']} evaluation prompts"
    whole = f"{figures['identical']} word for word"
    yield f"contamination: {counted} share {same} training prompts, {whole}"
    shared = {name: one for name, one in figures["by_set"].items() if one["shared"]}
    for name, one in shared.items() if len(figures["by_set"]) > 1 else ():
        told = f"{one['shared']} of {one['evaluation_prompts']}, {one['identical']} word for word"
        yield f"  {name}: {told}"
    if unknown := figures.get("unknown"):
        yield f"  {NOT_COMPARED} {', '.join(unknown)}"
