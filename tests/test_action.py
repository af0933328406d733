"""The GitHub Action, its own shell steps on a model made here; only where they come from is this checkout's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.network import Layer, Network

yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
STEP = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]  # as a runner starts `shell: bash`


@pytest.fixture(scope="module")
def action() -> Any:
    return yaml.safe_load((ROOT / "action.yml").read_text())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    layers = (Layer("conv", (-1,), 4, (3, 3)), Layer("depthwise", (0,), kernel=(3, 3)), Layer("softmax", (1,)))
    path = tmp_path / "a model.tflite"
    path.write_bytes(write_tflite(random_graph(Network((5, 4, 2), layers), 1)))
    return path


@pytest.fixture
def runner(tmp_path: Path, action: Any) -> Any:
    """Runs a step with inputs as `with:` gives them; returns its status, its log and the job's summary."""
    programs = tmp_path / "temp" / "hil_nas" / "bin"  # what the step `Install hil_nas` would have left
    programs.mkdir(parents=True)
    command_line = "-c 'import sys; from hil_nas.cli import main; sys.exit(main())'"
    for name, first in (("hil_nas", command_line), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {first} "$@"\n')
        program.chmod(0o755)
    page = tmp_path / "summary.md"

    def run(name: str, **given: str) -> tuple[int, str, str]:
        (step,) = [x for x in action["runs"]["steps"] if x["name"] == name]
        assert step["shell"] == "bash"
        inputs = {key: str(x.get("default", "")) for key, x in action["inputs"].items()}
        inputs |= {key.replace("_", "-"): value for key, value in given.items()}
        variables = {key: value for key, value in step.get("env", {}).items()}
        for key, value in variables.items():
            name_of_input = value.removeprefix("${{ inputs.").removesuffix(" }}")
            variables[key] = inputs[name_of_input]
        page.unlink(missing_ok=True)
        page.touch()
        places = {"RUNNER_TEMP": tmp_path / "temp", "GITHUB_ACTION_PATH": ROOT, "GITHUB_STEP_SUMMARY": page}
        where = {"PYTHONPATH": str(ROOT), **{key: str(value) for key, value in places.items()}}
        script = tmp_path / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            [*STEP, str(script)], cwd=tmp_path, env={**os.environ, **where, **variables},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        )  # fmt: skip
        return done.returncode, done.stdout, page.read_text()

    return run


def test_limits_that_hold_are_a_table_in_the_summary(runner: Any, model: Path) -> None:
    status, log, page = runner("Verify", model=model.name, max_ram="64k", max_latency="5ms", clips="2")
    assert status == 0, log
    assert "### `a model.tflite` on nucleo-l4r5@virtual, modelled clock, ± 5 %" in page
    assert "✅ every limit and every bit held" in page and "| equal | 2 inputs |" in page
    assert "| 64.0 KiB |" in page and " ms ± 5 % | 5.00 ms |" in page
    assert {line.split("|")[1].strip() for line in page.splitlines() if "|" in line} >= {"conv", "depthwise", "softmax"}


def test_a_limit_that_does_not_hold_fails_the_step_with_its_table(runner: Any, model: Path) -> None:
    status, log, page = runner("Verify", model=model.name, max_flash="10k", clips="2")
    assert status == 3 and "flash is" in log
    assert "❌ flash is" in page and "the limit 10k" in page and "| conv |" in page


def test_instructions_have_no_time(runner: Any, model: Path) -> None:
    status, log, page = runner("Verify", model=model.name, board="native@native", clips="2")
    assert status == 0, log
    assert " ms" not in page and "latency" not in page


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"model": "none.tflite"}, 1, "❌ none.tflite: cannot be read: No such file or directory"),
        ({"model": "a model.tflite", "max_ram": "64q; touch pwned"}, 2, "'64q; touch pwned' is not a size"),
        ({"model": "$(touch pwned)"}, 1, "❌ $(touch pwned): cannot be read"),
    ],
)
def test_what_cannot_run_is_said_in_the_summary(
    given: dict[str, str], status: int, said: str, runner: Any, model: Path, tmp_path: Path
) -> None:
    assert runner("Verify", **given)[0] == status
    assert said in runner("Verify", **given)[2]
    assert not (tmp_path / "pwned").exists()


def test_a_bug_leaves_a_line_in_the_summary(runner: Any, model: Path, tmp_path: Path) -> None:
    program = tmp_path / "temp" / "hil_nas" / "bin" / "hil_nas"
    program.write_text("#!/bin/sh\nexit 1\n")
    status, _, page = runner("Verify", model=model.name)
    assert status == 1 and "❌ hil_nas ended with status 1" in page


@pytest.mark.parametrize("here", [True, False])
def test_compilers_are_installed_where_they_are_missing(
    here: bool, runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sudo", "apt-get"):
        goes_on = '"$@"' if name == "sudo" else ""
        (programs / name).write_text(f'#!/bin/bash\necho {name} "$@" >>"{tmp_path}/called"\n{goes_on}\n')
        (programs / name).chmod(0o755)
    for name in ("bash", "env", "id", "python3"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}" if here else str(programs))
    status, log, _ = runner("Install compilers")
    assert status == 0, log
    called = (tmp_path / "called").read_text() if (tmp_path / "called").exists() else ""
    assert ("gcc-arm-none-eabi gcc qemu-system-arm" in called) is not here
    assert not here or not called
