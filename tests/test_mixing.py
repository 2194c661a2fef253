"""Rows of several sources in one data set: in proportion, each once, counted by source."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from cai.datasets.mix_plan import MixPlan, Part
from cai.datasets.mixing import MOST_REASONS, LeftOut, Mixed
from cai.datasets.preferences import PreferencePlan, write_preferences
from cai.datasets.sft import SftPlan, write_sft
from cai.datasets.shares import quotas
from cai.engine import Ledger
from cai.errors import CaiError
from cai.mix_settings import PairOfSource, SftSource
from cai.records import Comparison, Message, Prompt, Response, Row, RowKey
from cai.sources import Unreadable
from cai.sources.mixed_rows import Conversation, read_conversations, read_labelled_pairs
from cai.splits import split_of

PROVENANCE = {"constitution": "c0ffee", "template": "beef", "seed": 3}
WEIGHT = some.floats(0.001, 1000) | some.just(0.0)


@given(some.dictionaries(some.text("abc", min_size=1), some.tuples(some.integers(0, 500), WEIGHT)))
def test_every_source_has_its_share_to_half_a_row_and_the_scarcest_one_is_whole(
    sources: dict[str, tuple[int, float]],
):
    there = {name: rows for name, (rows, _) in sources.items()}
    weights = {name: weight for name, (_, weight) in sources.items()}

    taken = quotas(there, weights)

    shared = [name for name in sources if weights[name] and there[name]]
    scale = min((there[name] / weights[name] for name in shared), default=0.0)
    assert all(abs(taken[name] - scale * weights[name]) <= 0.5 + 1e-6 for name in shared)
    assert all(taken[name] <= there[name] for name in sources)
    assert not shared or any(taken[name] == there[name] for name in shared)
    assert not any(taken[name] for name in sources if name not in shared)


def chat(text: str, reply: str = "Gladly.") -> Conversation:
    return Conversation(Prompt((Message("user", text),), "any"), reply)


def part(name: str, rows: Sequence[Conversation | LeftOut], **how: Any) -> Part[Conversation]:
    return Part(name, read=lambda: iter(rows), **how)


def chats(name: str, number: int) -> list[Conversation]:
    return [chat(f"{name} {index}") for index in range(number)]


def rows_of(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    from pyarrow import parquet

    return parquet.read_table(folder / split / "data.parquet").to_pylist()


def texts_of(folder: Path, split: str = "train") -> list[str]:
    return [row["messages"][-2]["content"] for row in rows_of(folder, split)]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def mixed(
    ledger: Ledger,
    folder: Path,
    *parts: Part[Conversation],
    test_share: float = 0.0,
    by_prompt: bool = False,
    near: dict[str, str] | None = None,
) -> Mixed:
    plan = SftPlan("all", test_share, PROVENANCE, smallest=near or {})
    return write_sft(ledger, folder, plan, MixPlan(parts, by_prompt, near or {}))


def helpful(text: str, reply: str) -> Row:
    response = Response(Prompt((Message("user", text),), "test"), reply, 0, "m", "call")
    return Row(RowKey("helpful", response.prompt.id), "ok", "", asdict(response), ("call",))


@given(
    first=some.integers(40, 120),
    second=some.integers(40, 120),
    weight=some.floats(0.2, 5),
    seed=some.integers(0, 1000),
)
@settings(max_examples=15)
def test_both_splits_hold_the_shares_while_the_hash_alone_says_who_is_in_which(
    tmp_path_factory: pytest.TempPathFactory, first: int, second: int, weight: float, seed: int
):
    folder = tmp_path_factory.mktemp("mix")
    sources = {"a": chats("a", first), "b": chats(f"b{seed}", second)}
    weights = {"a": 1.0, "b": weight}
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        written = mixed(
            ledger,
            folder / "sft",
            *(part(name, rows, weight=weights[name]) for name, rows in sources.items()),
            test_share=0.3,
        )

    for split in ("train", "test"):
        belong = {
            name: [one for one in rows if split_of(one.prompt.messages, 0.3) == split]
            for name, rows in sources.items()
        }
        there = {name: len(rows) for name, rows in belong.items()}
        taken = {name: counts[split] for name, counts in written.rows.items()}
        assert taken == quotas(there, weights)
        asked = {one.prompt.messages[0].content for rows in belong.values() for one in rows}
        assert set(texts_of(folder / "sft", split)) <= asked


def test_a_source_with_no_row_held_out_leaves_the_others_theirs(ledger: Ledger, tmp_path: Path):
    many = chats("many", 40)
    few = [one for one in chats("few", 20) if split_of(one.prompt.messages, 0.3) == "train"]

    written = mixed(
        ledger,
        tmp_path / "sft",
        part("many", many, weight=1),
        part("few", few, weight=1),
        test_share=0.3,
    )

    assert written.rows["few"]["test"] == 0
    assert written.rows["many"]["test"] > 0
    assert written.rows["many"]["train"] == written.rows["few"]["train"] == len(few)


def test_which_rows_are_taken_does_not_depend_on_their_order(ledger: Ledger, tmp_path: Path):
    rows = chats("row", 60)
    shuffled = random.Random(1).sample(rows, 60)

    for name, order in (("one", rows), ("two", shuffled)):
        weighted = part("weighted", order, weight=0.2)
        mixed(ledger, tmp_path / name, part("whole", chats("w", 50), weight=1), weighted)
        mixed(ledger, tmp_path / f"most-{name}", part("most", order, most=7))

    assert set(texts_of(tmp_path / "one")) == set(texts_of(tmp_path / "two"))
    assert len(texts_of(tmp_path / "one")) == 60
    assert set(texts_of(tmp_path / "most-one")) == set(texts_of(tmp_path / "most-two"))
    assert len(texts_of(tmp_path / "most-one")) == 7


def test_a_row_more_changes_the_place_of_at_most_one_other(ledger: Ledger, tmp_path: Path):
    rows = chats("row", 60)

    mixed(ledger, tmp_path / "before", part("most", rows[:-1], most=20))
    mixed(ledger, tmp_path / "after", part("most", rows, most=20))

    assert len({*texts_of(tmp_path / "before")} - {*texts_of(tmp_path / "after")}) <= 1


def test_a_source_without_a_weight_gives_all_of_its_rows(ledger: Ledger, tmp_path: Path):
    written = mixed(
        ledger,
        tmp_path / "sft",
        part("whole", chats("whole", 33)),
        part("a", chats("a", 40), weight=2),
        part("b", chats("b", 10), weight=1),
    )

    assert {name: counts["train"] for name, counts in written.rows.items()} == {
        "whole": 33,
        "a": 20,
        "b": 10,
    }
    assert written.left_out == {"a": {"more than its weight": 20}}


def test_of_copies_the_first_source_s_is_kept(ledger: Ledger, tmp_path: Path):
    written = mixed(
        ledger,
        tmp_path / "sft",
        part("first", [chat("shared"), chat("a")]),
        part("second", [chat("b"), chat("shared"), chat("b")], weight=5),
    )

    assert texts_of(tmp_path / "sft") == ["shared", "a", "b"]
    assert written.left_out == {"second": {"is in first too": 1, "is a repeated row": 1}}


@pytest.mark.parametrize("by_prompt", [False, True], ids=["rows", "prompts"])
def test_a_row_that_its_source_may_not_give_is_left_to_the_next_one(
    ledger: Ledger, tmp_path: Path, by_prompt: bool
):
    rows = chats("row", 5)
    none, few = part("none", rows, weight=0), part("few", rows, most=2)

    written = mixed(ledger, tmp_path / "sft", none, few, part("all", rows), by_prompt=by_prompt)

    given = {name: counts["train"] for name, counts in written.rows.items()}
    assert given == {"none": 0, "few": 2, "all": 3}
    assert sorted(texts_of(tmp_path / "sft")) == [f"row {index}" for index in range(5)]
    why = f"{'its prompt is' if by_prompt else 'is'} in few too"
    assert written.left_out["few"] == {"more than its most": 3}
    assert written.left_out["all"] == {why: 2}


async def test_the_run_s_own_rows_come_first_unless_they_are_named(ledger: Ledger, tmp_path: Path):
    await ledger.put_rows([helpful("shared", "Gladly."), helpful("own", "Of course.")])
    own, other = Part[Conversation]("helpful"), part("other", [chat("shared")])

    before = mixed(ledger, tmp_path / "before", other)
    after = mixed(ledger, tmp_path / "after", other, own)

    assert before.left_out == {"other": {"is in helpful too": 1}}
    assert before.rows["helpful"]["train"] == 2
    assert after.left_out == {"helpful": {"is in other too": 1}}
    assert texts_of(tmp_path / "after") == ["shared", "own"]


def test_a_prompt_can_be_of_one_source_alone(ledger: Ledger, tmp_path: Path):
    first = part("first", [chat("shared", "One."), chat("shared", "Another.")])
    second = part("second", [chat("shared", "A third."), chat("else")])

    by_row = mixed(ledger, tmp_path / "rows", first, second)
    by_prompt = mixed(ledger, tmp_path / "prompts", first, second, by_prompt=True)

    assert by_row.left_out == {}
    assert by_prompt.left_out == {"second": {"its prompt is in first too": 1}}
    assert texts_of(tmp_path / "prompts") == ["shared", "shared", "else"]


def test_near_prompts_count_as_one_and_are_held_out_together(ledger: Ledger, tmp_path: Path):
    one, other = chat("How do I bake bread?"), chat("How do I bake bread ?")
    near = {other.prompt.text_hash: one.prompt.text_hash}
    parts = part("first", [one]), part("second", [other])

    for by_prompt in (False, True):
        folder = tmp_path / str(by_prompt)
        mixed(ledger, folder, *parts, test_share=0.5, by_prompt=by_prompt, near=near)

    apart = {split: len(texts_of(tmp_path / "False", split)) for split in ("train", "test")}
    assert sorted(apart.values()) == [0, 2]
    assert texts_of(tmp_path / "True", "train") + texts_of(tmp_path / "True", "test") == [
        "How do I bake bread?"
    ]


def test_a_share_of_nothing_is_refused_with_the_reason(ledger: Ledger, tmp_path: Path):
    unreadable = [LeftOut("has a turn that is blank")] * 3

    with pytest.raises(CaiError, match=r"b cannot have a share .*has a turn that is blank: 3"):
        mixed(
            ledger,
            tmp_path / "sft",
            part("a", chats("a", 3), weight=1),
            part("b", unreadable, weight=1),
        )


def test_reasons_without_end_are_counted_together(ledger: Ledger, tmp_path: Path):
    broken = [LeftOut(f"reason {number}") for number in range(500)]

    written = mixed(ledger, tmp_path / "sft", part("a", [chat("a"), *broken]))

    assert len(written.left_out["a"]) == MOST_REASONS + 1
    assert sum(written.left_out["a"].values()) == 500


def test_mixed_rows_say_no_more_of_themselves_than_is_known(ledger: Ledger, tmp_path: Path):
    mixed(ledger, tmp_path / "sft", part("forum", [chat("Hello?")]))

    (row,) = rows_of(tmp_path / "sft")
    told = {name: row[name] for name in ("origin", "constitution", "template", "seed", "model")}
    assert told == {
        "origin": "mixed",
        "constitution": "",
        "template": "",
        "seed": None,
        "model": "",
    }
    assert row["prompt_id"] == chat("Hello?").prompt.id


def pair(text: str, better: str, worse: str, p: float = 1.0, source: str = "feedback"):
    return Comparison(Prompt((Message("user", text),), source), better, worse, p, source=source)


def test_a_pair_is_the_same_in_either_order(ledger: Ledger, tmp_path: Path):
    parts = [
        Part("first", read=lambda: iter([pair("Hello?", "Hi.", "Go away.", 0.9, "first")])),
        Part("second", read=lambda: iter([pair("Hello?", "Go away.", "Hi.", 1.0, "second")])),
    ]

    written = write_preferences(ledger, tmp_path / "pairs", PreferencePlan(0.0, {}), MixPlan(parts))

    (row,) = rows_of(tmp_path / "pairs")
    assert (row["source"], row["p_chosen"], row["sampling"]) == ("first", 0.9, "{}")
    assert written.left_out == {"second": {"is in first too": 1}}


def test_the_likelier_reply_of_a_mixed_pair_is_chosen(ledger: Ledger, tmp_path: Path):
    parts = [Part("feedback", read=lambda: iter([pair("Hello?", "Go away.", "Hi.", 0.25)]))]

    write_preferences(ledger, tmp_path / "pairs", PreferencePlan(0.0, {}), MixPlan(parts))

    (row,) = rows_of(tmp_path / "pairs")
    assert (row["chosen"][0]["content"], row["p_chosen"]) == ("Hi.", 0.75)


TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": TURNS}, None),
        ({"prompt": "Hello?", "completion": "Hi."}, None),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, None),
        ({"prompt": "Hello?", "chosen": TURNS, "rejected": TURNS}, None),
        ({"text": "Hello?"}, "has neither messages"),
        ({"messages": TURNS[:1]}, "does not end with a turn of the assistant"),
        ({"messages": [*TURNS, TURNS[1]]}, "ends with two turns of the assistant"),
        ({"messages": [{"role": "tool", "content": "1"}, *TURNS]}, "has a turn with role 'tool'"),
        ({"prompt": "Hello?", "completion": " "}, "ends with a blank reply"),
        ({"prompt": None, "completion": "Hi."}, "is NoneType"),
        (["Hello?"], "is no object"),
    ],
    ids=lambda value: None if value is None else str(value)[:30],
)
def test_conversations_are_read_in_every_known_shape(tmp_path: Path, row: Any, reason: str | None):
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(row) + "\n")

    (read,) = read_conversations(SftSource(file=path, name="forum"))

    if reason is None:
        prompt = Prompt((Message("user", "Hello?"),), "forum", "harmless")
        assert read == Conversation(prompt, "Hi.")
    else:
        assert isinstance(read, Unreadable)
        assert reason in read.reason


@pytest.mark.parametrize(
    ("label", "found"),
    [({}, 1.0), ({"p_chosen": 0.7}, 0.7), ({"p_chosen": None}, 1.0), ({"p_chosen": 2}, None)],
    ids=["none", "soft", "null", "no-probability"],
)
def test_pairs_keep_their_probability(tmp_path: Path, label: dict[str, Any], found: float | None):
    path = tmp_path / "pairs.jsonl"
    row = {"prompt": "Hello?", "chosen": "Hi.", "rejected": "Go away.", **label}
    path.write_text(json.dumps(row) + "\n")

    (read,) = read_labelled_pairs(PairOfSource(file=path))

    if found is None:
        assert isinstance(read, Unreadable)
    else:
        assert isinstance(read, Comparison)
        assert (read.p_a, read.source) == (found, "pairs.jsonl")


def test_a_broken_line_is_counted_and_the_next_one_read(tmp_path: Path):
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": \n' + json.dumps({"messages": TURNS}) + "\n")

    broken, read = read_conversations(SftSource(file=path))

    assert broken == Unreadable("chats.jsonl", 1, "is not JSON")
    assert isinstance(read, Conversation)


def test_a_csv_row_with_a_comma_too_many_is_counted_and_the_next_one_read(tmp_path: Path):
    path = tmp_path / "pairs.csv"
    path.write_text("prompt,chosen,rejected\nHi,so, or so,no\nHi,so,no\n")

    broken, read = read_labelled_pairs(PairOfSource(file=path))

    assert isinstance(broken, Unreadable) and "more cells than" in broken.reason
    assert isinstance(read, Comparison)


def test_parquet_rows_are_read_with_their_turns(tmp_path: Path):
    from datasets import Dataset

    Dataset.from_list([{"messages": TURNS}]).to_parquet(tmp_path / "chats.parquet")

    (read,) = read_conversations(SftSource(file=tmp_path / "chats.parquet"))

    assert isinstance(read, Conversation)


def test_a_limit_is_of_the_first_rows(tmp_path: Path):
    path = tmp_path / "chats.jsonl"
    lines = [json.dumps({"prompt": f"Question {n}?", "completion": "Hi."}) for n in range(9)]
    path.write_text("\n".join(lines))

    read = partial(read_conversations, SftSource(file=path, limit=2))

    assert [one.prompt.messages[0].content for one in read()] == ["Question 0?", "Question 1?"]


MIX_MANY = """
import resource, sys
from functools import partial
from pathlib import Path
from cai.datasets.mix_plan import MixPlan, Part
from cai.datasets.sft import SftPlan, write_sft
from cai.engine import Ledger
from cai.mix_settings import SftSource
from cai.sources.mixed_rows import read_conversations

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
nothing = {"constitution": "", "template": "", "seed": 0}

def part(name, rows, **how):
    source = SftSource(file=folder / "chats.jsonl", name=name, limit=rows)
    return Part(name, read=partial(read_conversations, source), **how)

with Ledger.open(folder / f"{rows}.sqlite") as ledger:
    parts = [part("half", rows // 2, weight=1), part("all", rows, weight=0.5)]
    out = folder / str(rows)
    written = write_sft(ledger, out, SftPlan("all", 0.1, nothing), MixPlan(parts))
    print(sum(written.totals.values()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_a_mix_takes_as_much_memory_for_ten_times_the_rows(tmp_path: Path):
    with (tmp_path / "chats.jsonl").open("w") as file:
        for number in range(200_000):
            row = {"prompt": f"How is day {number}?", "completion": f"It is {number}. " + "x" * 600}
            file.write(json.dumps(row) + "\n")

    peaks: list[int] = []
    for rows in (20_000, 200_000):
        command = [sys.executable, "-c", MIX_MANY, str(tmp_path), str(rows)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        written, peak = map(int, done.stdout.split())
        # Half of the rows are in both sources; of the others, half of the first one's share.
        assert written == pytest.approx(0.75 * rows, rel=0.02)
        peaks.append(peak)

    assert peaks[1] <= 1.2 * peaks[0], peaks
