"""Pages in a browser: nothing is wider than a narrow screen, no link leads nowhere, all can be read in light and dark.

Debian's chromium, without a window; a script that measures is put into a copy of the page.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from page_run import whole_run
from sweep_stand_in import ONE, TWO, Workflows
from test_sweep import sweep

from hil_nas.report.page import page_of
from hil_nas.workflows.sweep import sweep_points

CHROMIUM = shutil.which("chromium")
RECEIVE = """<meta charset="utf-8"><script>onmessage = (message) => {
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "measured"; out.textContent = message.data; document.body.append(out);
}</script>"""
SCRIPT = Path(__file__).with_name("measure_page.js").read_text()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")


def measured(page: str, folder: Path, *, width: int, dark: bool = False) -> dict[str, Any]:
    """What the script found, and what the browser said on its console."""
    assert CHROMIUM is not None
    (folder / "page.html").write_text(page.replace("</body>", f"<script>{SCRIPT}</script></body>"))
    around = folder / "around.html"  # a window has a least width that a frame has not
    frame = f'<iframe src="page.html" width="{width}" height="800" style="border: 0"></iframe>'
    around.write_text(frame + RECEIVE)
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900", "--enable-logging=stderr", "--v=0",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
        "--virtual-time-budget=5000", around.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    found = re.search(r'<script type="application/json" id="measured">(.*?)</script>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    console = [x for x in done.stderr.splitlines() if "CONSOLE" in x]
    return {**json.loads(found[1]), "console": console}


def check(found: dict[str, Any], *, width: int, dark: bool) -> None:
    assert (found["width"], found["dark"]) == (width, dark)
    assert found["scroll"] == width and found["cut"] == []
    for name in ("console", "broken", "twice", "unnamed", "pale"):
        assert found[name] == [], name
    assert found["pictures"] == 0 < found["anchors"]


@pytest.mark.parametrize(("width", "dark"), [(400, False), (400, True), (1100, False)])
def test_a_search_can_be_read(width: int, dark: bool, tmp_path: Path) -> None:
    page = page_of(whole_run("tiny"))
    check(measured(page, tmp_path, width=width, dark=dark), width=width, dark=dark)
    assert "http" not in page and "<script" not in page and "url(" not in page.replace("url(#hatch)", "")


def test_cells_and_instructions_can_be_read(tmp_path: Path) -> None:
    page = page_of(whole_run("darts", "instructions"))
    check(measured(page, tmp_path, width=400), width=400, dark=False)
    assert " ms" not in page and "cycles" not in page.replace("where each cycle", "")


def test_a_sweep_can_be_read_and_its_points_lead_to_their_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workflows(monkeypatch)
    _, folder = sweep(sweep_points([ONE, TWO], ["ds-cnn"], 2), tmp_path)
    page = (folder / "report.html").read_text()
    check(measured(page, tmp_path, width=400), width=400, dark=False)
    links = set(re.findall(r'href="(points/[^"]+)/report.html"', page))
    assert len(links) == 6 and all((folder / x / "result.json").is_file() for x in links)


def test_what_is_wrong_with_a_page_is_seen(tmp_path: Path) -> None:
    """The measure itself: a page with one of each mistake."""
    page = """<!doctype html><html><body style="margin: 0; background: #fff"><h1 id="a">x</h1>
        <p id="a" style="color: #aaa">pale</p><a href="#b"></a><p style="width: 900px">wide</p><img src="none.png">
        <script>nothing()</script></body></html>"""
    found = measured(page, tmp_path, width=400)
    assert found["scroll"] == 900 and found["broken"] == ["b"] and found["twice"] == ["a"] and found["pictures"] == 1
    assert len(found["pale"]) == 1 and len(found["unnamed"]) == 2 and len(found["cut"]) == 1
    assert any("nothing is not defined" in x for x in found["console"])
