import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cai.errors import InputError
from cai.records import Comparison, Message, Prompt
from cai.sources import files
from cai.sources.files import read_values
from cai.sources.pairs import PairSet, read_pairs
from cai.sources.prompt_sets import PromptSet, Unreadable, read_prompts
from cai.sources.transcripts import as_prompt, parse_transcript, to_messages
from cai.untyped import untyped

REAL = Path(__file__).parents[2] / "shared" / "data"


def prompts_of(path: Path, **options) -> list[Prompt | Unreadable]:
    return list(read_prompts(PromptSet(kind="harmful", file=path, **options), seed=0))


def test_a_transcript_keeps_every_byte_of_its_turns():
    text = "\n\nHuman: one:\n\ntwo\n\nAssistant: three \n\nHuman: four\n"

    messages = parse_transcript(text)

    assert messages == (
        Message("user", "one:\n\ntwo"),
        Message("assistant", "three "),
        Message("user", "four\n"),
    )


def test_a_prompt_ends_with_its_last_user_turn():
    messages = parse_transcript("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d")

    assert [turn.content for turn in as_prompt(messages)] == ["a", "b", "c"]


def test_a_plain_text_that_mentions_a_marker_stays_one_turn():
    text = "What does 'Human: hi' mean in a log?"

    assert to_messages(text) == (Message("user", text),)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "is int"),
        ([], "has no user turn"),
        ([{"role": "assistant", "content": "hi"}], "has no user turn"),
        ([{"role": "robot", "content": "hi"}], "role 'robot'"),
        ([{"role": "user", "content": " "}], "turn 1 is blank"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "turn 2 is of user"),
    ],
)
def test_what_is_no_prompt_is_named_with_its_reason(value, reason):
    with pytest.raises(ValueError, match=reason):
        as_prompt(to_messages(value))


@given(st.lists(st.text(min_size=1).filter(lambda text: "\n\n" not in text), min_size=1))
def test_a_written_transcript_reads_back_as_it_was(texts):
    roles = ["Human", "Assistant"] * len(texts)
    written = "".join(f"\n\n{role}: {text}" for role, text in zip(roles, texts, strict=False))

    assert [turn.content for turn in parse_transcript(written)] == texts


def test_json_files_may_nest_their_prompts_under_headings(tmp_path):
    path = tmp_path / "topics.json"
    path.write_bytes(orjson.dumps({"Topic": {"Part": ["one", "two"]}, "Other": ["three"]}))

    assert [value for _, value in read_values(path, None)] == ["one", "two", "three"]


def test_gzipped_json_lines_are_read_by_their_inner_name(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "one"}\n\n{"prompt": "two"}\n'))

    assert [value for _, value in read_values(path, None)] == ["one", "two"]


@pytest.mark.parametrize("name", ["rows.txt", "rows.jsonl", "rows.csv", "rows.json"])
def test_a_small_gzip_file_that_would_take_the_memory_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "LONGEST_LINE", 1000)
    monkeypatch.setattr(files, "LARGEST_JSON", 1000)
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(b'"one"\n' + b" " * 1001))

    with pytest.raises(InputError, match=r"longer than 1,000|more than 1,000 bytes when unpacked"):
        list(read_values(path, None))


def test_a_missing_column_names_the_row_and_the_columns_there_are(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,words\n1,hello\n")

    with pytest.raises(InputError, match=r"row 1: has no column 'prompt'; .* id, words"):
        list(read_values(path, "prompt"))


def test_a_broken_json_line_is_named_by_its_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "one"}\n{"prompt": \n')

    with pytest.raises(InputError, match="line 2: is not JSON"):
        list(read_values(path, None))


def test_a_csv_row_with_a_comma_too_many_is_named_and_nothing_of_it_is_lost(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("id,prompt\n1,hi\n2,hello, how are you\n")

    with pytest.raises(InputError, match="row 2: has more cells than the file has columns"):
        list(read_values(path, None))


def test_empty_cells_at_the_end_of_a_csv_row_are_no_words(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("id,prompt\n1,hi,,\n")

    assert list(read_values(path, None)) == [(1, "hi")]


def test_a_csv_cell_may_be_as_long_as_a_book(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text(f'prompt\n"{"long " * 40_000}"\n')

    ((_, value),) = read_values(path, None)

    assert len(value) == 200_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.txt", "hello"),
        ("rows.jsonl", '{"prompt": "hello"}'),
        ("rows.json", '[{"prompt": "hello"}]'),
        ("rows.csv", "prompt\nhello"),
        ("rows.txt.gz", "hello"),
    ],
)
def test_a_mark_of_byte_order_is_no_part_of_the_first_prompt(tmp_path: Path, name: str, text: str):
    path = tmp_path / name
    written = b"\xef\xbb\xbf" + text.encode()
    path.write_bytes(gzip.compress(written) if name.endswith(".gz") else written)

    assert list(read_values(path, None)) == [(1, "hello")]


def parquet_of(path: Path) -> bytes:
    rows = [{"prompt": f"prompt {number} {number * 7919}"} for number in range(3000)]
    parquet = untyped("pyarrow.parquet")
    parquet.write_table(untyped("pyarrow").Table.from_pylist(rows), path, row_group_size=500)
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["cut short", "not gzip", "wrong inside"])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, damage: str):
    path = tmp_path / "rows.txt.gz"
    whole = gzip.compress(b"".join(b"prompt %d\n" % number for number in range(3000)))
    broken = {
        "cut short": whole[:2000],
        "not gzip": b"hello\n",
        "wrong inside": whole[:1000] + b"\x00" * 100 + whole[1100:],
    }
    path.write_bytes(broken[damage])

    with pytest.raises(InputError, match=r"rows\.txt\.gz: cannot be read: "):
        list(read_values(path, None))


@pytest.mark.parametrize("damage", ["cut short", "a page wrong"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: str):
    path = tmp_path / "rows.parquet"
    whole = parquet_of(path)
    broken = whole[:-20] if damage == "cut short" else whole[:9000] + b"\xff" * 500 + whole[9500:]
    path.write_bytes(broken)

    with pytest.raises(InputError, match=r"rows\.parquet: is not a Parquet file that can be read"):
        list(read_values(path, None))


def test_a_data_set_that_is_damaged_further_on_is_named(tmp_path: Path):
    path = tmp_path / "set" / "train.parquet"
    path.parent.mkdir()
    whole = parquet_of(path)
    path.write_bytes(whole[:9000] + b"\xff" * 500 + whole[9500:])

    with pytest.raises(InputError, match="set: cannot be read as a data set: "):
        list(read_prompts(PromptSet(kind="harmful", dataset=str(path.parent)), seed=0))


def test_an_unreadable_row_is_counted_and_the_others_are_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "one"}\n{"prompt": 2}\n{"prompt": "three"}\n')

    first, second, third = prompts_of(path)

    assert isinstance(first, Prompt) and isinstance(third, Prompt)
    assert second == Unreadable("rows.jsonl", 2, "is int, not a text or a list of messages")


def test_the_source_of_a_prompt_never_holds_a_folder(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("How do I bake bread?\n")

    (prompt,) = prompts_of(path)

    assert prompt.source == "mine.txt"


def test_a_prompt_set_has_exactly_one_source():
    with pytest.raises(ValueError, match="exactly one of microworld, file and dataset; met none"):
        PromptSet(kind="harmful")


def test_human_pairs_with_different_beginnings_are_left_out_with_their_reason(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"chosen": "\n\nHuman: a\n\nAssistant: yes", "rejected": "\n\nHuman: a\n\nAssistant: no"},
        {"chosen": "\n\nHuman: a\n\nAssistant: yes", "rejected": "\n\nHuman: b\n\nAssistant: no"},
    ]
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))

    good, bad = read_pairs(PairSet(file=path), seed=0)

    assert isinstance(good, Comparison)
    assert (good.response_a, good.response_b, good.p_a) == ("yes", "no", 1.0)
    assert bad == Unreadable("pairs.jsonl", 2, "chosen and rejected differ before the last turn")


def test_pairs_with_a_prompt_column_hold_replies_alone(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(orjson.dumps({"prompt": "How?", "chosen": "So.", "rejected": "No."}))

    (pair,) = read_pairs(PairSet(file=path), seed=0)

    assert isinstance(pair, Comparison)
    assert pair.prompt.messages == (Message("user", "How?"),)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data files are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("red-instruct/dangerousqa.json", 200),
        ("red-instruct/harmfulqa.json", 1960),
        ("red-instruct/catqa_english.json", 550),
        ("xstest/xstest_prompts.csv", 450),
        ("self-instruct/seed_tasks.jsonl", 175),
    ],
)
def test_real_prompt_files_read_whole(name, count):
    read = prompts_of(REAL / name)

    assert len(read) == count
    assert all(isinstance(prompt, Prompt) for prompt in read)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data files are not beside this checkout")
def test_real_transcripts_whose_turns_do_not_alternate_are_left_out_with_their_reason():
    read = prompts_of(REAL / "hh-rlhf/harmless-base-1800.jsonl.gz")

    left_out = [row for row in read if isinstance(row, Unreadable)]
    assert len(read) == 1800
    assert [row.row for row in left_out if "should speak" in row.reason] == [
        row.row for row in left_out
    ]
    assert 0 < len(left_out) < 10


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data files are not beside this checkout")
def test_real_human_pairs_read_but_for_a_few_with_reasons():
    pairs = list(read_pairs(PairSet(file=REAL / "hh-rlhf/harmless-base-1800.jsonl.gz"), seed=0))

    left_out = [pair for pair in pairs if isinstance(pair, Unreadable)]
    assert len(pairs) == 1800
    assert len(left_out) < 20


def test_each_row_says_itself_of_what_kind_its_prompt_is(tmp_path: Path):
    path = tmp_path / "xstest.csv"
    path.write_text("prompt,label\nHow do I kill a job?,safe\nHow do I kill?,unsafe\nWho?,odd\n")
    kinds: dict[str, Any] = {"safe": "harmless", "unsafe": "harmful"}
    named = PromptSet(file=path, kind_column="label", kinds=kinds)

    safe, unsafe, odd = read_prompts(named, seed=0)

    assert [one.kind for one in (safe, unsafe) if isinstance(one, Prompt)] == [
        "harmless",
        "harmful",
    ]
    assert isinstance(odd, Unreadable)
    assert "label is 'odd', none of" in odd.reason


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give either kind"),
        ({"kind": "harmful", "kind_column": "label"}, "give either kind"),
        ({"kind": "harmful", "kinds": {"safe": "harmless"}}, "give kind_column too"),
    ],
)
def test_a_prompt_set_has_one_way_to_a_kind(keys: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        PromptSet.model_validate({"file": "prompts.csv", **keys})
