"""What is not installed is one line that names the extra, before anything is done."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from hil_nas import cli
from hil_nas.extras import LIBRARIES, missing_library, pip_install

PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]


def test_extras_are_those_of_the_project() -> None:
    optional = PROJECT["optional-dependencies"]
    used = {extra: names for extra, names in optional.items() if extra not in ("dev", "docs")}
    brought = {x.split(">")[0]: extra for extra, names in used.items() for x in names}
    assert {x.distributions[0]: x.extra for x in LIBRARIES if x.extra} == brought
    base = {x.split(">")[0].split("=")[0] for x in PROJECT["dependencies"]}
    assert {x.distributions[0] for x in LIBRARIES if not x.extra} <= base


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library of any extra can be imported, as after `pip install hil_nas`."""
    for library in LIBRARIES:
        if library.extra:
            for name in [x for x in sys.modules if x.partition(".")[0] == library.module]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, library.module, None)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (["search"], "torch and tensorflow", "search"),
        (["search", "--space", "darts", "--front-end", "400/200/40/10"], "torch", "search"),
        (["baseline", "ds-cnn"], "torch", "search"),
        (["sweep"], "torch and tensorflow and ray", "search,sweep"),
    ],
)
def test_a_command_names_its_extra(
    without: None, command: list[str], missing: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "--json"]) == 1
    shown = capsys.readouterr()
    message = json.loads(shown.out)
    assert message["error"] == "MissingToolError" and missing in message["message"]
    assert message["hint"] == pip_install(extra) and message["hint"] in shown.err
    assert len(shown.err.splitlines()) == 2 and not list(tmp_path.iterdir())


def test_commands_without_extras_need_none(
    without: None, boards_dir: Path, build_dir: Path, tmp_path: Path, reference_model: bytes
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(reference_model)
    where = ["--boards", str(boards_dir), "--build", str(build_dir)]
    assert cli.main(["verify", str(model), "--board", "native@native", "--clips", "2", *where]) == 0
    assert cli.main(["profile", "--compare", "nucleo-l4r5@virtual", "mps2-an386@qemu"]) == 0
    assert cli.main(["doctor", *where]) == 0


def test_a_late_import_is_told_as_well_and_a_bug_of_ours_is_not() -> None:
    error = missing_library(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert error is not None and error.hint == pip_install("search")
    assert missing_library(ModuleNotFoundError("No module named 'hil_nas.x'", name="hil_nas.x")) is None
    assert missing_library(ModuleNotFoundError("no name")) is None


def test_an_extra_is_added_to_where_the_program_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("hil_nas.extras.checkout", lambda: None)
    assert pip_install("search", "sweep") == "pip install 'hil_nas[search,sweep]'"
    root = tmp_path / "my tools"
    root.mkdir()
    monkeypatch.setattr("hil_nas.extras.checkout", lambda: root)
    monkeypatch.setattr(sys, "executable", str(root / ".venv/bin/python"))
    words = ["-m", "pip", "install", "-e"]
    assert shlex.split(pip_install("flash")) == [str(root / ".venv/bin/python"), *words, f"{root}[flash]"]
    monkeypatch.chdir(root)
    assert pip_install("flash") == ".venv/bin/python -m pip install -e '.[flash]'"
