"""What other harnesses are given; run by `make test-harness`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.models.weights import MICROWORLD
from tests.trainers_support import SHORT, assistant, user, write


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy as a run leaves it: the microworld's model after a few steps of SFT."""
    from trainers.settings import SftSettings
    from trainers.sft import train_sft

    folder = tmp_path_factory.mktemp("run")
    rows = [
        {"messages": [user("How do I bake bread?"), assistant("Mix flour and water.")]}
        for _ in range(24)
    ]
    out = folder / "models" / "rl_cai"
    settings = SftSettings(**SHORT, learning_rate=1e-6)
    train_sft(str(MICROWORLD), write(folder / "sft" / "train", rows), out, settings, inputs="a")
    return out
