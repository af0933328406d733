"""The notebooks of examples/, run cell by cell with few clips and steps."""

from __future__ import annotations

import ast
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hil_nas.audio.speech import spoken_keywords
from hil_nas.folders import usual_folders
from hil_nas.nas.spaces import KINDS
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.workflows import finish
from hil_nas.workflows.verify import Verification
from tests.conftest import ROOT
from tests.tones import write_tones

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def cells(path: Path) -> list[str]:
    """The code of a notebook."""
    return ["".join(x["source"]) for x in json.loads(path.read_text())["cells"] if x["cell_type"] == "code"]


def run(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """What the cells leave, and what each shows: the value of its last line, as a notebook does."""
    names: dict[str, Any] = {}
    shown: list[Any] = []
    for number, source in enumerate(cells(path)):
        where, tree = f"{path.name}[{number}]", ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), where, "eval"), names) if last else None)
    return names, shown


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, and a search of seconds."""
    assert usual_folders().boards == ROOT / "boards"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(KINDS, "tiny", replace(KINDS["tiny"], settings=partial(TinySettings, rounds=20)))
    monkeypatch.setattr(finish, "spoken_keywords", partial(spoken_keywords, clips=100))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda x: x.name)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({x["id"] for x in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt install espeak-ng")
def test_from_words_to_a_verified_model() -> None:
    names, shown = run(ROOT / "examples" / "words_to_board.ipynb")
    found, checked = names["found"], names["checked"]
    assert isinstance(checked, Verification) and checked.bits_equal and checked.clips_compared == 10
    assert found.latency_ms == pytest.approx(checked.latency_ms, rel=0.01)  # of another clip
    assert found.latency_ms < 30 and found.ram_bytes <= 128 * 1024
    assert found.result["labels"] == ["lamp", "music", "silence", "unknown"]
    assert all("<table>" in x._repr_html_() for x in shown if hasattr(x, "_repr_html_")) and "Makefile" in shown[-1]


def test_from_own_recordings(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    write_tones(tmp_path / "recordings", 80)
    clips = [soundfile.read(x)[0] for x in sorted((tmp_path / "recordings" / "high").glob("*.wav"))[:4]]
    soundfile.write("evening.wav", np.concatenate(clips), 16_000)
    soundfile.write(tmp_path / "recordings" / "low" / "00000009_nohash_1.wav", np.zeros(16_000), 16_000)
    names, shown = run(ROOT / "examples" / "own_recordings.ipynb")
    assert names["faulty"] == ["low/00000009_nohash_1.wav"] and names["report"].ok
    assert names["found"].result["labels"] == ["high", "low", "middle", "other", "silence"]
    assert names["heard"].hours == 4 / 3600 and names["heard"].report.is_file()
    assert sum("<table>" in x._repr_html_() for x in shown if hasattr(x, "_repr_html_")) == 3
