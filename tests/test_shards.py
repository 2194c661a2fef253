"""Slices of the prompts are worked on apart and joined; other runs' calls count as bought."""

import hashlib
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.datasets.parquet import folder_hash
from cai.engine import Ledger
from cai.errors import CaiError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.merging import merge_runs
from cai.pipeline.reruns import KeptSettings, RerunFile, read_reruns, write_reruns
from cai.recipe import load_recipe
from cai.records import Message, RowKey
from cai.splits import Shard, purpose_of, read_shard
from tests.processes import running

SHARDS = 3


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
    generate = ("run", served.recipe, "--until", "preferences")
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    with ExitStack() as started:
        processes = [
            started.enter_context(
                running(command, cwd=folder, stdout=quiet, stderr=pipe, text=True)
            )
            for number in range(1, SHARDS + 1)
            if (command := served.cai(*generate, "--shard", f"{number}/{SHARDS}"))
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
