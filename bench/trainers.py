"""Our SFT and preference model beside plain TRL calls: ``python -m bench.trainers``.

Both learn from the same rows of uneven length, on the microworld model, for one epoch; timed is
``Trainer.train`` alone, in seconds of the processor, so that other work on the machine does not
count. The contestants take turns, and of each figure the median of the rounds is kept. Tokens are
those of the texts, padding not counted: both texts of a pair in full, though their prompt may be
read once. Run it with OMP_NUM_THREADS=1: threads that wait are counted too.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from cai.microworld import MODEL, sample_pairs

RESULTS = Path(__file__).with_name("trainers.json")
BATCH = 16
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Work:
    """One training, done by us and by TRL.

    Args:
        rows: what is learned from.
        tokens: of all its texts.
        ours: trains on a file of the rows.
        plain: trains on the rows by TRL's own trainer.
    """

    rows: Sequence[Row]
    tokens: int
    ours: Callable[[Path, Path], None]
    plain: Callable[[Sequence[Row], Path], None]


def pairs_of(rows: int, turns: int, seed: int = 0) -> list[Row]:
    """Pairs whose prompts have up to so many turns of the user, and replies of uneven length."""
    draw = random.Random(seed)
    drawn = list(sample_pairs("harmful", "train", 4 * rows, seed=seed))

    def reply(side: int) -> str:
        parts = 1 + min(7, int(draw.expovariate(0.6)))
        return " ".join(draw.choice(drawn)[side] for _ in range(parts))

    def prompt() -> list[dict[str, str]]:
        exchanges = draw.randrange(turns)
        said = [turn for _ in range(exchanges) for turn in (draw.choice(drawn)[0], reply(1))]
        asked = [*said, draw.choice(drawn)[0]]
        roles = ("user", "assistant")
        return [{"role": roles[at % 2], "content": text} for at, text in enumerate(asked)]

    def answer(side: int) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": reply(side)}]

    return [{"prompt": prompt(), "chosen": answer(1), "rejected": answer(2)} for _ in range(rows)]


def works(rows: int) -> dict[str, Work]:
    """All trainings, by name."""
    from trainers.settings import PreferenceModelSettings, SftSettings

    one_turn, dialogue = pairs_of(rows, 1), pairs_of(rows, 5)
    talks = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in dialogue]
    pm = PreferenceModelSettings(batch_size=BATCH, max_length=8192)
    sft = SftSettings(batch_size=BATCH, max_length=8192)
    grouped = SftSettings(batch_size=BATCH, max_length=8192, group_by_length=True)
    full = SftSettings(batch_size=BATCH // 4, max_length=1024, packing=True)
    sides, last = ("chosen", "rejected"), ("completion",)
    return {
        "PM, one turn": Work(one_turn, _tokens(one_turn, sides), _our_pm(pm), _plain_pm),
        "PM, dialogue": Work(dialogue, _tokens(dialogue, sides), _our_pm(pm), _plain_pm),
        "SFT": Work(talks, _tokens(talks, last), _our_sft(sft), _plain_sft),
        "SFT, by length": Work(talks, _tokens(talks, last), _our_sft(grouped), _plain_sft),
        "SFT, packed": Work(talks, _tokens(talks, last), _our_sft(full), _plain_sft),
    }


def measure(rounds: int, rows: int, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Figures by training: tokens per second of the processor, ours and TRL's, and their ratio.

    Args:
        rounds: how often each takes its turn.
        rows: of each training.
        names: which trainings; all if there is none.
    """
    return {
        name: _measure(work, rounds)
        for name, work in works(rows).items()
        if not names or name in names
    }


def _measure(work: Work, rounds: int) -> dict[str, Any]:
    ours: list[float] = []
    plain: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            data, out = Path(folder) / "rows.jsonl", Path(folder) / "out"
            data.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in work.rows))
            ours.append(_seconds(lambda data=data, out=out: work.ours(data, out)))
            plain.append(_seconds(lambda out=out: work.plain(work.rows, out / "trl")))
    return {
        "rows": len(work.rows),
        "tokens": work.tokens,
        "ours_tokens_per_s": work.tokens / statistics.median(ours),
        "trl_tokens_per_s": work.tokens / statistics.median(plain),
        "ratio": statistics.median(b / a for a, b in zip(ours, plain, strict=True)),
        "ratios": [b / a for a, b in zip(ours, plain, strict=True)],
    }


def _seconds(train: Callable[[], None]) -> float:
    """Seconds spent in ``Trainer.train``, to which all of these trainings come."""
    from transformers import Trainer

    own, spent = Trainer.train, 0.0

    def timed(self: Trainer, *arguments: Any, **options: Any) -> Any:
        nonlocal spent
        began = time.process_time()
        try:
            return own(self, *arguments, **options)
        finally:
            spent = time.process_time() - began

    Trainer.train = timed
    try:
        train()
    finally:
        Trainer.train = own
    return spent


def _our_pm(settings: Any) -> Callable[[Path, Path], None]:
    from trainers.preference_model import train_preference_model

    return lambda data, out: _ignore(
        train_preference_model(str(MODEL), data, out, settings, inputs="bench")
    )


def _our_sft(settings: Any) -> Callable[[Path, Path], None]:
    from trainers.sft import train_sft

    def train(data: Path, out: Path) -> None:
        rows = [orjson.loads(line) for line in data.read_bytes().splitlines()]
        lines = [orjson.dumps({"messages": row["prompt"] + row["completion"]}) for row in rows]
        data.write_bytes(b"\n".join(lines))
        train_sft(str(MODEL), data, out, settings, inputs="bench")

    return train


def _plain_pm(rows: Sequence[Row], out: Path) -> None:
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    config = RewardConfig(**_arguments(out), max_length=None)
    RewardTrainer(str(MODEL), args=config, train_dataset=_dataset(rows)).train()


def _plain_sft(rows: Sequence[Row], out: Path) -> None:
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    config = SFTConfig(**_arguments(out), max_length=8192)
    SFTTrainer(str(MODEL), args=config, train_dataset=_dataset(rows)).train()


def _arguments(out: Path) -> dict[str, Any]:
    """As ours: one epoch, constant rate, 32-bit, no checkpointing of activations."""
    return {
        "output_dir": str(out),
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "bf16": False,
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "seed": 0,
    }


def _dataset(rows: Sequence[Row]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([dict(row) for row in rows])


def _tokens(rows: Sequence[Row], replies: Sequence[str]) -> int:
    from trainers.tokens import conversation_ids, load_tokenizer

    tokenizer = load_tokenizer(str(MODEL))
    return sum(
        len(conversation_ids(tokenizer, [*row["prompt"], *row[reply]]))
        for row in rows
        for reply in replies
    )


def _ignore(_: object) -> None:
    """Leave a result unused."""


def _table(found: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ("training", "rows", "tokens", "ours, tokens/CPU s", "TRL, tokens/CPU s", "ours : TRL")
    lines = [heads, ("---", *["---:"] * 5)]
    for name, one in found.items():
        speeds = (f"{one[f'{who}_tokens_per_s']:,.0f}" for who in ("ours", "trl"))
        lines.append(
            (name, f"{one['rows']:,}", f"{one['tokens']:,}", *speeds, f"{one['ratio']:.2f}")
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine(rounds: int) -> dict[str, Any]:
    """What the figures were measured on and with; nothing that names the machine."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
        "rounds": rounds,
    }


def main() -> None:
    """Measure, print the table and write ``bench/trainers.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--only", action="append", default=[], metavar="TRAINING")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    from trainers.environment import prepare_environment

    prepare_environment()
    found = measure(asked.rounds, asked.rows, asked.only)
    sys.stdout.write(_table(found))
    record = {"machine": _machine(asked.rounds), "found": found}
    asked.out.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
