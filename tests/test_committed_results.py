"""Figures that a page tells are those of the results that are committed."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def told(figure: dict[str, float]) -> str:
    """As the pages write a figure with its interval."""
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


@pytest.mark.parametrize("name", ["distance", "probe", "caught", "caught_by_probe"])
def test_the_page_on_outliers_tells_what_was_measured(name: str):
    found = json.loads((ROOT / "examples/results/outliers.json").read_text())
    page = (ROOT / "docs/outliers.md").read_text()

    over = found["over_draws"][name]
    spread = f"{over['mean']:.3f} ({over['lowest']:.3f} to {over['highest']:.3f})"
    assert f"{told(found[name])} | {found[name]['n']:,} | {spread} |" in page
    assert f"fitted on {found['fitted']}, tried on {found['tried']} ordinary prompts" in page
    assert f"mean of {over['draws']} draws" in page
    assert found["date"] in page
    assert found["command"].removesuffix(" --json") in page


@pytest.mark.parametrize("name", ["length", "words", "encoder"])
def test_the_page_on_preference_models_tells_what_was_measured(name: str):
    found = json.loads((ROOT / "examples/results/real_pm.json").read_text())
    page = (ROOT / "docs/preference-models.md").read_text()

    assert f"({found['pairs']['train']:,} pairs to learn from" in page
    assert found["date"] in page
    accuracy = found["accuracy"][name]
    assert f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in page
    for pair, apart in found["difference"].items():
        if pair.startswith(f"{name} less"):
            interval = f"{apart['value']:.3f} [{apart['low']:.3f}, {apart['high']:.3f}]"
            assert f"{interval}, {apart['said']}".replace("-", "−") in page
