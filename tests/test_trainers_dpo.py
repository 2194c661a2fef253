"""DPO on a tiny model: it meets soft labels, is TRL's own at sure ones, and its settings matter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from cai.errors import InputError
from tests.trainers_support import HARSH, KIND, SHORT, assistant, log, same_weights, user, write
from trainers.dpo import train_dpo
from trainers.environment import prepare_environment
from trainers.settings import DpoSettings

ROWS = [
    {
        "prompt": [user(f"Question {n}")],
        "chosen": [assistant(f"{KIND} {n}")],
        "rejected": [assistant(HARSH)],
    }
    for n in range(8)
]


def with_labels(p: float) -> list[dict[str, Any]]:
    return [{**row, "p_chosen": p} for row in ROWS]


def test_the_policy_meets_the_soft_label(tiny_model: Path, pairs: Path, tmp_path: Path):
    settings = DpoSettings(epochs=12, batch_size=16, learning_rate=3e-3)

    train_dpo(str(tiny_model), pairs, tmp_path / "out", settings, inputs="a")

    margins = [entry["margin"] for entry in log(tmp_path / "out")]
    p = torch.tensor(margins).sigmoid()
    assert p[0].item() == pytest.approx(0.5, abs=1e-4)
    assert p[-4:].mean().item() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("p", "loss", "of_trl"),
    [
        (1.0, "dpo", {"loss_type": ["sigmoid"]}),
        (1.0, "ipo", {"loss_type": ["ipo"]}),
        # On a single pair, whose order changes nothing, TRL's AOT is conservative DPO.
        (0.7, "dpo", {"loss_type": ["aot"], "label_smoothing": 0.3}),
    ],
    ids=["DPO at p = 1", "IPO at p = 1", "conservative DPO at constant p"],
)
def test_the_trained_weights_are_those_of_the_trainer_of_trl(
    tiny_model: Path, tmp_path: Path, p: float, loss: Any, of_trl: dict[str, Any]
):
    data = write(tmp_path / "data", with_labels(p))
    settings = DpoSettings(batch_size=1, max_steps=4, loss=loss, warmup=0, learning_rate=1e-3)
    theirs = trained_by_trl(str(tiny_model), tmp_path / "theirs", of_trl)

    train_dpo(str(tiny_model), data, tmp_path / "ours", settings, inputs="a")

    ours = load_file(tmp_path / "ours" / "model.safetensors")
    before = load_file(tiny_model / "model.safetensors")
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-5) for name in ours)
    assert not all(torch.allclose(ours[name], before[name], atol=2e-3) for name in ours)


def trained_by_trl(base: str, out: Path, of_trl: dict[str, Any]) -> dict[str, torch.Tensor]:
    prepare_environment()
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = DPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=1,
        max_steps=4,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        seed=0,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
        dataloader_pin_memory=False,
        logging_steps=1,
        **of_trl,
    )
    trainer = DPOTrainer(base, args=config, train_dataset=Dataset.from_list(ROWS))
    trainer.train()
    assert trainer.model is not None
    return {name: value.detach().cpu() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        [{"prompt": f"Question {n}", "chosen": f"{KIND} {n}", "rejected": HARSH} for n in range(8)],
        [{**row, "chosen": row["prompt"] + row["chosen"]} for row in ROWS],
    ],
    ids=["turns", "plain texts", "the prompt repeated in the reply"],
)
def test_json_lines_of_another_tool_give_the_same_model(
    tiny_model: Path, tmp_path: Path, rows: Sequence[Any]
):
    own = write(tmp_path / "own", with_labels(1.0))
    train_dpo(str(tiny_model), own, tmp_path / "one", DpoSettings(**SHORT), inputs="a")
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    train_dpo(str(tiny_model), other, tmp_path / "two", DpoSettings(**SHORT), inputs="a")

    assert same_weights(tmp_path / "one", tmp_path / "two")


def test_a_wrong_column_is_told_before_any_model_loads(tmp_path: Path):
    data = write(tmp_path / "data", [{"question": "Why?", "chosen": "a", "rejected": "b"}])

    with pytest.raises(InputError, match="has no column 'prompt'; it has question, chosen"):
        train_dpo("no such model", data, tmp_path / "out", DpoSettings(), inputs="a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_chosen": 1.5}, r"p_chosen must be a probability, from 0 to 1; met 1\.5"),
        ({"p_chosen": None}, "p_chosen must be a probability"),
        ({"chosen": [user("Why?")]}, "chosen must end with a turn of the assistant"),
        (
            {"chosen": [assistant("a"), user("b"), assistant("c")]},
            "chosen and rejected must be one reply each",
        ),
    ],
    ids=["no probability", "no label", "no reply", "several turns"],
)
def test_a_bad_pair_is_named_by_its_row(
    tiny_model: Path, tmp_path: Path, change: dict[str, Any], message: str
):
    data = write(tmp_path / "data", [*with_labels(0.8), {**ROWS[0], "p_chosen": 0.8, **change}])

    with pytest.raises(InputError, match=f"row 9: {message}"):
        train_dpo(str(tiny_model), data, tmp_path / "out", DpoSettings(), inputs="a")


def test_pairs_over_the_length_are_left_out_and_counted(tiny_model: Path, tmp_path: Path):
    long = {**ROWS[0], "rejected": [assistant("a long reply " * 30)]}
    data = write(tmp_path / "data", [*ROWS, long])
    settings = DpoSettings(**SHORT, max_length=60)

    result = train_dpo(str(tiny_model), data, tmp_path / "out", settings, inputs="a")

    assert (result.rows, result.dropped) == (8, {"a side is longer than max_length": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-3},
        {"seed": 1},
        {"epochs": 0.25},
        {"batch_size": 16},
        {"beta": 1.0},
        {"loss": "ipo"},
    ],
    ids=str,
)
def test_every_setting_of_dpo_changes_the_weights(
    tiny_model: Path, pairs: Path, tmp_path: Path, change: dict[str, Any]
):
    base, settings = str(tiny_model), {"batch_size": 8, "epochs": 0.5}
    train_dpo(base, pairs, tmp_path / "one", DpoSettings(**settings), inputs="a")

    two = DpoSettings(**{**settings, **change})
    train_dpo(base, pairs, tmp_path / "two", two, inputs="a")

    assert not same_weights(tmp_path / "one", tmp_path / "two")
