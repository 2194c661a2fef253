"""axolotl and OpenRLHF read what is exported for them, with their own code and our tokenizers.

They are installed without what they train with, such as deepspeed and flash-attn: of each only the
part that makes tokens of a file's rows is run.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import tiny_tokenizer
from tests.exported_run import ASKED, CHOSEN, REJECTED, exported, write_run

BETTER, WORSE = CHOSEN[0]["content"], REJECTED[0]["content"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("exported") / "run")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer(512)


def loaded(run: Path, program: str, name: str, out: Path) -> Any:
    """One of the exported data sets, as `datasets` reads its files."""
    import datasets

    exported(run, program, out)
    files = str(out / name / "train.jsonl")
    cache = str(out.with_name(f"{out.name}-cache"))
    return datasets.load_dataset("json", data_files=files, split="train", cache_dir=cache)


def axolotl_settings() -> Any:
    """What of axolotl's configuration its loaders read, as its command would fill it in."""
    addict = pytest.importorskip(
        "axolotl.utils.dict", reason="`make test-harness` installs axolotl"
    )
    return addict.DictDefault(
        chat_template="tokenizer_default", sequence_len=512, datasets=[{}], reward_model=False
    )


def holds(asked: list[dict[str, str]], text: str) -> bool:
    """Whether all turns of a prompt stand in a text."""
    return all(turn["content"] in text for turn in asked)


def test_axolotl_learns_the_replies_of_exported_conversations(
    run: Path, tokenizer: Any, tmp_path: Path
):
    settings = axolotl_settings()
    from axolotl.prompt_strategies.chat_template import load

    rows = loaded(run, "axolotl", "sft", tmp_path / "out")
    strategy = load(tokenizer, settings, {"type": "chat_template"})

    for row, asked in zip(rows, ASKED.values(), strict=True):
        made = strategy.tokenize_prompt(row)
        learned = [label for label in made["labels"] if label != -100]
        assert BETTER in tokenizer.decode(learned)
        assert "user" not in tokenizer.decode(learned)
        assert holds(asked, tokenizer.decode(made["input_ids"]))


def test_axolotl_prefers_the_better_reply_of_exported_pairs(
    run: Path, tokenizer: Any, tmp_path: Path
):
    settings = axolotl_settings()
    from axolotl.prompt_strategies.dpo.chat_template import default

    rows = loaded(run, "axolotl", "preferences", tmp_path / "out")
    transform, _ = default(settings)

    for row, asked in zip(rows, ASKED.values(), strict=True):
        made = transform(row, tokenizer)
        assert made["chosen"].startswith(BETTER) and made["rejected"].startswith(WORSE)
        assert holds(asked, made["prompt"])


def test_axolotls_reward_model_prefers_the_better_reply_of_exported_pairs(
    run: Path, tokenizer: Any, tmp_path: Path
):
    settings = axolotl_settings()
    from axolotl.prompt_strategies.bradley_terry.chat_template import load

    rows = loaded(run, "axolotl", "reward", tmp_path / "out")
    strategy = load(tokenizer, settings, {})

    assert len(rows) == 2
    for row in rows:
        made = strategy._tokenize_single_prompt(dict(row))
        chosen, rejected = (
            tokenizer.decode(made[f"{side}_ids"]) for side in ("chosen", "rejected")
        )
        assert BETTER in chosen and WORSE in rejected
        assert holds([{"content": row["system"]}, {"content": row["input"]}], chosen)


def openrlhf_strategy(**columns: str) -> Any:
    """OpenRLHF's options as the docs name them."""
    data = SimpleNamespace(apply_chat_template=True, **columns)
    return SimpleNamespace(args=SimpleNamespace(data=data))


def test_openrlhf_learns_the_replies_of_exported_conversations(
    run: Path, tokenizer: Any, tmp_path: Path
):
    openrlhf = pytest.importorskip(
        "openrlhf.datasets", reason="`make test-harness` installs OpenRLHF"
    )
    rows = loaded(run, "openrlhf", "sft", tmp_path / "out")
    strategy = openrlhf_strategy(input_key="input", output_key="output")

    found = openrlhf.SFTDataset(rows, tokenizer, 512, strategy, num_processors=None)

    assert len(found) == len(ASKED)
    for (tokens, _, learned), asked in zip(found, ASKED.values(), strict=True):
        # OpenRLHF marks the token before the one that is learned.
        marked = [token for token, mark in zip(tokens[0][1:], learned[0][:-1], strict=True) if mark]
        assert tokenizer.decode(marked).startswith(BETTER)
        assert holds(asked, tokenizer.decode(tokens[0]))


def test_openrlhf_prefers_the_better_reply_of_exported_pairs(
    run: Path, tokenizer: Any, tmp_path: Path
):
    openrlhf = pytest.importorskip(
        "openrlhf.datasets", reason="`make test-harness` installs OpenRLHF"
    )
    rows = loaded(run, "openrlhf", "preferences", tmp_path / "out")
    strategy = openrlhf_strategy(prompt_key="prompt", chosen_key="chosen", rejected_key="rejected")

    found = openrlhf.RewardDataset(rows, tokenizer, 512, strategy, num_processors=None)

    assert len(found) == len(ASKED)
    for (chosen, _, rejected, _, margin), asked in zip(found, ASKED.values(), strict=True):
        assert BETTER in tokenizer.decode(chosen[0]) and WORSE in tokenizer.decode(rejected[0])
        assert holds(asked, tokenizer.decode(chosen[0]))
        assert margin == 0
