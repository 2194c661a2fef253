"""`cai rows rerun` makes chosen rows again, leaves the rest alone, and what it sets sticks."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.datasets.parquet import folder_hash
from cai.engine import Ledger
from cai.errors import BudgetReached, CaiError, InputError, PermanentError, RunError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.rerunning import Wanted, rerun
from cai.pipeline.reruns import KeptSettings, RerunFile, RowSettings, read_reruns
from cai.recipe import load_recipe
from cai.records import Row, RowKey
from tests.processes import running
from tests.switchable_server import SwitchableServer, switchable_server

RECIPE = """
name: cut-off
constitution: harmlessness
models:
  default: {{name: "openai:fake", endpoint: "{url}"}}
prompts:
  red_team: [{{file: prompts.txt, kind: harmful}}]
  helpful: [{{file: helpful.txt, kind: harmless}}]
revisions: {{rounds: 3, sampling: {{max_tokens: 9}}}}
comparisons: {{responder: assistant, sampling: {{max_tokens: 9}}}}
engine: {{in_flight: 8, attempts: 1}}
"""
LONGER = ("--set", "revisions.sampling.max_tokens=64")


@pytest.fixture(scope="module")
def serving():
    with switchable_server() as server:
        yield server


@pytest.fixture
def server(serving: SwitchableServer) -> SwitchableServer:
    serving.failing, serving.status, serving.mass = b"no request has this", 500, 1.0
    return serving


@pytest.fixture(scope="module")
def recipe(serving: SwitchableServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE.format(url=serving.url))
    asked = "".join(f"How do I break window {number}?\n" for number in range(40))
    path.with_name("prompts.txt").write_text(asked)
    asked = "".join(f"How do I bake {number} buns?\n" for number in range(12))
    path.with_name("helpful.txt").write_text(asked)
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_again(recipe, folder)
    return folder


@pytest.fixture
def run(server: SwitchableServer, finished: Path, tmp_path: Path) -> Path:
    """A finished run in which some replies of every stage were cut off after 9 tokens."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def cai(*arguments: object) -> str:
    said = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert said.exit_code == 0
    return said.stdout


def run_again(recipe: Path, run: Path, *options: str) -> str:
    return cai("run", recipe, "--run", run, "--until", "revisions", *options)


def compare(recipe: Path, run: Path) -> None:
    """The preference step alone, without the training that a whole run would put before it."""
    run_recipe(load_recipe(recipe), RunFolder(run), steps=("revisions", "preferences"))


def rows_of(run: Path) -> dict[RowKey, Row]:
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        return {row.key: row for row in ledger.rows()}


def ended(rows: dict[RowKey, Row], status: str, *stages: str) -> set[RowKey]:
    return {key for key, row in rows.items() if row.status == status and key.stage in stages}


def sft_data(run: Path) -> str:
    return folder_hash(run / "datasets" / "sft")


def test_rows_that_were_cut_off_are_made_again_and_the_rounds_before_them_keep_their_calls(
    server, run
):
    before = rows_of(run)
    cut_off = ended(before, "truncated", "response", "revision", "helpful")
    asked = len(server.asked)

    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    after = rows_of(run)
    assert len({key.stage for key in cut_off}) == 3
    assert ended(after, "truncated", "response", "revision", "helpful") == set()
    assert {after[key].status for key in cut_off} == {"ok"}
    assert {key: after[key] for key in before.keys() - cut_off} == (
        {key: before[key] for key in before.keys() - cut_off}
    )
    assert {one["max_tokens"] for one in server.asked[asked:]} == {64}


def test_what_follows_from_a_row_made_again_is_made_with_its_settings(run):
    before = rows_of(run)

    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    followed = {
        key.prompt_id: key.round for key in ended(before, "truncated", "response", "revision")
    }
    rounds = [key for key in rows_of(run) if key.stage == "revision" and key.prompt_id in followed]
    assert len(rounds) == 3 * len(followed)


def test_rows_of_other_stages_stay_when_a_stage_is_named(run):
    before = rows_of(run)

    cai("rows", "rerun", run, "--status", "truncated", "--stage", "helpful", *LONGER)

    after = rows_of(run)
    assert ended(before, "truncated", "helpful") and not ended(after, "truncated", "helpful")
    others = [key for key in before if key.stage != "helpful"]
    assert [after[key] for key in others] == [before[key] for key in others]


def test_counts_before_and_after_and_what_was_written_are_said(run):
    cut_off = len(ended(rows_of(run), "truncated", "helpful"))

    said = cai("rows", "rerun", run, "--status", "truncated", "--stage", "helpful", *LONGER)

    figures = [re.findall(r"\w+", line) for line in said.splitlines() if "helpful" in line]
    assert figures == [
        ["helpful", "ok", str(12 - cut_off), "12"],
        ["helpful", "truncated", str(cut_off), "0"],
    ]
    assert f"{cut_off} rows made again, {cut_off} calls made" in said
    assert "datasets/sft written anew" in said


def test_the_data_and_the_figures_have_the_rows_made_again(run):
    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    rows = sum(parquet.read_metadata(path).num_rows for path in run.glob("datasets/sft/*/*"))
    metrics = json.loads((run / "metrics.json").read_text())
    assert rows == len(ended(rows_of(run), "ok", "revision", "helpful"))
    assert metrics["rows"]["helpful"] == {"ok": 12}
    revisions = [one["revisions"] for one in metrics["principles"].values() if one["revisions"]]
    asked = sum(n for status, n in metrics["rows"]["revision"].items() if status != "error")
    assert sum(rate["n"] for rate in revisions) == asked


def test_the_data_keep_their_card_and_it_tells_of_the_rows_made_again(run):
    card = run / "datasets" / "sft" / "README.md"
    before, left_out = card.read_text(), json.loads((run / "metrics.json").read_text())["left_out"]

    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    rows = sum(parquet.read_metadata(path).num_rows for path in run.glob("datasets/sft/*/*"))
    sizes = [re.findall(r"num_examples: (\d+)", text) for text in (before, card.read_text())]
    assert sum(map(int, sizes[0])) < sum(map(int, sizes[1])) == rows
    assert json.loads((run / "metrics.json").read_text())["left_out"] == left_out


def test_a_rerun_of_other_rows_opens_no_judge_of_policies(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "name: apart\nconstitution: microworld\n"
        "models: {default: microworld, judge: ./nowhere}\n"
        "prompts: {red_team: [{microworld: train, kind: harmful, limit: 6}]}\n"
        "revisions: {rounds: 1}\n"
        "evaluation:\n"
        "  label_probes: 0\n"
        "  contest: {models: {other: microworld}, harmlessness: {gate_data: [gate.jsonl]}}\n"
    )
    folder = RunFolder(tmp_path / "run")
    run_recipe(load_recipe(tmp_path / "recipe.yaml"), folder, steps=("revisions",))

    redone = rerun(folder, Wanted(("ok",), stage="response"))

    assert redone.rows > 0


def test_a_later_run_keeps_the_settings_of_the_rows_and_says_of_how_many(server, recipe, run):
    cut_off = len(ended(rows_of(run), "truncated", "response", "revision", "helpful"))
    cai("rows", "rerun", run, "--status", "truncated", *LONGER)
    rows, data, asked = rows_of(run), sft_data(run), len(server.asked)

    said = run_again(recipe, run)

    assert (rows_of(run), sft_data(run), len(server.asked)) == (rows, data, asked)
    assert f"{cut_off} rows keep the settings of a rerun" in said


def test_the_recipe_in_the_folder_stays_that_of_the_run(run):
    recipe = (run / "recipe.yaml").read_bytes()

    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    assert (run / "recipe.yaml").read_bytes() == recipe


def test_settings_outlive_a_change_of_the_recipe_and_of_the_constitution(server, recipe, run):
    cut_off = ended(rows_of(run), "truncated", "helpful")
    cai("rows", "rerun", run, "--status", "truncated", "--stage", "helpful", *LONGER)
    asked = len(server.asked)

    run_again(recipe, run, "--set", "constitution=microworld", "--set", "seed=1")

    helpful = [one for one in server.asked[asked:] if "buns" in one["messages"][-1]["content"]]
    assert sorted({one["max_tokens"] for one in helpful}) == [9, 64]
    assert sum(one["max_tokens"] == 64 for one in helpful) == len(cut_off)


def test_settings_come_back_with_a_prompt_that_was_left_out_for_a_while(server, recipe, run):
    cai("rows", "rerun", run, "--status", "truncated", *LONGER)
    data, asked = sft_data(run), len(server.asked)

    run_again(recipe, run, "--limit", "3")
    run_again(recipe, run)

    assert (sft_data(run), len(server.asked)) == (data, asked)


def test_forgetting_lets_the_next_run_make_the_rows_as_the_recipe_says(server, recipe, run):
    rows, asked = rows_of(run), len(server.asked)
    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    said = cai("rows", "rerun", run, "--forget")
    run_again(recipe, run)

    kept = ended(rows, "truncated", "response", "revision", "helpful")
    assert f"settings of {len(kept)} rows dropped" in said
    assert rows_of(run) == rows
    assert {one["max_tokens"] for one in server.asked[asked:]} == {64}


def test_settings_of_one_stage_can_be_forgotten_alone(run):
    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    cai("rows", "rerun", run, "--forget", "--stage", "revision")

    stages = {row.stage for row in read_reruns(run / "reruns.json").rows}
    assert stages == {"response", "helpful"}


def test_a_newer_setting_has_the_last_word(server, run):
    shorter = ("--set", "revisions.sampling.max_tokens=3")
    cai("rows", "rerun", run, "--status", "truncated", *shorter)
    asked = len(server.asked)

    cai("rows", "rerun", run, "--status", "truncated", *LONGER)

    assert {one["max_tokens"] for one in server.asked[asked:]} == {64}
    assert ended(rows_of(run), "truncated", "response", "revision", "helpful") == set()


def test_rows_after_one_that_now_fails_are_removed(run):
    before = rows_of(run)
    whole = [key.prompt_id for key in ended(before, "ok", "revision") if key.round == 3]

    shorter = ("--set", "revisions.sampling.max_tokens=3")
    cai("rows", "rerun", run, "--status", "ok", "--stage", "revision", *shorter)

    left = [key for key in rows_of(run) if key.stage == "revision" and key.prompt_id in whole]
    assert whole and {key.round for key in left} == {1}


def test_rows_of_a_server_that_was_down_are_asked_for_again_without_new_settings(
    server, recipe, run, tmp_path
):
    calm, broken = rows_of(run), tmp_path / "broken"
    server.failing = b"window 1"
    run_again(recipe, broken)
    failed = ended(rows_of(broken), "error", "response")
    server.failing = b"no request has this"

    cai("rows", "rerun", broken, "--status", "error,truncated")

    assert failed
    assert rows_of(broken) == calm
    assert sft_data(broken) == sft_data(run)
    assert not (broken / "reruns.json").exists()


def test_a_rerun_stops_at_its_calls_and_the_same_command_with_more_goes_on(server, run):
    asked = len(server.asked)
    options = ("rows", "rerun", run, "--status", "truncated", *LONGER, "--max-calls", 2)
    stopped = CliRunner().invoke(app, [str(one) for one in options])

    assert isinstance(stopped.exception, BudgetReached)
    assert "stopped at --max-calls 2: 2 calls were made" in str(stopped.exception)
    assert len(server.asked) - asked == 2

    cai("rows", "rerun", run, "--status", "truncated")
    assert ended(rows_of(run), "truncated", "response", "revision") == set()


def test_a_row_that_fails_again_is_said_to_have_failed(server, recipe, tmp_path):
    run, server.failing = tmp_path / "broken", b"window 1"
    run_again(recipe, run)
    failed = ended(rows_of(run), "error", "response")

    said = cai("rows", "rerun", run, "--status", "error", "--stage", "response")

    assert ["response", "error", str(len(failed)), str(len(failed))] in (
        [re.findall(r"\w+", line) for line in said.splitlines()]
    )


def test_cut_off_rows_asked_for_as_before_are_the_same_and_the_way_out_is_said(server, run):
    rows, asked = rows_of(run), len(server.asked)

    said = cai("rows", "rerun", run, "--status", "truncated", "--stage", "helpful")

    assert (rows_of(run), len(server.asked)) == (rows, asked)
    assert "--set changes what is asked" in said


def test_a_status_that_no_row_has_is_said(server, run):
    asked = len(server.asked)

    said = cai("rows", "rerun", run, "--status", "refused,error", *LONGER)

    assert said == f"no row of {run} ended as refused,error; nothing to make again\n"
    assert len(server.asked) == asked
    assert not (run / "reruns.json").exists()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["--status", "cut"], CaiError, "no row ends as 'cut'; choose from ok, refused"),
        (["--status", ""], CaiError, "name the rows"),
        (["--status", "error", "--forget"], CaiError, "name the rows"),
        (["--status", "error", "--stage", "judge"], CaiError, "'judge'.*choose --stage from"),
        (
            ["--status", "truncated", "--set", "revisions.rounds=2"],
            CaiError,
            r"revisions.rounds=2.*\n  revision: revisions.sampling, models.critic, models.reviser",
        ),
        (
            ["--status", "truncated", "--stage", "helpful", "--set", "models.judge=openai:x"],
            CaiError,
            "models.judge=openai:x",
        ),
        (
            ["--status", "truncated", "--set", "revisions.sampling.max_token=5"],
            InputError,
            "max_token: is not a key here; did you mean 'max_tokens'",
        ),
        (
            ["--status", "truncated", "--set", "revisions.sampling.max_tokens=few"],
            InputError,
            "--set: revisions.sampling.max_tokens: is 'few'",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_changes(server, run, options, error, said):
    rows, asked, logged = rows_of(run), len(server.asked), RunFolder(run).log.read_bytes()

    with pytest.raises(error, match=re.compile(said, re.DOTALL)):
        cai("rows", "rerun", run, *options)

    assert (rows_of(run), len(server.asked)) == (rows, asked)
    assert RunFolder(run).log.read_bytes() == logged
    assert not (run / "reruns.json").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        cai("rows", "rerun", tmp_path, "--status", "error")


def test_a_model_that_is_not_there_stops_the_rerun_and_tells_how_to_go_on(server, run):
    server.failing, server.status = b"openai-nope", 404
    wrong = ("--set", f"models.assistant={{name: 'openai:openai-nope', endpoint: '{server.url}'}}")

    with pytest.raises(PermanentError, match=r"correct them with another --set.*--forget"):
        cai("rows", "rerun", run, "--status", "truncated", "--stage", "response", *wrong)


def test_a_role_can_be_played_by_another_model_for_these_rows(server, run):
    other = ("--set", f"models.reviser={{name: 'openai:other', endpoint: '{server.url}'}}")
    asked = len(server.asked)

    cai("rows", "rerun", run, "--status", "truncated", "--stage", "revision", *other, *LONGER)

    assert {one["model"] for one in server.asked[asked:]} == {"fake", "other"}


def test_labels_without_a_verdict_are_asked_for_less_and_nothing_is_bought(server, recipe, run):
    server.mass = 0.3
    compare(recipe, run)
    unparsed = ended(rows_of(run), "unparsed", "comparison")
    asked = len(server.asked)

    less = ("--set", "comparisons.minimum_mass=0.2")
    cai("rows", "rerun", run, "--status", "unparsed", *less)

    rows = rows_of(run)
    assert unparsed and {rows[key].status for key in unparsed} == {"ok"}
    assert len(server.asked) == asked
    labels = sum(parquet.read_metadata(path).num_rows for path in run.glob("datasets/pref*/*/*"))
    assert labels == len(unparsed)


def test_a_label_tells_how_each_of_its_replies_was_drawn(recipe, run):
    compare(recipe, run)
    before = rows_of(run)

    longer = ("--set", "comparisons.sampling.max_tokens=64")
    cai("rows", "rerun", run, "--status", "truncated", "--stage", "pair", *longer)

    cut_off = {(key.prompt_id, key.sample) for key in ended(before, "truncated", "pair")}
    for path in run.glob("datasets/preferences/*/*"):
        for label in parquet.read_table(path).to_pylist():
            drawn = json.loads(label["sampling"])
            both = [drawn.get(name, drawn)["max_tokens"] for name in ("chosen", "rejected")]
            longer = [(label["prompt_id"], sample) in cut_off for sample in (0, 1)]
            assert sorted(both) == sorted(64 if one else 9 for one in longer)
    assert len(ended(rows_of(run), "ok", "comparison")) > len(ended(before, "ok", "comparison"))


def test_a_row_shows_the_settings_of_its_rerun(run):
    key = min(ended(rows_of(run), "truncated", "helpful"), key=lambda key: key.prompt_id)
    cai("rows", "rerun", run, "--status", "truncated", "--stage", "helpful", *LONGER)

    shown = cai("rows", "show", run, f"helpful/{key.prompt_id}")

    assert "settings of a rerun: revisions.sampling.max_tokens=64" in shown


def test_a_rerun_file_that_is_broken_is_named(recipe, run):
    (run / "reruns.json").write_text('{"kept": [')

    with pytest.raises(RunError, match=r"reruns\.json cannot be read \(Invalid JSON") as told:
        run_again(recipe, run)

    assert len(str(told.value).splitlines()) == 1


def test_settings_hold_from_their_row_on_and_newer_ones_come_last():
    def row(number: int) -> RowKey:
        return RowKey("revision", "p", round=number)

    settings = RowSettings(
        [
            KeptSettings(settings=("a=1",), rows=(row(2),)),
            KeptSettings(settings=("a=2", "b=3"), rows=(row(3), RowKey("helpful", "q"))),
        ]
    )

    assert settings.of(RowKey("response", "p")) == settings.of(row(1)) == ()
    assert settings.of(row(2)) == ("a=1",)
    assert settings.of(row(3)) == settings.of(row(4)) == ("a=1", "a=2", "b=3")
    assert settings.of(RowKey("helpful", "q")) == ("a=2", "b=3")
    assert settings.of(RowKey("helpful", "q", sample=1)) == ()


def test_the_same_settings_given_twice_are_kept_once():
    rows = (RowKey("helpful", "q"),)
    once = RerunFile().keeping(("a=1",), rows)

    assert once.keeping(("a=1",), rows) == once
    assert len(once.keeping(("a=2",), rows).kept) == 2


def start(*arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "-c", "from cai.cli import main; main()", *map(str, arguments)]
    return running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(server: SwitchableServer, calls: int) -> None:
    deadline = time.monotonic() + 60
    while len(server.asked) < calls:
        assert time.monotonic() < deadline, "the calls did not come"
        time.sleep(0.001)


@pytest.mark.parametrize("calls", [1, 12, 40])
def test_a_rerun_that_was_killed_goes_on_with_the_same_command(server, run, tmp_path, calls):
    calm = tmp_path / "calm"
    shutil.copytree(run, calm)
    arguments = ("--status", "truncated", *LONGER)
    cai("rows", "rerun", calm, *arguments)
    before = len(server.asked)

    with start("rows", "rerun", run, *arguments) as killed:
        wait_for(server, before + calls)
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    cai("rows", "rerun", run, *arguments)

    assert rows_of(run) == rows_of(calm)
    assert sft_data(run) == sft_data(calm)


def test_a_rerun_beside_a_run_that_goes_on_is_refused(run):
    with (
        Ledger.open(run / "ledger.sqlite"),
        start("rows", "rerun", run, "--status", "truncated", *LONGER) as second,
    ):
        said = second.communicate()[1]

    assert second.returncode == 1
    assert "is in use by process" in said and "Traceback" not in said
