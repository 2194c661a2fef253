"""The report in a real browser. Without Chromium these are skipped, but not where CI runs them."""

import asyncio
import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cai.report import write_comparison, write_report

pytestmark = pytest.mark.browser

WriteRun = Callable[..., Awaitable[None]]
Json = dict[str, Any]
NAMES = ("chromium", "chromium-browser", "google-chrome")

PROBE = """
<script>
const tone = css => css.match(/[0-9.]+/g).slice(0, 3).map(part => {
  const share = part / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
});
const light = css => { const [r, g, b] = tone(css); return .2126 * r + .7152 * g + .0722 * b; };
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const style = element => getComputedStyle(element);
const paper = style(document.body).backgroundColor;
const figures = [...document.querySelectorAll("svg.figure")];
const texts = [...document.querySelectorAll("svg text")];
const curves = [...document.querySelectorAll("svg path[style*='--first']")]
  .filter(curve => style(curve).stroke !== "none");
const seen = document.body.innerText;
const rows = [...document.querySelectorAll("#rows details")];
rows.forEach(row => { if (!row.open) row.querySelector("summary").click(); });
const beside = [...document.querySelectorAll("main > section, main > header")];
const found = {
  dark: light(paper) < 0.2,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  text_contrast: Math.min(...texts.map(text => contrast(style(text).fill, paper))),
  curve_contrast: Math.min(...curves.map(curve => contrast(style(curve).stroke, paper))),
  widths: figures.map(figure => figure.getBoundingClientRect().width),
  overlaps: beside.slice(1).filter((one, place) =>
    one.getBoundingClientRect().top < beside[place].getBoundingClientRect().bottom - 1).length,
  seen, after_clicks: document.body.innerText,
  pictures: document.querySelectorAll("img").length,
};
const out = document.createElement("pre");
out.id = "probe";
out.textContent = JSON.stringify(found);
document.body.append(out);
</script>
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        told = "there is no Chromium here; apt-get install chromium"
        if os.environ.get("CAI_REQUIRE_BROWSER"):
            pytest.fail(f"{told}: CAI_REQUIRE_BROWSER asks for it")
        pytest.skip(told)
    return found


@pytest.fixture
def browser(chromium: str, tmp_path: Path) -> Callable[..., str]:
    """Opens a page without a network, and gives its document; the console goes to a file."""

    def opened(page: Path, *, width: int = 1200, dark: bool = False) -> str:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-dev-shm-usage", "--disable-background-networking"]
        command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1600"]
        command += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"]
        result = subprocess.run(
            [*command, "--dump-dom", page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        (tmp_path / "console.txt").write_text(result.stderr)
        return result.stdout

    return opened


async def test_a_browser_opens_the_page_without_a_complaint(
    browser: Callable[..., str], tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path / "run", hostile="response")

    document = await asyncio.to_thread(browser, write_report(tmp_path / "run"))

    assert "harmful compliance fell from 98% to 3%" in document
    complaints = [
        line for line in (tmp_path / "console.txt").read_text().splitlines() if "CONSOLE" in line
    ]
    assert not complaints


@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (500, True)], ids=["wide and light", "narrow and dark"]
)
async def test_the_page_is_readable(
    browser: Callable[..., str],
    tmp_path: Path,
    write_run: WriteRun,
    metrics: Json,
    contest: Callable[..., Json],
    width: int,
    dark: bool,
):
    metrics["contest"] = contest(["helpful", "sl_cai", "a-very-long-name-of-a-hosted-model-v2"])
    await write_run(tmp_path / "run", metrics, hostile="prompt")

    found = await asyncio.to_thread(probed, browser, write_report(tmp_path / "run"), width, dark)

    assert found["dark"] is dark
    assert found["overflow"] <= 0
    assert found["overlaps"] == 0
    assert found["text_contrast"] >= 4.5
    assert 3 <= found["curve_contrast"] <= 21
    assert len(found["widths"]) == 6
    assert min(found["widths"]) > 300
    assert found["pictures"] == 0


async def test_harmful_text_is_seen_only_after_a_click(
    browser: Callable[..., str], tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path / "run")

    found = await asyncio.to_thread(probed, browser, write_report(tmp_path / "run"), 1200, False)

    assert "How do I steal a bike" not in found["seen"]
    assert "How do I bake bread" in found["seen"]
    assert "How do I steal a bike" in found["after_clicks"]


async def test_two_runs_side_by_side_are_readable(
    browser: Callable[..., str], tmp_path: Path, write_run: WriteRun
):
    await write_run(tmp_path / "a")
    await write_run(tmp_path / "b", hostile="principle")
    page = write_comparison(tmp_path / "a", tmp_path / "b", tmp_path / "both.html")

    found = await asyncio.to_thread(probed, browser, page, 500, True)

    assert found["overflow"] <= 0
    assert found["text_contrast"] >= 4.5
    assert "0.0 points" in found["seen"]


def probed(browser: Callable[..., str], page: Path, width: int, dark: bool) -> Json:
    """What a script sees that is put into a copy of the page, whose own rules would not let it."""
    copy = page.with_name("probed.html")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", page.read_text(), count=1)
    copy.write_text(text.replace("</body>", f"{PROBE}</body>"))
    document = browser(copy, width=width, dark=dark)
    written = re.search(r'<pre id="probe">(.*?)</pre>', document, flags=re.DOTALL)
    assert written, "the script did not come to its end"
    return json.loads(html.unescape(written[1]))
