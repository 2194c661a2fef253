"""What `cai runs` tells of runs under way, finished, stopped and dead."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cai.cli import main
from cai.engine import Ledger, Progress, Tally
from cai.errors import RunError
from cai.evaluation import rate
from cai.models.prices import Prices
from cai.pipeline.run_log import read_run_log
from cai.pipeline.status import read_runs, read_status
from cai.records import Row, RowKey, Usage
from tests.processes import running

NOTE_OFTEN = "import cai.engine.progress\ncai.engine.progress.LOG_SECONDS = 0.05\n"
AS_NOBODY = """
import os
import cai.cli, cai.pipeline.status, cai.pipeline.status_tables
b"x".decode("utf-8-sig")  # an interpreter of root's own cannot be read later
if os.geteuid() == 0:  # root may write anywhere
    os.setuid(65534)
"""


def run_folder(path: Path, *, calls: int = 3, error: BaseException | None = None) -> Path:
    """A run of one stage, as its process leaves it behind."""
    path.mkdir()
    tally = Tally()
    with Ledger.open(path / "ledger.sqlite"):
        attempt(path, tally, calls, error)
    return path


def attempt(path: Path, tally: Tally, calls: int, error: BaseException | None = None) -> None:
    """One process more that works on a run; it does all of it, or comes to an error."""
    about = {"command": "cai run demo.yaml", "steps": ["revisions"]}
    try:
        with Progress(path / "log.jsonl", about=about) as progress:
            stage = progress.stage("revise", tally)
            stage.begin(3)
            for number in range(calls):
                tally.of("m").note_made(Usage(10, 5), Prices(input=0, output=1e5))
                stage.row(Row(RowKey("revision", f"p{number}"), "ok" if number else "error"))
                stage.item(1)
            stage.end()
            if error is not None:
                raise error
    except KeyboardInterrupt:
        pass


@contextmanager
def under_way(served, run: Path) -> Iterator[subprocess.Popen]:
    """A process that works on a run, and has noted how far it is."""
    slowly = ("--set", "engine.in_flight=1")
    command = served.generate(run, *slowly, before=NOTE_OFTEN)
    with running(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not read_run_log(run / "log.jsonl").calls.made:
            assert process.poll() is None, "the run ended before it could be looked at"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield process


def files_of(run: Path) -> set[tuple[str, bytes]]:
    """Everything but the index in which SQLite counts its readers."""
    files = (path for path in run.rglob("*") if path.is_file() and path.suffix != ".sqlite-shm")
    return {(path.name, path.read_bytes()) for path in files}


def shown(capsys, monkeypatch, *arguments: object) -> str:
    monkeypatch.setattr("sys.argv", ["cai", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_run_under_way_is_told_from_a_dead_one_and_that_from_a_finished_one(served, tmp_path):
    run = tmp_path / "run"
    with under_way(served, run) as process:
        alive = read_status(run)
        process.kill()
    dead = read_status(run)
    subprocess.run(served.generate(run), check=True, capture_output=True)
    finished = read_status(run)

    assert (alive.state, alive.process) == ("running", str(process.pid))
    assert alive.part_state(alive.log.parts[-1]) == "running"
    assert (dead.state, dead.process) == ("died", None)
    assert dead.part_state(dead.log.parts[-1]) == "unfinished"
    assert 0 < dead.log.calls.made <= dead.calls
    assert (finished.state, finished.log.attempts) == ("finished", 2)
    assert {finished.part_state(part) for part in finished.log.parts} == {"done"}
    assert finished.log.parts[0].standing.calls.cached == dead.calls
    assert finished.rows["revision"]["ok"] > 0


def test_looking_at_a_run_leaves_no_trace_and_keeps_nobody_from_working(served, tmp_path):
    run = tmp_path / "run"
    with under_way(served, run) as process:
        process.kill()
    before = files_of(run)

    for _ in range(3):
        read_status(run)

    assert files_of(run) == before
    with Ledger.open(run / "ledger.sqlite"):
        assert read_status(run).process == str(os.getpid())


def test_a_dead_run_can_be_looked_at_where_nothing_can_be_written(served, tmp_path):
    with under_way(served, tmp_path / "run") as process:
        process.kill()
    with tempfile.TemporaryDirectory() as shared:
        run = Path(shared, "run")
        shutil.copytree(tmp_path / "run", run)
        for path in run.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        for path in (run, Path(shared)):
            path.chmod(0o555)
        command = served.cai("runs", "status", run, "--json", before=AS_NOBODY)
        shown = subprocess.run(command, check=True, capture_output=True, cwd="/").stdout

        for path in (Path(shared), run):
            path.chmod(0o755)
    status = json.loads(shown)
    assert (status["state"], status["notes"]) == ("died", [])
    assert status["calls_in_ledger"] > 0


def test_a_run_that_its_provider_stopped_shows_the_error(served, tmp_path):
    run = tmp_path / "run"
    wrong = f"models.default.endpoint={served.address}/nowhere"
    subprocess.run(served.generate(run, "--set", wrong), capture_output=True)

    status = read_status(run)

    assert status.state == "stopped"
    assert status.log.error.startswith("PermanentError: ")
    assert "404" in status.log.error


def test_events_on_standard_error_are_those_of_the_log_and_hold_no_key(served, tmp_path):
    run = tmp_path / "run"
    key = {**os.environ, "OPENAI_API_KEY": "sk-not-to-be-seen"}
    ended = subprocess.run(served.generate(run, "--log-json"), capture_output=True, env=key)

    assert ended.stderr == (run / "log.jsonl").read_bytes()
    assert {json.loads(line)["event"] for line in ended.stderr.splitlines()} == {
        "run_began",
        "stage_began",
        "stage_ended",
        "run_ended",
    }
    assert b"sk-not-to-be-seen" not in ended.stderr


def test_the_page_has_the_figures_of_every_stage(tmp_path, capsys, monkeypatch):
    run = run_folder(tmp_path / "demo")

    page = shown(capsys, monkeypatch, "runs", "status", run)

    words = [line.split() for line in page.splitlines()]
    assert ["run", str(run)] in words
    assert ["command", "cai", "run", "demo.yaml"] in words
    assert ["revise", "done", "3/3", "2", "0", "1", "0:00"] in words
    assert ["1", "error"] in words
    calls = next(line for line in words if line[:2] == ["revise", "3"])
    assert calls[:7] == ["revise", "3", "0", "0", "30", "15", "$1.50"]


def test_programs_get_everything_as_json(tmp_path, capsys, monkeypatch):
    run = run_folder(tmp_path / "demo")

    status = json.loads(shown(capsys, monkeypatch, "runs", "status", run, "--json"))

    assert (status["state"], status["steps"], status["attempts"]) == ("finished", ["revisions"], 1)
    (part,) = status["parts"]
    assert (part["title"], part["state"], part["done"]) == ("revise", "done", 3)
    assert part["rows"] == {"ok": 2, "error": 1}
    assert status["all_attempts"]["cost"] == pytest.approx(1.5)


def test_what_is_piped_is_neither_coloured_nor_cut(tmp_path, capsys, monkeypatch):
    run = run_folder(tmp_path / ("a-long-name-" * 15))

    page = shown(capsys, monkeypatch, "runs", "status", run)

    assert str(run) in page
    assert "\x1b" not in page


def test_an_error_and_a_title_with_control_characters_cannot_move_the_cursor(
    tmp_path, capsys, monkeypatch
):
    run = run_folder(tmp_path / "demo", error=KeyboardInterrupt("\x1b[2Jgone"))

    page = shown(capsys, monkeypatch, "runs", "status", run)

    assert "[2Jgone" in page
    assert all(sign.isprintable() for line in page.splitlines() for sign in line)


def test_every_run_has_a_line_with_its_state_and_how_far_it_came(tmp_path, capsys, monkeypatch):
    run_folder(tmp_path / "a")
    run_folder(tmp_path / "b", calls=1, error=KeyboardInterrupt())
    died = run_folder(tmp_path / "c", calls=2)
    events = (died / "log.jsonl").read_bytes().splitlines(keepends=True)
    (died / "log.jsonl").write_bytes(b"".join(events[:-1]))
    run_folder(tmp_path / "d")

    with Ledger.open(tmp_path / "d" / "ledger.sqlite"):
        page = shown(capsys, monkeypatch, "runs", "list", tmp_path)

    lines = [line.split() for line in page.splitlines()[2:]]
    assert [line[1:4] for line in lines] == [
        ["finished", "revise", "3/3"],
        ["stopped", "revise", "1/3"],
        ["died", "revise", "2/3"],
        ["running", "revise", "3/3"],
    ]


@pytest.mark.parametrize(
    ("trusted", "said"),
    [(True, ""), (False, " (not trustworthy)"), (None, " (judge not checked)")],
)
def test_the_list_tells_headline_figures_of_the_last_policy(
    tmp_path, capsys, monkeypatch, trusted, said
):
    run = run_folder(tmp_path / "a")
    points = {"value": 412.3, "low": 380.2, "high": 451.9, "n": 9}
    elo = {"sl_cai": rate(0, 9).to_json(), "rl_cai": points}
    stages = {
        name: {
            "harmful_compliance": rate(harm, 100).to_json(),
            "helpfulness": rate(98, 100).to_json(),
        }
        for name, harm in (("sl_cai", 12), ("rl_cai", 1), ("best_of", 2))
    }
    metrics = {"stages": stages, "contest": {"criteria": {"harmlessness": {"elo": elo}}}}
    metrics["contest"]["criteria"]["harmlessness"]["trusted"] = trusted
    metrics["labels"] = {"accuracy": rate(9, 10).to_json()}
    (run / "metrics.json").write_text(json.dumps(metrics))

    page = shown(capsys, monkeypatch, "runs", "list", tmp_path)
    listed = json.loads(shown(capsys, monkeypatch, "runs", "list", tmp_path, "--json"))

    assert "SL-CAI 12% (7.0–19.8), RL-CAI 1% (0.2–5.4)" in page
    elo_told = f"harmlessness elo 412 (380 to 452){said}"
    assert f"helpful 98% (93.0–99.4), {elo_told}, label accuracy 90% (59.6–98.2)" in page
    assert listed[0]["harmful_compliance"]["rl_cai"] == rate(1, 100).to_json()
    assert listed[0]["figures"] == {
        "helpful": rate(98, 100).to_json(),
        "harmlessness elo": points,
        "label accuracy": rate(9, 10).to_json(),
    }


def test_figures_by_patterns_are_listed_as_such(tmp_path, capsys, monkeypatch):
    run = run_folder(tmp_path / "a")
    measured = {"harmful_compliance": rate(1, 10).to_json(), "helpfulness": rate(9, 10).to_json()}
    stages = {"helpful": measured, "rl_cai": {**measured, "method": "patterns"}}
    (run / "metrics.json").write_text(json.dumps({"stages": stages}))

    page = shown(capsys, monkeypatch, "runs", "list", tmp_path)

    assert "Helpful-only 10% (1.8–40.4), RL-CAI 10% (1.8–40.4) (by refusal patterns)" in page
    assert "helpful 90% (59.6–98.2) (by refusal patterns)" in page


def test_a_contest_s_further_models_are_no_headline_of_a_run(tmp_path):
    run = run_folder(tmp_path / "a")
    names = ("helpful", "rl_cai", "dpo_1", "rival")
    stages = {name: {"helpfulness": rate(n, 10).to_json()} for n, name in enumerate(names)}
    (run / "metrics.json").write_text(json.dumps({"stages": stages}))

    assert read_status(run).figures == {"helpful": rate(2, 10)}


def test_the_last_model_of_a_contest_alone_is_its_headline(tmp_path):
    run = run_folder(tmp_path / "a")
    stages = {
        "ours": {"helpfulness": rate(1, 10).to_json()},
        "rival": {"helpfulness": rate(2, 10).to_json()},
    }
    (run / "metrics.json").write_text(json.dumps({"stages": stages}))

    assert read_status(run).figures == {"helpful": rate(2, 10)}


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        read_status(tmp_path)


def test_what_all_attempts_have_bought_is_added_up(tmp_path):
    run, tally = run_folder(tmp_path / "demo", calls=1, error=KeyboardInterrupt()), Tally()
    attempt(run, tally, calls=2)

    log = read_run_log(run / "log.jsonl")

    assert log.attempts == 2
    assert (log.calls.made, log.calls.output_tokens) == (3, 15)
    assert log.calls.cost == pytest.approx(1.5)
    assert [(part.attempt, part.standing.done) for part in log.parts] == [(2, 2)]
    assert log.spent["revise"].calls == log.calls


def test_the_time_of_a_part_is_that_of_all_its_attempts_and_models(tmp_path):
    path = tmp_path / "log.jsonl"
    began = {"event": "run_began", "process": 1}
    steps = [("train RL-CAI", 5.0), ("train RL-CAI", 9.0), ("train RL-CAI", 4.0)]
    events = [began, *training(*steps), began, *training(("train RL-CAI", 2.5))]
    path.write_text("".join(json.dumps({**EVENT, **event}) + "\n" for event in events))

    spent = read_run_log(path).spent["train RL-CAI"]

    assert (spent.seconds, spent.calls) == (9 + 4 + 2.5, None)


EVENT = {"time": "2026-11-22T00:00:00+00:00"}


def training(*steps: tuple[str, float]) -> list[dict[str, object]]:
    """Events of steps by title and by the seconds of the training's own clock."""
    return [
        {"event": "step", "title": title, "step": number, "total": 99, "seconds": seconds}
        for number, (title, seconds) in enumerate(steps, start=1)
    ]


def test_a_part_of_an_earlier_attempt_is_told_with_its_number(tmp_path, capsys, monkeypatch):
    run = run_folder(tmp_path / "demo")
    with Progress(run / "log.jsonl") as progress:
        progress.training("train SL-CAI")(5, 10, 0.5)

    page = shown(capsys, monkeypatch, "runs", "status", run)

    words = [line.split() for line in page.splitlines()]
    assert ["revise", "done", "in", "attempt", "1"] in [line[:5] for line in words]
    assert ["train", "SL-CAI", "unfinished", "5/10", "loss", "0.5000", "0:00"] in words


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (b'{"time":"2026-11-21T13:00:00+00:00","event":"sta', "is cut off"),
        (b"what is this?\n", "is no event"),
        (b'{"time":"2026-11-21T13:00:00+00:00","event":"stage","title":3}\n', "left out: title"),
    ],
)
def test_a_damaged_log_is_read_as_far_as_it_can_be_and_the_damage_told(tmp_path, line, note):
    run = run_folder(tmp_path / "demo")
    with (run / "log.jsonl").open("ab") as log:
        log.write(line)

    status = read_status(run)

    assert status.state == "finished"
    assert [note in one for one in status.notes] == [True]


def test_damaged_files_are_told_beside_what_the_log_says(tmp_path):
    run = run_folder(tmp_path / "demo")
    (run / "metrics.json").write_text("{")
    (run / "ledger.sqlite").write_bytes(b"no ledger" * 1000)

    status = read_status(run)

    assert (status.state, status.calls, status.log.calls.made) == ("finished", None, 3)
    assert len(status.notes) == 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", b"[]"),
        ("metrics.json", b'{"stages": null}'),
        ("metrics.json", b'{"stages": {"rl_cai": {"harmful_compliance": 0.1}}}'),
        ("metrics.json", b"\xff"),
        ("recipe.yaml", b"\xff"),
        ("recipe.yaml", b"[]"),
        ("recipe.yaml", b"iterations: some"),
    ],
)
def test_an_odd_file_of_one_run_is_noted_and_hides_no_other(tmp_path, file, content):
    run, sound = run_folder(tmp_path / "odd"), run_folder(tmp_path / "sound")
    (run / file).write_bytes(content)

    odd, other = read_runs(tmp_path)

    assert [str(run / file) in note for note in odd.notes] == [True]
    assert (odd.headline, odd.figures, odd.mix) == ({}, {}, {})
    assert (other.path, other.notes) == (sound, ())


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "nowhere is no folder"),
        ("runs/demo", "demo is itself a run; say `cai runs status"),
        ("runs/demo/log.jsonl", "is no folder"),
    ],
)
def test_what_holds_no_runs_is_not_taken_for_a_folder_without_one(tmp_path, place, said):
    (tmp_path / "runs").mkdir()
    run_folder(tmp_path / "runs" / "demo")

    with pytest.raises(RunError, match=said):
        list(read_runs(tmp_path / place))


def test_a_run_whose_log_is_gone_is_of_unknown_state(tmp_path):
    run = run_folder(tmp_path / "demo")
    (run / "log.jsonl").unlink()

    assert read_status(run).state == "unknown"
