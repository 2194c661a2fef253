"""Writes that are asked for together reach the disk together, in order, and fail alone."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cai.engine.writer import MOST_ROWS, Insert, Writer
from cai.errors import RunError

NUMBERS = Insert(
    "numbers",
    2,
    "ON CONFLICT (number) DO NOTHING",
    refusal=lambda row: ValueError(f"the number {row[0]} is there"),
)
WORDS = Insert("words", 1, "ON CONFLICT (word) DO NOTHING")


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(tmp_path / "file.sqlite", isolation_level=None, check_same_thread=False)
    made.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY NOT NULL, note TEXT)")
    made.execute("CREATE TABLE words (word TEXT PRIMARY KEY NOT NULL)")
    return made


@pytest.fixture
def writer(connection: sqlite3.Connection, tmp_path: Path):
    writer = Writer(connection, tmp_path / "file.sqlite")
    yield writer
    writer.close()


def stored(tmp_path: Path, table: str) -> list[tuple]:
    with closing(sqlite3.connect(tmp_path / "file.sqlite")) as other:
        return other.execute(f"SELECT * FROM {table}").fetchall()


@pytest.mark.parametrize("count", [0, 1, 2, 3, MOST_ROWS, MOST_ROWS + 1, 300])
async def test_any_number_of_rows_is_written_as_given(writer, tmp_path, count):
    rows = [(number, None if number % 2 else f"{number / 3}") for number in range(count)]

    await writer.insert(NUMBERS, rows)

    assert stored(tmp_path, "numbers") == rows


async def test_rows_of_one_moment_take_few_statements(writer, connection):
    statements: list[str] = []
    connection.set_trace_callback(statements.append)

    await asyncio.gather(*(writer.insert(NUMBERS, [(number, "")]) for number in range(100)))

    assert len(statements) <= 5


async def test_a_row_that_is_there_is_refused_alone_and_may_be_left_out_elsewhere(writer, tmp_path):
    await asyncio.gather(writer.insert(NUMBERS, [(1, "old")]), writer.insert(WORDS, [("yes",)]))

    puts = [writer.insert(NUMBERS, [(number, "new")]) for number in (0, 1, 2)]
    ends = await asyncio.gather(*puts, writer.insert(WORDS, [("yes",)]), return_exceptions=True)

    assert [str(end) for end in ends] == ["None", "the number 1 is there", "None", "None"]
    assert stored(tmp_path, "numbers") == [(0, "new"), (1, "old"), (2, "new")]


async def test_an_action_sees_the_rows_asked_for_before_it_and_none_after(writer):
    def count(connection: sqlite3.Connection) -> int:
        return connection.execute("SELECT count(*) FROM numbers").fetchone()[0]

    before = writer.insert(NUMBERS, [(1, ""), (2, "")])
    counted = writer.submit(count)
    after = writer.insert(NUMBERS, [(3, "")])

    assert await counted == 2
    await asyncio.gather(before, after)


async def test_an_action_that_refuses_spoils_no_other_write_of_its_commit(writer, tmp_path):
    def refuse(connection: sqlite3.Connection) -> None:
        raise ValueError("no such thing")

    writes = [writer.insert(NUMBERS, [(1, "")]), writer.submit(refuse)]
    ends = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(end) for end in ends] == [type(None), ValueError]
    assert stored(tmp_path, "numbers") == [(1, "")]


async def test_a_fault_of_the_file_undoes_the_whole_commit(writer, tmp_path):
    missing = Insert("missing", 1, "")

    writes = [writer.insert(NUMBERS, [(1, "")]), writer.insert(missing, [("x",)])]
    ends = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(end) for end in ends] == [RunError, RunError]
    assert stored(tmp_path, "numbers") == []


async def test_a_closed_writer_takes_no_more(writer):
    writer.close()

    with pytest.raises(RunError, match="closed"):
        writer.insert(WORDS, [("late",)])
