"""`cai rows` tells how a row ended and what led to it, word for word."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from cai.cli.rows import app
from cai.engine import BoughtModel, Ledger, Tally
from cai.errors import CaiError, RunError
from cai.records import Completion, Message, Row, RowKey, Sampling, Usage, Weighed


class PoliteModel:
    """Answers in markup, as a model may."""

    identity = "scripted:polite"

    async def complete(self, messages, sampling):
        return Completion("[bold]No[/bold], thank you", "stop", Usage(7, 4), "polite-1")

    async def weigh(self, messages, options):
        return Weighed((-0.25, -1.5), 0.99, "exact", Usage(9, 1), "polite-1")

    async def close(self):
        pass


@pytest.fixture
def run(tmp_path: Path) -> Path:
    asyncio.run(write(tmp_path))
    return tmp_path


async def write(folder: Path) -> None:
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        model = BoughtModel(PoliteModel(), ledger, tally=Tally())
        messages = (Message("system", "Be [i]kind[/i]."), Message("user", "Steal a bike?"))
        reply = await model.complete(messages, Sampling(seed=5))
        verdict = await model.weigh(messages, ("A", "B"))
        first = RowKey("revision", "3f9a", 1)
        await ledger.put_rows(
            [
                Row(first, "ok", "", {"text": reply.text}, (reply.call,)),
                Row(RowKey("revision", "3f9a", 2), "refused", "the [critic] declined"),
                Row(RowKey("comparison", "77aa"), "ok", "", {"p_a": 0.75}, (verdict.call,)),
                Row(RowKey("comparison", "77aa", iteration=1), "filtered", "identical"),
            ]
        )


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_counts_rows_and_names_each_with_its_reason(run):
    shown = said("list", str(run))

    assert shown.splitlines()[-4:] == [
        "comparison/77aa/0/0  ok",
        "1:comparison/77aa/0/0  filtered  identical",
        "revision/3f9a/1/0  ok",
        "revision/3f9a/2/0  refused  the [critic] declined",
    ]
    assert [word for word in shown.splitlines()[3].split() if word.isalnum()] == (
        ["comparison", "1", "0", "0", "0", "0", "1"]
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--stage", "revision"], ["revision/3f9a/1/0", "revision/3f9a/2/0"]),
        (["--status", "refused"], ["revision/3f9a/2/0"]),
        (["--status", "refused,filtered"], ["1:comparison/77aa/0/0", "revision/3f9a/2/0"]),
        (["--limit", "1"], ["comparison/77aa/0/0"]),
        (["--limit", "0"], []),
    ],
)
def test_list_can_be_narrowed(run, options, names):
    lines = said("list", str(run), *options).splitlines()

    assert [line.split()[0] for line in lines if "/" in line] == names


def test_an_unknown_status_is_answered_with_the_known_ones(run):
    with pytest.raises(CaiError, match="no row ends as 'fine'; choose from ok, refused"):
        said("list", str(run), "--status", "fine")


def test_an_unknown_stage_is_answered_with_those_of_the_run(run):
    with pytest.raises(CaiError, match="no rows of stage 'revise'; choose from comparison, rev"):
        said("list", str(run), "--stage", "revise")


def test_rows_beyond_the_limit_are_counted(run):
    assert said("list", str(run), "--limit", "1").splitlines()[-1] == (
        "3 more are not listed; --limit N lists N, --json all"
    )


def test_list_gives_machines_every_row_whole(run):
    lines = [json.loads(line) for line in said("list", str(run), "--json").splitlines()]

    assert [line["name"] for line in lines] == [
        "comparison/77aa/0/0",
        "1:comparison/77aa/0/0",
        "revision/3f9a/1/0",
        "revision/3f9a/2/0",
    ]
    assert lines[1]["iteration"] == 1
    assert lines[3].items() >= {"status": "refused", "reason": "the [critic] declined"}.items()
    assert (lines[0]["record"], len(lines[0]["calls"])) == ({"p_a": 0.75}, 1)


async def test_rows_are_listed_as_they_are_read_however_many_there_are(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, number in ((few, 1_000), (many, 60_000)):
        folder.mkdir()
        with Ledger.open(folder / "ledger.sqlite") as ledger:
            rows = (RowKey("response", f"{n:08}") for n in range(number))
            record = {"text": "word " * 200}
            await ledger.put_rows(
                Row(key, "ok" if n % 3 else "error", "", record) for n, key in enumerate(rows)
            )

    small, large = peak_of_listing(few), peak_of_listing(many)

    assert (small.lines, large.lines) == (1_000, 60_000)
    assert large.peak < 1.3 * small.peak


class Listing(NamedTuple):
    lines: int
    peak: int


def peak_of_listing(run: Path) -> Listing:
    """Lines of a listing of every row, and the most memory of its process, in KiB."""
    code = (
        "import atexit, re, sys; from pathlib import Path; from cai.cli import main\n"
        "status = Path('/proc/self/status')\n"
        "peak = lambda: re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1]\n"
        "atexit.register(lambda: sys.stderr.write(peak()))\n"
        "main()"
    )
    arguments = ["rows", "list", str(run), "--json", "--status", "ok,error"]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Listing(done.stdout.count("\n"), int(done.stderr))


def test_show_gives_record_and_exact_messages_and_answer(run):
    shown = said("show", str(run), "revision/3f9a/1")

    assert '"text": "[bold]No[/bold], thank you"' in shown
    assert "[system]\nBe [i]kind[/i].\n[user]\nSteal a bike?\n" in shown
    assert "[answer, stop]\n[bold]No[/bold], thank you\n" in shown
    assert "complete by scripted:polite, 7 tokens in, 4 out" in shown


def test_show_gives_log_probabilities_as_they_came(run):
    shown = said("show", str(run), "comparison/77aa")

    answered = next(line for line in shown.splitlines() if line.startswith("answered with"))
    assert json.loads(answered.removeprefix("answered with "))["logprobs"] == [-0.25, -1.5]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("3f", 2),
        ("revision/3f9a", 2),
        ("revision/3f9a/2", 1),
        ("revision/3f9a/2/0", 1),
        ("comparison/7", 2),
        ("1:comparison/77aa", 1),
        ("0:comparison/77aa", 1),
    ],
)
def test_a_row_is_named_by_as_much_as_is_needed(run, name, count):
    assert said("show", str(run), name).count("── ") == count


def test_a_row_that_is_not_there_is_refused_with_the_way_to_find_one(run):
    with pytest.raises(RunError, match="has no row 'revision/3f9a/9'"):
        said("show", str(run), "revision/3f9a/9")
