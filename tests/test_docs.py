"""Pages: links lead somewhere, commands exist, figures are those of the table they are drawn from."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from hil_nas.cli.arguments import parser

INCLUDED = [ROOT / x for x in ("boards/README.md", "boards/export/README.md", "latency_models/README.md")]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *INCLUDED]
PAGES.append(ROOT / "boards/nucleo_l4r5/timing.md")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    """A page with what it includes."""
    return re.sub(r'^--8<-- "(.+)"$', lambda x: (ROOT / x[1]).read_text(), page.read_text(), flags=re.MULTILINE)


def anchors_of(page: Path) -> set[str]:
    """As Python-Markdown makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = [unicodedata.normalize("NFKD", x).encode("ascii", "ignore").decode() for x in headings]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", x).strip().lower()) for x in plain}


def load(name: str) -> Any:
    """A script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for found in LINK.findall(page.read_text()):
        target = "".join(found)
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{target} is not there"
        if anchor and anchor not in ("only-light", "only-dark"):
            assert anchor in anchors_of(other), f"{target}: no such heading"


def commands_of(page: Path) -> list[str]:
    """Lines of code blocks that call the program."""
    lines = re.findall(r"^ +(?:\.venv/bin/)?(hil_nas .+)$", page.read_text(), re.MULTILINE)
    return [x for x in lines if not x.startswith("hil_nas is ")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_understood(page: Path) -> None:
    command_line = parser()
    for line in commands_of(page):
        words = [x for x in shlex.split(line, comments=True)[1:] if x != "..."]
        try:
            command_line.parse_args(words)
        except SystemExit as ended:  # --help
            assert ended.code == 0


def test_commands_are_found() -> None:
    assert sum(len(commands_of(x)) for x in PAGES) > 40


def test_the_command_line_is_described_whole() -> None:
    described = load("command_line").reference()
    for command in ("search", "sweep", "verify", "compare", "doctor", "data fetch"):
        assert f"hil_nas {command}\n" in described
    options = "--max-ram SIZE", "--front-end NAME,...", "--also", "MODEL.tflite [MODEL.tflite ...]", "{tiny,darts}"
    for option in options:
        assert option in described
    assert str(ROOT) not in described and "(default: boards)" in described


def test_the_picture_is_drawn_from_its_table() -> None:
    draw = load("draw")
    for theme in draw.INKS:
        again = "run python docs/draw.py"
        assert (ROOT / "docs" / "images" / f"cycles-{theme}.svg").read_text() == draw.picture(theme), again


def test_the_readme_says_what_the_table_says() -> None:
    readme = (ROOT / "README.md").read_text()
    for row in load("draw").rows():
        cycles = int(row["front_end_cycles"]) + int(row["network_cycles"])
        ram, flash = (round(int(row[x]) / 1024) for x in ("ram_bytes", "flash_bytes"))
        for figure in (f"{cycles / 1e6:.2f}", f"{row['accuracy_percent']} %", f"{ram}, {flash}", row["revision"]):
            assert figure in readme
        assert row["command"] in readme


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_pages_build_without_a_warning(tmp_path: Path) -> None:
    for name in ("material", "mkdocstrings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip("needs MkDocs: make docs installs it")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--max-latency" in (tmp_path / "reference" / "command-line" / "index.html").read_text()
