"""Fixtures that several test modules share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.processes import running

# How long an example takes tells of the machine. Where a change is judged, each test draws the
# same examples every time, so that none is refused for a rare one that it did not bring about.
settings.register_profile(
    "cai",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CAI_SAME_EXAMPLES")),
)
settings.load_profile("cai")

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

SENTENCES = (
    "Ask me how to bake the bread, and I will tell you how to bake the bread.",
    "I cannot help with that, because it could hurt people.",
    "Answer with A or B alone. The kind reply is A; the other reply is B.",
    "The weather is fine, the house is small, and the garden is green.",
)


@pytest.fixture(autouse=True)
def no_earlier_findings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What one test finds out of a server at an address is no news of the next one's there."""
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of 60,000 parameters and a byte-level ChatML tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-model")
    build_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a random Qwen2 of 40,000 parameters."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = tiny_tokenizer(512)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random LoRA adapter of the microworld model."""
    from cai.models.weights import MICROWORLD
    from tests.adapters import make_adapter

    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    make_adapter(MICROWORLD, folder)
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of Parquet with 64 pairs, whose kind reply is the better one with p = 0.8."""
    from tests.trainers_support import HARSH, KIND, assistant, user, write

    rows = [
        {
            "prompt": [user(f"Question {n}")],
            "chosen": [assistant(KIND)],
            "rejected": [assistant(HARSH)],
            "p_chosen": 0.8,
        }
        for n in range(64)
    ]
    return write(tmp_path_factory.mktemp("pairs") / "train", rows)


@pytest.fixture(scope="session")
def preference_model(
    tiny_model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A preference model that has learned these pairs."""
    from trainers.preference_model import train_preference_model
    from trainers.settings import PreferenceModelSettings

    out = tmp_path_factory.mktemp("pm") / "pm"
    settings = PreferenceModelSettings(epochs=12, batch_size=16, learning_rate=3e-3)
    train_preference_model(str(tiny_model), pairs, out, settings, inputs="shared")
    return out


@pytest.fixture(scope="session")
def refuses_even(preference_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It, with a template that takes no reply of an even number of letters, and so no blank one."""
    folder = shutil.copytree(preference_model, tmp_path_factory.mktemp("even") / "pm")
    even = "{% if messages[-1].role == 'assistant' and messages[-1].content | length % 2 == 0 %}"
    refusal = "{{ raise_exception('even') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(even + refusal + CHATML)
    return folder


def build_tiny_model(folder: Path, seed: int = 0, positions: int = 512) -> None:
    """Write model and tokenizer as a user's own folder would hold them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(positions)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


SERVED = """
name: served
constitution: harmlessness
models:
  default: {{name: "openai:fake", endpoint: "{address}/v1"}}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
  helpful: [{{file: helpful.txt, kind: harmless}}]
comparisons: {{responder: assistant}}
engine: {{in_flight: 8}}
"""

RUN_CAI = """
import signal
# A shell that starts jobs in the background has them ignore Ctrl-C, and they pass that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
from cai.cli import main
main()
"""


@dataclass(frozen=True)
class Served:
    """A recipe whose models answer by the request alone, from a process of their own."""

    recipe: Path
    address: str

    def cai(self, *arguments: object, before: str = "") -> list[str]:
        """The command line ``cai ARGUMENTS``, with Python to be run before it."""
        return [sys.executable, "-c", before + RUN_CAI, *map(str, arguments)]

    def generate(self, run: Path, *more: object, before: str = "") -> list[str]:
        """The command that writes both data sets into a run folder."""
        whole = ("run", self.recipe, "--until", "preferences", "--shard", "1/1", "--run", run)
        return self.cai(*whole, *more, before=before)

    def answers(self) -> int:
        """How many requests were answered so far."""
        return self._read("count")["answers"]

    def asked(self) -> list[tuple[str, str, int]]:
        """Who asked what how often; who is told apart by the API key."""
        return [(who, request, times) for who, request, times in self._read("asked")]

    def _read(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.address}/{what}") as reply:
            return json.load(reply)


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A recipe of 60 prompts, and a server that answers after 5 ms or the seconds asked for."""
    seconds = str(getattr(request, "param", 0.005))
    folder = tmp_path_factory.mktemp("served")
    script = Path(__file__).with_name("deterministic_server.py")
    with running([sys.executable, script, seconds], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        recipe = folder / "recipe.yaml"
        recipe.write_text(SERVED.format(address=address))
        questions = (f"How do I break window {number}?\n" for number in range(60))
        (folder / "prompts.txt").write_text("".join(questions))
        (folder / "helpful.txt").write_text("How do I bake bread?\nHow do I plant a tree?\n")
        yield Served(recipe, address)


def tiny_tokenizer(positions: int) -> Any:
    """A byte-level tokenizer of a few hundred tokens, with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|pad|>", "<|im_end|>", "<|im_start|>"],
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=positions,
        chat_template=CHATML,
    )
