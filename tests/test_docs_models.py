"""docs/models.md names every option and every role that there is."""

import re
from pathlib import Path

from cai.models import ModelSettings

TEXT = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")


def test_every_option_of_a_model_is_named():
    named = set(re.findall(r"`(\w+)`", TEXT))

    assert ModelSettings.model_fields.keys() - {"name"} <= named


def test_every_role_is_named():
    named = set(re.findall(r"`(\w+)`", TEXT.partition("## Roles")[2].partition("## ")[0]))

    assert {"base", "assistant", "critic", "reviser", "judge", "fallback"} <= named
