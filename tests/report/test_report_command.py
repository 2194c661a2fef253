from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from cai.cli.report import report
from cai.errors import RunError

WriteRun = Callable[..., Awaitable[None]]


@pytest.mark.parametrize(
    ("runs", "written"), [(["a"], "a/report.html"), (["a", "b"], "b/comparison.html")]
)
async def test_the_command_writes_the_file_and_says_where(
    tmp_path: Path, write_run: WriteRun, runs: list[str], written: str
):
    for run in runs:
        await write_run(tmp_path / run)
    app = Typer()
    app.command()(report)

    result = CliRunner().invoke(app, [str(tmp_path / run) for run in runs])

    assert result.output == f"wrote {tmp_path / written}\n"
    assert (tmp_path / written).is_file()


@pytest.mark.parametrize(
    ("option", "place", "said"),
    [
        ("--out", ".", "is a folder; name a file in it"),
        ("--out", "file/report.html", "cannot be made a folder (File exists)"),
        ("--out", "file/under/report.html", "cannot be made a folder (Not a directory)"),
        ("--figures", "file", "cannot be made a folder (File exists)"),
    ],
)
async def test_a_place_that_cannot_be_written_to_is_named_and_nothing_is_left(
    tmp_path: Path, write_run: WriteRun, option: str, place: str, said: str
):
    await write_run(tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    app = Typer()
    app.command()(report)

    result = CliRunner().invoke(app, [str(tmp_path / "run"), option, str(tmp_path / place)])

    assert isinstance(result.exception, RunError)
    assert said in str(result.exception)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "file"}
    assert (tmp_path / "file").read_text() == "mine"
