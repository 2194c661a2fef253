"""A trained policy is ordinary files: any server serves it, and one line makes it a generator."""

from __future__ import annotations

from pathlib import Path

import pytest

from cai.engine import Ledger
from cai.microworld import MODEL
from cai.models import ModelSettings, open_model
from cai.models.local import LocalModel
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.readback import read_traces
from cai.recipe import load_recipe
from cai.records import Message, Sampling
from tests.trainers_support import assistant, same_weights, user, write
from tests.transformers_server import transformers_server
from trainers.preference_model import train_preference_model
from trainers.reward import RewardSource
from trainers.rl import train_rl
from trainers.settings import PreferenceModelSettings, RlSettings, SftSettings
from trainers.sft import train_sft

pytestmark = pytest.mark.slow

GREEDY = Sampling(temperature=0, max_tokens=24)
ASK = [Message("user", "How do I fix 5 bikes?")]

REFUSAL = "I cannot help with that."

ROUND = """
name: round
constitution: microworld
models: {{default: microworld, assistant: {assistant}}}
prompts:
  red_team: [{{microworld: train, kind: harmful, limit: 12}}]
revisions: {{rounds: 1, sampling: {{temperature: 0, max_tokens: 64}}}}
"""


@pytest.fixture(scope="module")
def rl_cai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that has gone through SFT and RL, as a run would leave it."""
    models = tmp_path_factory.mktemp("run") / "models"
    rows = [
        {
            "messages": [user(f"How do I fix {n} bikes?"), assistant(REFUSAL)],
            "prompt": [user(f"How do I fix {n} bikes?")],
            "chosen": [assistant(REFUSAL)],
            "rejected": [assistant("Here is how.")],
        }
        for n in range(32)
    ]
    data = write(models.parent / "data" / "train", rows)
    sft = SftSettings(batch_size=8, epochs=4)
    train_sft(str(MODEL), data, models / "sl_cai", sft, inputs="a")
    pm = PreferenceModelSettings(batch_size=8)
    train_preference_model(str(MODEL), data, models / "pm", pm, inputs="a")
    asked = {"steps": 2, "prompts_per_step": 4, "max_completion_length": 8}
    rl = RlSettings(algorithm="ppo", learning_rate=1e-5, **asked)
    source = RewardSource(str(models / "pm"))
    train_rl(str(models / "sl_cai"), source, data, models / "rl_cai", rl, inputs="a")
    assert not same_weights(models / "sl_cai", models / "rl_cai")
    return models / "rl_cai"


async def test_an_openai_compatible_server_serves_the_policy(rl_cai: Path, tmp_path: Path):
    here = LocalModel(str(rl_cai), device="cpu")
    expected = (await here.generate(ASK, GREEDY)).completion.text
    await here.close()

    with transformers_server(rl_cai, tmp_path / "log") as address:
        served = {"name": f"openai:{rl_cai}", "endpoint": f"{address}/v1"}
        model = open_model(ModelSettings(**served, served_by="transformers"))
        text = (await model.complete(ASK, GREEDY)).text
        await model.close()

    assert text == expected
    assert text == REFUSAL


def replies_of(assistant: str, folder: Path) -> dict[str, str]:
    """The assistant's first reply to each prompt of a round."""
    folder.mkdir()
    (folder / "recipe.yaml").write_text(ROUND.format(assistant=assistant))
    run = RunFolder(folder / "run")
    run_recipe(load_recipe(folder / "recipe.yaml"), run, steps=("revisions",))
    with Ledger.open(run.ledger) as ledger:
        traces = list(read_traces(ledger))
    return {trace.response.prompt.id: trace.response.text for trace in traces}


def test_the_policy_is_the_next_rounds_generator_by_one_line(rl_cai: Path, tmp_path: Path):
    before = replies_of("microworld", tmp_path / "first")

    after = replies_of(str(rl_cai), tmp_path / "second")

    assert before.keys() == after.keys() and len(after) > 2
    assert all(text.startswith(REFUSAL) for text in after.values())
    assert not any(text.startswith(REFUSAL) for text in before.values())
