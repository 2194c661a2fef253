from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from cai.cli.report import report

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
