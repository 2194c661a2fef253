"""Slices of the prompts are worked on apart and joined; other runs' calls count as bought."""

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.datasets.parquet import folder_hash
from cai.engine import Ledger, StoredCall, codec
from cai.engine.merge import Joined, merge_ledgers
from cai.errors import CaiError, RunError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.merging import merge_runs
from cai.pipeline.reruns import KeptSettings, RerunFile, read_reruns, write_reruns
from cai.recipe import load_recipe
from cai.records import Message, Row, RowKey, Usage
from cai.splits import Shard, purpose_of, read_shard

SHARDS = 3
CALL = StoredCall("k1", "complete", "m", "{}", '{"text": "yes"}', Usage(3, 2), 0.5, 1000.0)
ROW = Row(RowKey("response", "p1"), "ok", "", {"text": "yes"}, ("k1",))


def messages(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


@given(st.text(), st.integers(1, 1000))
def test_every_prompt_is_in_exactly_one_slice(text, count):
    holding = [n for n in range(1, count + 1) if Shard(n, count).holds(messages(text))]

    assert len(holding) == 1


def test_slices_are_of_about_one_size_and_cut_across_the_purposes():
    prompts = [messages(f"prompt {number}") for number in range(6000)]

    for number in range(1, 4):
        held = [prompt for prompt in prompts if Shard(number, 3).holds(prompt)]
        assert len(held) == pytest.approx(2000, rel=0.07)
        sft = sum(purpose_of(prompt, 0.5) == "sft" for prompt in held)
        assert sft == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "one/two", "½/2"])
def test_what_names_no_slice_is_refused_with_an_example(text):
    with pytest.raises(CaiError, match=r"is no shard; write I/N with I from 1 to N, such as 1/4"):
        read_shard(text)


def cai(served, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(served.cai(*arguments), capture_output=True, text=True)


@pytest.fixture(scope="module")
def whole(served, tmp_path_factory) -> Path:
    """One run over all prompts, not by slices."""
    run = tmp_path_factory.mktemp("whole") / "run"
    run_recipe(load_recipe(served.recipe), RunFolder(run), steps=("revisions", "preferences"))
    return run


@pytest.fixture(scope="module")
def shards(served, whole, tmp_path_factory) -> list[Path]:
    """One run for each slice, made at the same time by processes of their own."""
    folder = tmp_path_factory.mktemp("shards")
    asked = served.answers()
    generate = ("generate", "comparisons", served.recipe)
    processes = [
        subprocess.Popen(
            served.cai(*generate, "--shard", f"{number}/{SHARDS}"),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(1, SHARDS + 1)
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert served.answers() - asked == calls_in(whole)
    return [folder / f"runs/served-shard-{n}-of-{SHARDS}" for n in range(1, SHARDS + 1)]


@pytest.fixture
def copies(shards, tmp_path) -> list[Path]:
    """The same runs, to be changed."""
    return [shutil.copytree(shard, tmp_path / shard.name) for shard in shards]


def calls_in(run: Path) -> int:
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        return ledger.call_count()


def files_of(runs: Sequence[Path]) -> dict[Path, str]:
    paths = [path for run in runs for path in run.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_joined_slices_go_on_without_a_call_and_give_the_data_of_one_run(
    served, whole, shards, tmp_path
):
    before, answers, out = files_of(shards), served.answers(), tmp_path / "all"

    merged = cai(served, "runs", "merge", out, *shards)
    joined = calls_in(out)
    recipe = load_recipe(served.recipe)
    figures = run_recipe(recipe, RunFolder(out), steps=("revisions", "preferences"))

    assert merged.returncode == 0, merged.stderr
    assert f"go on with: cai run {out}/recipe.yaml --run {out}" in merged.stdout
    assert joined == calls_in(whole)
    assert figures["calls"]["made"] == 0
    assert served.answers() == answers
    assert folder_hash(out / "datasets") == folder_hash(whole / "datasets")
    assert files_of(shards).items() >= before.items()


def test_the_command_that_a_merge_names_goes_on_from_there(served, shards, tmp_path):
    out = tmp_path / "all"
    cai(served, "runs", "merge", out, *shards)
    answers = served.answers()

    went_on = cai(served, "run", out / "recipe.yaml", "--run", out, "--until", "revisions")

    assert went_on.returncode == 0, went_on.stderr
    assert served.answers() == answers


def test_the_slices_that_a_merge_lacks_are_named_and_bought_by_going_on(
    served, whole, shards, tmp_path
):
    out, answers = tmp_path / "two", served.answers()

    merged = cai(served, "runs", "merge", out, shards[0], shards[2])
    missing = calls_in(whole) - calls_in(out)
    run_recipe(load_recipe(served.recipe), RunFolder(out), steps=("revisions", "preferences"))

    assert "not among them: shard 2/3" in merged.stdout
    assert served.answers() - answers == missing > 0
    assert folder_hash(out / "datasets") == folder_hash(whole / "datasets")


def test_slices_made_with_other_workers_are_joined(served, copies, tmp_path):
    text = (copies[1] / "recipe.yaml").read_text()
    (copies[1] / "recipe.yaml").write_text(text.replace("in_flight: 8", "in_flight: 99"))

    assert cai(served, "runs", "merge", tmp_path / "all", *copies).returncode == 0


def test_runs_of_different_recipes_are_not_joined_and_the_difference_is_named(
    served, copies, tmp_path
):
    text = (copies[1] / "recipe.yaml").read_text()
    (copies[1] / "recipe.yaml").write_text(text.replace("rounds: 4", "rounds: 3"))

    merged = cai(served, "runs", "merge", tmp_path / "all", *copies)

    assert merged.returncode == 1
    assert "are no shards of one run: revisions.rounds is 4 and 3" in merged.stderr
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("what", ["constitution", "template"])
def test_runs_under_different_texts_are_not_joined(served, copies, tmp_path, what):
    metrics = RunFolder(copies[2]).read_metrics()
    changed = metrics["run"]["constitution"] if what == "constitution" else metrics["run"]
    name = "hash" if what == "constitution" else "templates"
    changed[name] = "another" if what == "constitution" else {"revise": "another"}
    RunFolder(copies[2]).write_metrics(metrics)

    merged = cai(served, "runs", "merge", tmp_path / "all", *copies)

    assert merged.returncode == 1
    assert f"are no shards of one run: {what}" in merged.stderr


def test_a_row_that_two_runs_made_differently_is_named(served, copies, tmp_path):
    with closing(sqlite3.connect(copies[0] / "ledger.sqlite")) as ledger, ledger:
        place = ledger.execute("SELECT stage, prompt_id FROM rows LIMIT 1").fetchone()
    other = shutil.copytree(copies[0], tmp_path / "other")
    with closing(sqlite3.connect(other / "ledger.sqlite")) as ledger, ledger:
        statement = "UPDATE rows SET status = 'error', reason = 'no answer' WHERE stage = ?"
        ledger.execute(f"{statement} AND prompt_id = ?", place)

    merged = cai(served, "runs", "merge", tmp_path / "all", *copies, other)

    assert merged.returncode == 1
    assert f"{other}/ledger.sqlite made the row {'/'.join(place)}/" in merged.stderr
    assert "(error) differently from a run named before it (ok)" in merged.stderr
    assert not (tmp_path / "all/ledger.sqlite").exists()


def test_what_reruns_have_set_for_single_rows_holds_in_the_merged_run(copies, tmp_path):
    kept = [
        KeptSettings(settings=(f"seed={number}",), rows=(RowKey("response", f"p{number}"),))
        for number in range(2)
    ]
    for run, settings in zip(copies, kept, strict=False):
        write_reruns(RerunFile(kept=(settings,)), RunFolder(run).reruns)

    merge_runs(tmp_path / "all", copies)

    assert read_reruns(RunFolder(tmp_path / "all").reruns).kept == tuple(kept)


def test_a_folder_that_holds_a_run_is_not_merged_into(served, shards, copies):
    (copies[0] / "ledger.lock").unlink()
    before = files_of(copies)

    merged = cai(served, "runs", "merge", copies[0], *shards)

    assert merged.returncode == 1
    assert f"{copies[0]}/ledger.sqlite is there already; name a new folder" in merged.stderr
    assert files_of(copies).items() >= before.items()


def test_a_run_that_is_being_written_to_is_not_merged(served, copies, tmp_path):
    with Ledger.open(copies[1] / "ledger.sqlite"):
        merged = cai(served, "runs", "merge", tmp_path / "all", *copies)

    assert merged.returncode == 1
    assert f"{copies[1]} is in use by process" in merged.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--until", "evaluate"), "splits generation only"),
        (("--until", "sft"), "splits generation only"),
        (("--until", "preferences", "--set", "comparisons.responder=sl_cai"), "cannot make compar"),
        (("--until", "revisions", "--shard", "4/3"), "'4/3' is no shard"),
    ],
)
def test_a_slice_is_refused_where_it_cannot_be_done_alone(served, tmp_path, arguments, reason):
    run = tmp_path / "run"
    command = ("run", served.recipe, "--run", run, "--shard", "1/3", *arguments)

    refused = cai(served, *command)

    assert refused.returncode == 1
    assert reason in refused.stderr
    assert not run.exists()


def test_a_slice_without_prompts_is_a_run_without_rows(served, tmp_path):
    run = tmp_path / "run"
    empty = Shard(1, 100_000)

    run_recipe(load_recipe(served.recipe), RunFolder(run), steps=("revisions",), shard=empty)

    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.counts() == {}


def test_another_runs_calls_are_not_bought_again_and_it_is_not_written_to(
    served, whole, shards, tmp_path
):
    before, answers, run = files_of(shards), served.answers(), tmp_path / "run"
    reuse = [word for shard in shards for word in ("--reuse", shard)]

    reused = subprocess.run(served.generate(run, *reuse), capture_output=True, text=True)

    assert reused.returncode == 0, reused.stderr
    assert served.answers() == answers
    assert folder_hash(run / "datasets") == folder_hash(whole / "datasets")
    assert calls_in(run) == calls_in(whole)
    assert files_of(shards).items() >= before.items()


def test_a_folder_to_reuse_that_holds_no_run_is_refused(served, tmp_path):
    command = ("run", served.recipe, "--run", tmp_path / "run", "--reuse", tmp_path)

    refused = cai(served, *command)

    assert refused.returncode == 1
    assert f"{tmp_path} holds no run" in refused.stderr


async def ledger_with(path: Path, *, calls: Sequence[StoredCall] = (), rows: Sequence[Row] = ()):
    with Ledger.open(path) as ledger:
        for call in calls:
            await ledger.put_call(call)
        await ledger.put_rows(rows, await ledger.begin_sweep())
    return path


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_answers_to_one_call_the_earlier_is_kept(tmp_path, order):
    late = replace(CALL, response='{"text": "no"}', created=2000.0)
    sources = [
        await ledger_with(tmp_path / "one.sqlite", calls=[CALL]),
        await ledger_with(tmp_path / "two.sqlite", calls=[late, replace(late, key="k2")]),
    ]

    joined = merge_ledgers(tmp_path / "new.sqlite", [sources[number] for number in order])

    assert joined == Joined(calls=2, rows=0)
    with Ledger.open(tmp_path / "new.sqlite") as ledger:
        assert ledger.call("k1") == CALL


async def test_a_row_that_two_runs_made_alike_is_one_row_and_can_be_made_again(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", rows=[ROW])
    two = await ledger_with(tmp_path / "two.sqlite", rows=[ROW])

    joined = merge_ledgers(tmp_path / "new.sqlite", [one, two])

    assert joined == Joined(calls=0, rows=1)
    with Ledger.open(tmp_path / "new.sqlite") as ledger:
        await ledger.put_row(ROW, await ledger.begin_sweep())
        assert list(ledger.rows()) == [ROW]


async def test_what_a_dead_merge_left_behind_is_thrown_away(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", calls=[CALL])
    (tmp_path / "new.sqlite.new").write_bytes(b"half a ledger")

    assert merge_ledgers(tmp_path / "new.sqlite", [one]) == Joined(calls=1, rows=0)
    assert not (tmp_path / "new.sqlite.new").exists()


async def test_a_log_of_a_ledger_that_is_gone_spoils_no_merge(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", calls=[CALL])
    (tmp_path / "new.sqlite-wal").write_bytes(b"of another ledger")

    with pytest.raises(RunError, match=r"new\.sqlite-wal is there already"):
        merge_ledgers(tmp_path / "new.sqlite", [one])


async def test_calls_of_another_key_version_are_joined_and_counted_once(tmp_path, monkeypatch):
    old = replace(CALL, request='{"version":1}')
    one = await ledger_with(tmp_path / "one.sqlite", calls=[old])
    two = await ledger_with(tmp_path / "two.sqlite", calls=[old, replace(old, key="k2")])
    monkeypatch.setattr(codec, "KEY_VERSION", 2)
    new = replace(CALL, key="k3", request='{"version":2}')
    three = await ledger_with(tmp_path / "three.sqlite", calls=[new])

    merge_ledgers(tmp_path / "new.sqlite", [one, two, three])

    with Ledger.open(tmp_path / "new.sqlite") as ledger:
        assert ledger.call_count() == 3
        assert ledger.calls_of_other_keys() == 2


async def test_a_damaged_run_is_named_and_nothing_is_left(tmp_path):
    one = await ledger_with(tmp_path / "one.sqlite", calls=[CALL])
    (tmp_path / "two.sqlite").write_text("no database at all, but long enough for one" * 20)

    with pytest.raises(RunError, match=r"two\.sqlite is no ledger, or is damaged"):
        merge_ledgers(tmp_path / "new.sqlite", [one, tmp_path / "two.sqlite"])

    assert not (tmp_path / "new.sqlite").exists()
    assert not (tmp_path / "new.sqlite.new").exists()


MERGE = """
import resource, sys
from pathlib import Path
from cai.engine.merge import merge_ledgers

folder = Path(sys.argv[1])
merge_ledgers(folder / "new.sqlite", sorted(folder.glob("run-*.sqlite")))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def fill(path: Path, name: str, count: int) -> None:
    """Write calls and rows of about 5 kB each pair, as fast as SQLite takes them."""
    Ledger.open(path).close()
    keys = [hashlib.sha256(f"{name} {number}".encode()).hexdigest()[:32] for number in range(count)]
    calls = ((key, "complete", "m", "x" * 3400, "{}", 1, 1, 0.0, 0.0) for key in keys)
    rows = (("response", 0, key, 0, 0, "ok", "", "y" * 900, "[]", 1) for key in keys)
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.executemany(f"INSERT INTO calls VALUES ({', '.join('?' * 9)})", calls)
        ledger.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * 10)})", rows)


@pytest.mark.slow
def test_a_merge_takes_as_much_memory_for_five_times_the_calls(tmp_path):
    peaks = []
    for count in (10_000, 50_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for name in ("run-1", "run-2"):
            fill(folder / f"{name}.sqlite", name, count)
        command = [sys.executable, "-c", MERGE, str(folder)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True).stdout))

    assert peaks[1] <= 1.2 * peaks[0]
