"""Read the log of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cai.errors import Fault, InputError
from cai.report.data import TrainingStep


def read_training_log(path: Path) -> list[TrainingStep]:
    """Steps of a training by number; a step logged twice (after a resumption) keeps its last.

    Args:
        path: one JSON object a line; a log that is not there has no steps.

    Raises:
        InputError: a line is no JSON object with a number `step`; every such line is listed.
    """
    if not path.is_file():
        return []
    steps: dict[float, TrainingStep] = {}
    faults: list[Fault] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            logged = json.loads(line)
            step = float(logged["step"])
        except (ValueError, TypeError, KeyError):
            fix = "delete the line, or the folder to train again"
            told = line[:60].decode(errors="replace")
            faults.append(Fault(f"is no log entry with a step: {told!r}; {fix}", "", number))
            continue
        steps[step] = TrainingStep(step, _numbers(logged))
    if faults:
        raise InputError(path, faults)
    return [steps[step] for step in sorted(steps)]


def _numbers(logged: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: one for name, one in logged.items() if isinstance(one, int | float)}
    found = cast("dict[str, float]", numbers)
    return {name: float(one) for name, one in found.items() if math.isfinite(one)}
