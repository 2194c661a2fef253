"""RewardBench's own runner on an exported preference model: it says what our scorer says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cai.export.reward_bench import write_for_runner
from cai.export.run_export import export_run
from tests.conftest import tiny_tokenizer
from tests.trainers_support import HARSH, KIND, assistant, user, write

PYTHON = os.environ.get("REWARDBENCH_PYTHON")
CPU = Path(__file__).with_name("rewardbench_on_cpu.py")

pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="RewardBench's runner; `make test-harness` installs it"
)

PAIRS = [
    {
        "chosen": [user(f"Question {n}, and {'more ' * n}?"), assistant(KIND)],
        "rejected": [user(f"Question {n}, and {'more ' * n}?"), assistant(HARSH * (n + 1))],
    }
    for n in range(6)
]


def run(place: Path, model: str, *arguments: str) -> dict[str, Any]:
    """The runner's figures, and its scores as ``scores``."""
    assert PYTHON is not None
    command = [PYTHON, str(CPU), f"--model={model}", *arguments]
    command += ["--not_quantized", "--torch_dtype=float32"]
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "home")}
    settings |= {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
    subprocess.run(command, cwd=place, env=settings, check=True)
    results = place / "results"
    lines = (results / f"{model}_outputs.jsonl").read_text().splitlines()
    figures = json.loads((results / f"{model}.json").read_text())
    return {**figures, "scores": [json.loads(line) for line in lines]}


def our_scores(model: Path, side: str) -> list[float]:
    from trainers.scoring import score

    return score(model, [pair[side] for pair in PAIRS])


def write_model(folder: Path, model_type: str, rope: dict[str, Any]) -> Path:
    """A random preference model of a family, as transformers writes it now."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    tokenizer = tiny_tokenizer(512)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        num_labels=1,
        rope_parameters=rope,
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def write_adapter(folder: Path, base: Path) -> Path:
    """A preference model that is an adapter, as `cai train pm` writes it with ``merge: false``."""
    from trainers.preference_model import train_preference_model
    from trainers.settings import LoraSettings, PreferenceModelSettings

    rows = [
        {
            "prompt": pair["chosen"][:1],
            "chosen": pair["chosen"][1:],
            "rejected": pair["rejected"][1:],
            "p_chosen": 0.8,
        }
        for pair in PAIRS
    ]
    learned = LoraSettings(rank=4, merge=False)
    settings = PreferenceModelSettings(batch_size=2, max_steps=4, learning_rate=1e-2, lora=learned)
    data = write(folder / "data", rows)
    train_preference_model(str(base), data, folder / "pm", settings, inputs="a")
    return folder / "pm"


LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "qwen2": ("qwen2", {"rope_type": "default", "rope_theta": 1000000.0}),
    "llama-3": ("llama", LLAMA_3),
}


@pytest.mark.parametrize("family", [*FAMILIES, "adapter"])
def test_the_runner_scores_every_reply_as_we_do(family: str, tiny_model: Path, tmp_path: Path):
    if family == "adapter":
        model = write_adapter(tmp_path / "trained", tiny_model)
    else:
        model = write_model(tmp_path / "trained", *FAMILIES[family])
    write_for_runner(model, tmp_path / "pm")
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))

    found = run(tmp_path, "pm", "--dataset=pairs.jsonl", "--load_json")

    for side in ("chosen", "rejected"):
        told = [row[f"scores_{side}"] for row in found["scores"]]
        assert told == pytest.approx(our_scores(model, side), abs=1e-4)
        assert len(set(told)) == len(told)


def test_an_exported_run_is_measured_on_its_own_pairs(
    preference_model: Path, pairs: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    shutil.copytree(preference_model, folder / "models" / "pm")
    shutil.copytree(pairs, folder / "datasets" / "preferences" / "test")
    (folder / "ledger.sqlite").touch()
    export_run(folder, tmp_path / "out", "rewardbench", minimum_margin=0, file_type="jsonl")

    found = run(tmp_path, "out/pm", "--dataset=out/preferences/test.jsonl", "--load_json")

    assert found["num_prompts"] == 64
    assert found["accuracy"] == 1.0


def test_the_benchmark_itself_gives_its_sections(preference_model: Path, tmp_path: Path):
    data = tmp_path / "allenai" / "reward-bench"
    data.mkdir(parents=True)
    (data / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n"
        "  data_files: [{split: filtered, path: filtered.jsonl}]\n---\n"
    )
    subsets = ["refusals-dangerous", "xstest-should-refuse", "alpacaeval-easy"]
    rows = [
        {"prompt": f"Question {n}", "chosen": KIND, "rejected": HARSH, "subset": subset, "id": n}
        for n, subset in enumerate(subsets)
    ]
    (data / "filtered.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_for_runner(preference_model, tmp_path / "pm")

    found = run(tmp_path, "pm")

    assert found["extra_results"] == dict.fromkeys(subsets, 1.0)
