"""The papers' settings under a name: what each sets, and where it is said.

A paper gives some learning rates as a share of its model's own pretraining rate. A preset that has
such a share needs `pretraining_learning_rate`, or a `learning_rate` that is given outright.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Settings of one paper.

    Args:
        source: paper and section.
        values: fields of the section; those that a recipe gives itself win.
        learning_rate_share: learning rate over that of the model's pretraining; None: it stands
            among the values.
        ours: those of the values that the paper says nothing of.
    """

    source: str
    values: Mapping[str, Any]
    learning_rate_share: float | None = None
    ours: frozenset[str] = frozenset()


_ADAFACTOR = {"optimizer": "adafactor", "learning_rate": 1e-5, "max_length": 1152, "warmup": 0.0}
_ONE_EPOCH = {"epochs": 1.0, "scheduler": "constant", "warmup": 0.0}
_SCHEDULE = frozenset({"scheduler", "warmup"})
"""CAI's SFT alone is said to have a constant rate; of preference models, only how high it is."""

SFT: Mapping[str, Preset] = {
    "cai": Preset(
        "Bai et al. (2022), §3.2",
        {**_ONE_EPOCH, "batch_size": 1024, "learned": "last_reply"},
        learning_rate_share=0.5,
    ),
    "rlaif": Preset("Lee et al. (2023), App. G", {**_ADAFACTOR, "batch_size": 128, "epochs": 1.0}),
}

PREFERENCE_MODEL: Mapping[str, Preset] = {
    "cai": Preset(
        "Bai et al. (2022), §4.2: as HH-RLHF",
        {**_ONE_EPOCH, "max_length": 1024},
        learning_rate_share=0.01,
        ours=_SCHEDULE,
    ),
    "hh_rlhf": Preset(
        "Bai et al. (2022b), A.2",
        {**_ONE_EPOCH, "max_length": 1024},
        learning_rate_share=0.01,
        ours=_SCHEDULE,
    ),
    "hh_rlhf_online": Preset(
        "Bai et al. (2022b), A.2 and §4.5",
        {**_ONE_EPOCH, "max_length": 2048},
        learning_rate_share=0.01,
        ours=_SCHEDULE,
    ),
    "rlaif_summaries": Preset(
        "Lee et al. (2023), App. G", {**_ADAFACTOR, "batch_size": 128, "epochs": 3.0}
    ),
    "rlaif_dialogue": Preset(
        "Lee et al. (2023), App. G", {**_ADAFACTOR, "batch_size": 32, "epochs": 3.0}
    ),
}

PREFERENCE_PRETRAINING: Mapping[str, Preset] = {
    "hh_rlhf": Preset(
        "Bai et al. (2022b), A.2",
        {**_ONE_EPOCH, "max_length": 1024},
        learning_rate_share=0.1,
        ours=_SCHEDULE,
    ),
}

DISTILLATION: Mapping[str, Preset] = {
    "hh_rlhf": Preset(
        "Bai et al. (2022b), A.1",
        {"epochs": 1.0, "scheduler": "linear", "warmup": 0.0, "batch_size": 32, "top_k": 50},
        learning_rate_share=0.05,
    ),
}


def with_preset(given: Mapping[str, Any], presets: Mapping[str, Preset]) -> dict[str, Any]:
    """A section's fields with those of the preset that it names, if it does.

    Args:
        given: the section as it was written; what stands there wins.
        presets: those of this section.

    Raises:
        ValueError: there is no such preset, or nothing to take its learning rate from.
    """
    name = given.get("preset")
    if name is None:
        return dict(given)
    if name not in presets:
        raise ValueError(f"preset must be one of {', '.join(presets)}; met {name!r}")
    preset = presets[name]
    values = {**preset.values, **given}
    if preset.learning_rate_share is None or "learning_rate" in given:
        return values
    pretraining = given.get("pretraining_learning_rate")
    if not isinstance(pretraining, int | float):
        raise ValueError(
            f"preset {name} has a learning rate of {preset.learning_rate_share} × that of the base "
            "model's pretraining; give that as pretraining_learning_rate, or give learning_rate"
        )
    return {**values, "learning_rate": preset.learning_rate_share * pretraining}


def told(presets: Mapping[str, Preset]) -> str:
    """What each preset sets, a paragraph each, for ``--help``."""
    return "\n\n".join(
        f"preset {name} ({preset.source}): {', '.join(_settings(preset))}"
        for name, preset in presets.items()
    )


def _settings(preset: Preset) -> list[str]:
    share = preset.learning_rate_share
    rate = [] if share is None else [f"learning_rate = {share} × pretraining_learning_rate"]
    ours = dict.fromkeys(preset.ours, " (ours)")
    return [
        *rate,
        *(f"{name} = {value}{ours.get(name, '')}" for name, value in preset.values.items()),
    ]
