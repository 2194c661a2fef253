"""The page on training names every preset."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.presets import PREFERENCE_MODEL, PREFERENCE_PRETRAINING, SFT

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted({*SFT, *PREFERENCE_MODEL, *PREFERENCE_PRETRAINING}))
def test_every_preset_is_named(name: str):
    assert f"`{name}`" in PAGE
