from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cai.datasets.mix_plan import MixPlan, Part
from cai.datasets.parquet import folder_hash, open_parquet
from cai.datasets.preferences import PreferencePlan, write_preferences
from cai.datasets.prompts import write_rl_prompts
from cai.datasets.sft import SftPlan, write_sft
from cai.engine import Ledger
from cai.errors import CaiError, InputError
from cai.records import Comparison, Message, OrderWeights, Prompt, Response, Row, RowKey
from cai.sources.mixed_rows import Conversation

PROVENANCE = {"constitution": "c0ffee", "template": "beef", "seed": 3}


def prompt(number: int) -> Prompt:
    return Prompt((Message("user", f"request {number}"),), "test", "harmful")


def revision(number: int, round_number: int) -> Row:
    one = prompt(number)
    record = {
        "prompt": asdict(one),
        "text": f"reply {number}.{round_number}",
        "principle": "kind",
        "model": "m",
    }
    return Row(RowKey("revision", one.id, round_number), "ok", "", record, ("call",))


def helpful(number: int) -> Row:
    response = Response(prompt(number), f"help {number}", 0, "m", "call")
    return Row(RowKey("helpful", response.prompt.id), "ok", "", asdict(response), ("call",))


def comparison(number: int, p_a: float, orders: tuple[OrderWeights, ...] = ()) -> Row:
    record = Comparison(prompt(number), "reply a", "reply b", p_a, "kind", orders, "ai", "judge")
    return Row(RowKey("comparison", record.prompt.id), "ok", "", asdict(record), ("call",))


def ratio_of(helpful_ratio: float | None) -> MixPlan[Conversation]:
    """Helpful replies for each revision, as `Recipe.mixed` says it; None: all of both."""
    if helpful_ratio is None:
        return MixPlan()
    return MixPlan([Part("revision", 1), Part("helpful", helpful_ratio)])


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def rows_of(folder: Path, split: str = "train") -> list[dict]:
    from datasets import load_dataset

    files = {split: str(folder / split / "*.parquet")}
    return load_dataset("parquet", data_files=files, split=split).to_list()


async def test_all_revisions_are_rows_with_the_conversation_up_to_them(ledger, tmp_path):
    await ledger.put_rows([revision(1, 1), revision(1, 2), helpful(2)])

    write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.0, PROVENANCE))

    rows = rows_of(tmp_path / "sft")
    assert [row["messages"][-1]["content"] for row in rows] == ["reply 1.1", "reply 1.2", "help 2"]
    assert [row["origin"] for row in rows] == ["revision", "revision", "helpful"]
    assert {row["constitution"] for row in rows} == {"c0ffee"}


async def test_of_each_prompt_the_last_revision_alone_is_kept_if_asked(ledger, tmp_path):
    await ledger.put_rows([revision(n, r) for n in (1, 2, 3) for r in (1, 2, 3)])

    write_sft(ledger, tmp_path / "sft", SftPlan("last", 0.0, PROVENANCE))

    texts = {row["messages"][-1]["content"] for row in rows_of(tmp_path / "sft")}
    assert texts == {"reply 1.3", "reply 2.3", "reply 3.3"}


async def test_of_each_prompt_the_first_revisions_are_kept_if_asked(ledger, tmp_path):
    await ledger.put_rows([revision(n, r) for n in (1, 2) for r in (1, 2, 3)])

    write_sft(ledger, tmp_path / "sft", SftPlan("upto:2", 0.0, PROVENANCE))

    texts = {row["messages"][-1]["content"] for row in rows_of(tmp_path / "sft")}
    assert texts == {"reply 1.1", "reply 1.2", "reply 2.1", "reply 2.2"}


@pytest.mark.parametrize(
    ("ratio", "revisions", "helpful_replies", "left_out"),
    [
        (0.25, 40, 10, {"helpful": {"more than its weight": 10}}),
        (2.0, 10, 20, {"revision": {"more than its weight": 30}}),
        (0.0, 40, 0, {"helpful": {"more than its weight": 20}}),
        (None, 40, 20, {}),
    ],
)
async def test_revisions_and_helpful_replies_are_mixed_as_told(
    ledger, tmp_path, ratio, revisions, helpful_replies, left_out
):
    await ledger.put_rows([*(revision(n, 1) for n in range(40)), *(helpful(n) for n in range(20))])
    written = write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.0, PROVENANCE), ratio_of(ratio))

    origins = [row["origin"] for row in rows_of(tmp_path / "sft")]
    assert (origins.count("revision"), origins.count("helpful")) == (revisions, helpful_replies)
    assert written.left_out == left_out


async def test_a_mixture_is_that_of_both_parts_of_the_data(ledger, tmp_path):
    await ledger.put_rows([*(revision(n, 1) for n in range(40)), *(helpful(n) for n in range(40))])
    write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.3, PROVENANCE), ratio_of(0.5))

    train, test = (
        [row["origin"] for row in rows_of(tmp_path / "sft", split)] for split in ("train", "test")
    )
    assert train.count("helpful") == round(train.count("revision") / 2)
    assert test.count("helpful") == round(test.count("revision") / 2)
    assert train.count("revision") + test.count("revision") == 40


async def test_a_ratio_to_nothing_is_refused(ledger, tmp_path):
    await ledger.put_rows([revision(1, 1)])
    with pytest.raises(CaiError, match=r"helpful cannot have a share .* there is no row"):
        write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.0, PROVENANCE), ratio_of(0.37))


async def test_rows_that_did_not_end_well_are_no_data(ledger, tmp_path):
    refused = Row(RowKey("revision", prompt(1).id, 1), "refused", "declined")
    await ledger.put_rows([refused, revision(2, 1)])

    written = write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.0, PROVENANCE))

    assert written.rows == {"revision": {"train": 1, "test": 0}}


async def test_all_rows_of_a_prompt_fall_into_one_split(ledger, tmp_path):
    await ledger.put_rows([revision(n, r) for n in range(40) for r in (1, 2)])

    write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.5, PROVENANCE))

    train, test = (
        {row["prompt_id"] for row in rows_of(tmp_path / "sft", split)}
        for split in ("train", "test")
    )
    assert train and test
    assert not train & test


async def test_the_same_rows_give_the_same_bytes(ledger, tmp_path):
    await ledger.put_rows([revision(n, 1) for n in range(20)])

    for name in ("one", "two"):
        write_sft(ledger, tmp_path / name, SftPlan("all", 0.1, PROVENANCE))

    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")


async def test_chosen_is_the_likelier_reply_and_keeps_its_probability(ledger, tmp_path):
    await ledger.put_rows([comparison(1, 0.8), comparison(2, 0.3)])

    write_preferences(ledger, tmp_path / "pairs", PreferencePlan(0.0, {"temperature": 1.0}))

    rows = {row["prompt"][0]["content"]: row for row in rows_of(tmp_path / "pairs")}
    assert rows["request 1"]["chosen"] == [{"role": "assistant", "content": "reply a"}]
    assert rows["request 1"]["p_chosen"] == pytest.approx(0.8)
    assert rows["request 2"]["chosen"] == [{"role": "assistant", "content": "reply b"}]
    assert rows["request 2"]["p_chosen"] == pytest.approx(0.7)


async def test_both_orders_log_probabilities_follow_chosen_and_rejected(ledger, tmp_path):
    a_first = OrderWeights("a", logprob_a=-3.0, logprob_b=-0.1, mass=1.0, method="exact", call="")
    b_first = OrderWeights("b", logprob_a=-2.0, logprob_b=-0.2, mass=1.0, method="exact", call="")
    await ledger.put_rows([comparison(1, 0.1, (a_first, b_first))])

    write_preferences(ledger, tmp_path / "pairs", PreferencePlan(0.0, {}))

    (row,) = rows_of(tmp_path / "pairs")
    assert (row["logprob_chosen_first"], row["logprob_rejected_second"]) == (-0.2, -2.0)
    assert (row["logprob_chosen_second"], row["logprob_rejected_first"]) == (-0.1, -3.0)


def test_prompts_for_rl_keep_their_order(tmp_path):
    write_rl_prompts([prompt(n) for n in range(5)], tmp_path / "rl", 0.0)

    texts = [row["prompt"][0]["content"] for row in rows_of(tmp_path / "rl")]
    assert texts == [f"request {n}" for n in range(5)]


async def test_a_model_in_a_folder_is_named_without_where_that_lies(ledger, tmp_path):
    row = revision(1, 1)
    at_home = replace(row, record={**row.record, "model": "/home/anna/runs/a/models/sl_cai"})
    await ledger.put_rows([at_home])

    write_sft(ledger, tmp_path / "sft", SftPlan("all", 0.0, PROVENANCE))

    (row,) = rows_of(tmp_path / "sft")
    assert row["model"] == "sl_cai"


def test_a_damaged_file_of_rows_is_refused_by_name_wherever_the_damage_is(tmp_path: Path):
    import pyarrow
    import pyarrow.parquet as parquet

    file = tmp_path / "data.parquet"
    parquet.write_table(pyarrow.table({"prompt": [f"request {n}" for n in range(1000)]}), file)
    whole = file.read_bytes()
    middle = whole[:4] + bytes(200) + whole[204:]

    for damaged in (b"", b"no rows", whole[:-20], middle):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="is no Parquet file"), open_parquet(file) as it:
            it.read()
