"""A run's data as other programs read it: pairs with a winner, the others counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cai.cli import app
from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.datasets.sft import sft_features
from cai.errors import CaiError, InputError
from cai.export.formats import FORMATS, WHENCE
from cai.export.hard_pairs import TIE, Hardening
from cai.export.run_export import export_run
from cai.untyped import untyped

FILE_TYPES = ["jsonl", "parquet"]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def pair(number: int, p_chosen: float) -> dict[str, Any]:
    return {
        "prompt": [turn("user", f"question {number}")],
        "chosen": [turn("assistant", f"good {number}")],
        "rejected": [turn("assistant", f"bad {number}")],
        "p_chosen": p_chosen,
        "prompt_id": f"id{number}",
        "source": "ai",
        "principle": "kind",
        "model": "judge",
    }


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with labels of every strength, and a conversation."""
    folder = tmp_path / "run"
    labels = [0.5, 0.5, 0.55, 0.6, 0.75, 1.0]
    rows = [("train", pair(number, p)) for number, p in enumerate(labels)]
    datasets = folder / "datasets"
    datasets.mkdir(parents=True)
    SplitWriter(datasets / "preferences", preference_features()).write(
        [*rows, ("test", pair(9, 0.9))]
    )
    learned = {"messages": [turn("user", "hi"), turn("assistant", "hello")], "prompt_id": "id"}
    SplitWriter(datasets / "sft", sft_features()).write([("train", {**learned, "origin": "x"})])
    (folder / "ledger.sqlite").touch()
    return folder


def test_ties_are_left_out_and_counted_whatever_the_margin(run: Path, tmp_path: Path):
    exported = export_run(run, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")

    assert exported.left_out == {TIE: 2}
    assert exported.rows == {"sft": {"train": 1, "test": 0}, "preferences": {"train": 4, "test": 1}}


def test_near_ties_are_left_out_and_counted_apart_from_ties(run: Path, tmp_path: Path):
    exported = export_run(run, tmp_path / "out", "trl", minimum_margin=0.2, file_type="jsonl")

    assert exported.left_out == {TIE: 2, "a margin under 0.2": 1}
    written = [json.loads(line) for line in lines_of(tmp_path / "out/preferences/train.jsonl")]
    assert [row["p_chosen"] for row in written] == [0.6, 0.75, 1.0]


@given(st.lists(st.floats(0.5, 1)), st.floats(0, 1))
def test_every_pair_is_kept_or_counted(labels: list[float], margin: float):
    hardening = Hardening(margin)

    kept = list(hardening.pairs(pair(0, p) for p in labels))

    assert len(kept) + hardening.left_out.total() == len(labels)
    assert all(one.p_chosen > 0.5 and 2 * one.p_chosen - 1 >= margin - 1e-15 for one in kept)


@pytest.mark.parametrize("margin", [-0.1, 1.1, float("nan")])
def test_a_margin_that_is_none_is_refused(margin: float):
    with pytest.raises(CaiError, match="from 0 to 1"):
        Hardening(margin)


def test_the_command_tells_the_counts_on_screen_and_in_the_folder(run: Path):
    told = CliRunner().invoke(app, ["export", str(run), "--minimum-margin", "0.2"])

    assert told.exit_code == 0
    assert "2  pairs left out: a tie" in told.output
    assert "1  pairs left out: a margin under 0.2" in told.output
    assert "preferences: 3 train and 1 test rows" in told.output
    record = json.loads((run / "exports/trl/export.json").read_bytes())
    assert record["left_out"] == {TIE: 2, "a margin under 0.2": 1}
    assert record["minimum_margin"] == 0.2


def test_the_same_export_again_has_the_same_bytes(run: Path, tmp_path: Path):
    contents: list[dict[str, bytes]] = []
    for _ in range(2):
        export_run(run, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")
        files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        contents.append({str(path): path.read_bytes() for path in files})

    assert contents[0] == contents[1]


def test_a_folder_that_is_no_export_is_not_replaced(run: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear diary")

    with pytest.raises(CaiError, match="is there already and no export"):
        export_run(run, tmp_path / "mine", "trl", minimum_margin=0, file_type="jsonl")

    assert (tmp_path / "mine" / "notes.txt").read_text() == "dear diary"


@pytest.mark.parametrize("record", ["[]", "{}", "no JSON", '{"lr": 1}'])
def test_a_folder_with_another_s_record_is_not_replaced(run: Path, tmp_path: Path, record: str):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "export.json").write_text(record)
    (tmp_path / "mine" / "thesis.txt").write_text("dear diary")

    with pytest.raises(CaiError, match="is there already and no export"):
        export_run(run, tmp_path / "mine", "trl", minimum_margin=0, file_type="jsonl")

    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear diary"


def test_what_somebody_has_put_into_an_export_is_not_deleted(run: Path, tmp_path: Path):
    export_run(run, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")
    (tmp_path / "out" / "thesis.txt").write_text("dear diary")

    with pytest.raises(CaiError, match=r"holds 'thesis\.txt', which no export has written"):
        export_run(run, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")

    assert (tmp_path / "out" / "thesis.txt").read_text() == "dear diary"


def test_a_folder_that_is_called_as_a_new_export_stays(run: Path, tmp_path: Path):
    (tmp_path / "mine.new").mkdir()
    (tmp_path / "mine.new" / "notes.txt").write_text("dear diary")

    export_run(run, tmp_path / "mine", "trl", minimum_margin=0, file_type="jsonl")

    assert (tmp_path / "mine.new" / "notes.txt").read_text() == "dear diary"
    assert {one.name for one in tmp_path.iterdir()} == {"run", "mine", "mine.new"}


def test_an_export_that_fails_leaves_nothing_and_the_earlier_one_stays(run: Path, tmp_path: Path):
    out = tmp_path / "out"
    export_run(run, out, "trl", minimum_margin=0, file_type="jsonl")
    before = lines_of(out / "sft" / "train.jsonl")
    data = run / "datasets" / "preferences" / "train" / "data.parquet"
    data.write_bytes(data.read_bytes()[:100])

    with pytest.raises(InputError, match=r"data.parquet: is no Parquet file"):
        export_run(run, out, "trl", minimum_margin=0, file_type="jsonl")

    assert {one.name for one in tmp_path.iterdir()} == {"run", "out"}
    assert lines_of(out / "sft" / "train.jsonl") == before


def test_an_export_through_a_link_replaces_what_it_leads_to(run: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for file_type in FILE_TYPES:
        export_run(run, tmp_path / "link", "trl", minimum_margin=0, file_type=file_type)

    assert (tmp_path / "out" / "sft" / "train.parquet").is_file()
    assert (tmp_path / "link").is_symlink()


def test_the_folder_that_one_is_in_is_not_replaced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")

    with pytest.raises(CaiError, match="is where you are; name a folder within it"):
        export_run(run, Path(), "trl", minimum_margin=0, file_type="jsonl")


def test_an_export_into_a_file_is_refused(run: Path, tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(CaiError, match=r"cannot be written: .*; name another"):
        export_run(run, tmp_path / "file" / "out", "trl", minimum_margin=0, file_type="jsonl")


def test_a_run_without_data_says_how_to_make_some(tmp_path: Path):
    with pytest.raises(CaiError, match="make them first"):
        export_run(tmp_path, tmp_path / "out", "trl", minimum_margin=0, file_type="jsonl")


@pytest.mark.parametrize("format", FORMATS)
def test_no_value_of_a_row_is_missing(run: Path, tmp_path: Path, format: str):
    export_run(run, tmp_path / "out", format, minimum_margin=0, file_type="jsonl")

    for path in (tmp_path / "out").rglob("*.jsonl"):
        for line in lines_of(path):
            assert None not in json.loads(line).values()


@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_datasets_finds_the_splits_and_trl_the_conversations(
    run: Path, tmp_path: Path, file_type: Any
):
    from datasets import load_dataset
    from trl.data_utils import is_conversational

    out = tmp_path / "out"
    export_run(run, out, "trl", minimum_margin=0, file_type=file_type)

    pairs = load_dataset(str(out / "preferences"), cache_dir=str(tmp_path / "cache"))
    learned = load_dataset(str(out / "sft"), cache_dir=str(tmp_path / "cache"), split="train")

    assert {name: len(rows) for name, rows in pairs.items()} == {"train": 4, "test": 1}
    assert is_conversational(pairs["train"][0])
    assert is_conversational(learned[0])
    assert pairs["train"].column_names[:3] == ["prompt", "chosen", "rejected"]
    assert "margin" not in pairs["train"].column_names


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["sft", "dpo", "reward"])
def test_trl_trains_on_what_is_exported(run: Path, tmp_path: Path, tiny_model: Path, kind: str):
    from datasets import load_dataset

    trl = untyped("trl")
    out = tmp_path / "out"
    export_run(run, out, "trl", minimum_margin=0, file_type="parquet")
    name, trainer, config = {
        "sft": ("sft", trl.SFTTrainer, trl.SFTConfig),
        "dpo": ("preferences", trl.DPOTrainer, trl.DPOConfig),
        "reward": ("preferences", trl.RewardTrainer, trl.RewardConfig),
    }[kind]
    rows = load_dataset(str(out / name), cache_dir=str(tmp_path / "cache"), split="train")

    arguments = config(
        output_dir=str(tmp_path / "trained"),
        max_steps=1,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        report_to=[],
    )
    result = trainer(model=str(tiny_model), args=arguments, train_dataset=rows).train()

    assert result.training_loss > 0


SYSTEM = turn("system", "Be brief.")
SEVERAL = [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]


def shown(format: str, prompt: list[dict[str, str]], name: str = "preferences") -> dict[str, Any]:
    """A pair with its conversation, as a format has it; without where it comes from."""
    (hard,) = Hardening().pairs([{**pair(0, 0.9), "prompt": prompt}])
    row = FORMATS[format].pairs[name](hard)
    return {name: value for name, value in row.items() if name not in (*WHENCE, "p_chosen")}


def test_axolotl_reads_turns_and_a_turn_of_each_reply():
    assert shown("axolotl", SEVERAL) == {
        "messages": SEVERAL,
        "chosen": turn("assistant", "good 0"),
        "rejected": turn("assistant", "bad 0"),
    }


@pytest.mark.parametrize(("before", "system"), [([], ""), ([SYSTEM], "Be brief.")])
def test_reward_models_of_axolotl_read_texts(before: list[Any], system: str):
    assert shown("axolotl", [*before, turn("user", "hi")], "reward") == {
        "system": system,
        "input": "hi",
        "chosen": "good 0",
        "rejected": "bad 0",
    }


def test_several_turns_are_left_out_of_flat_rows_alone_and_counted(tmp_path: Path):
    rows = [("train", pair(0, 0.9)), ("train", {**pair(1, 0.9), "prompt": SEVERAL})]
    writer = SplitWriter(tmp_path / "run/datasets/preferences", preference_features())
    writer.write([*rows, ("train", pair(2, 0.5))])

    run, out = tmp_path / "run", tmp_path / "out"
    exported = export_run(run, out, "axolotl", minimum_margin=0, file_type="jsonl")

    assert exported.rows["preferences"]["train"] == 2
    assert exported.rows["reward"]["train"] == 1
    assert exported.left_out == {TIE: 1, "reward: several turns, where a flat row has one": 1}


def test_open_instruct_reads_conversations_that_differ_in_their_last_turn():
    assert shown("open-instruct", SEVERAL) == {
        "chosen": [*SEVERAL, turn("assistant", "good 0")],
        "rejected": [*SEVERAL, turn("assistant", "bad 0")],
    }


def test_openrlhf_reads_what_is_learned_apart_from_what_stands_before_it():
    row = {"messages": [*SEVERAL, turn("assistant", "d")]}

    read = FORMATS["openrlhf"].conversation(row)

    assert (read["input"], read["output"]) == (SEVERAL, [turn("assistant", "d")])
    assert list(shown("openrlhf", SEVERAL)) == ["prompt", "chosen", "rejected"]
