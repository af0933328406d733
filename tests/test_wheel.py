"""A wheel in an environment of its own, outside the checkout, with what it says it needs and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import attach_front_end
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from tests.conftest import ROOT
from tests.recordings import record

NETWORK = Network((25, 10, 1), (Layer("conv", (-1,), 4, kernel=(3, 3), relu=True), Layer("fully_connected", (0,), 3)))


def with_all_they_need(requirements: Sequence[str]) -> set[str]:
    """The distributions that requirements without extras bring, however deep."""
    found: set[str] = set()
    pending = list(requirements)
    while pending:
        requirement = Requirement(pending.pop())
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            pending += metadata.requires(requirement.name) or []
        except metadata.PackageNotFoundError:
            pytest.skip(f"needs {requirement.name}: make setup")
        found.add(requirement.name)
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment into which the wheel was put; what it needs is linked from this one."""
    pytest.importorskip("hatchling", reason="needs hatchling: make setup")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env" / "lib").glob("python3*/site-packages")
    with zipfile.ZipFile(folder / done.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(site)
    (own,) = metadata.distributions(path=[str(site)])
    for name in with_all_they_need(own.requires or []):
        distribution = metadata.distribution(name)
        for top in {x.parts[0] for x in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "env" / "bin" / "python"


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {x: y for x, y in os.environ.items() if not x.startswith(("PYTHON", "XDG_", "VIRTUAL_ENV"))}
    return subprocess.run(
        [python, "-c", *arguments], cwd=cwd, env={**environment, "HOME": str(cwd / "home")}, capture_output=True,
        text=True,
    )  # fmt: skip


COMMAND = "import sys; from hil_nas.cli import main; sys.exit(main())"


def test_a_wheel_brings_no_torch_and_finds_what_it_carries(python: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, json, hil_nas; f = hil_nas.Folders, hil_nas.check_data; "
        "from hil_nas.folders import usual_folders as x; "
        "print(json.dumps([hil_nas.__file__, str(x().boards), str(x().shipped_models), "
        "[y for y in ('torch', 'tensorflow', 'ray') if u.find_spec(y)]]))"
    )
    done = run(python, code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *places, extras = json.loads(done.stdout)
    assert all(Path(x).is_relative_to(python.parent.parent) and Path(x).exists() for x in places) and extras == []


def test_data_are_checked_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    record(tmp_path / "recordings", ["lamp", "music"])
    done = run(python, COMMAND, "data", "check", "recordings", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and {x["name"] for x in report["classes"]} == {"lamp", "music"}
    assert {x.name for x in tmp_path.iterdir()} == {"recordings"}


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc: make setup")
def test_a_model_is_verified_outside_the_checkout(python: Path, tmp_path: Path, build_dir: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(
        attach_front_end(write_tflite(random_graph(NETWORK, 0)), Mfcc(640, 640, 20, 10))
    )
    options = ["--board", "nucleo-l4r5@virtual", "--clips", "1", "--json", "--build", str(build_dir)]
    done = run(python, COMMAND, "verify", "model.tflite", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verified = json.loads(done.stdout)
    assert verified["bits_equal"] and verified["clock"]["kind"] == "modelled" and verified["latency_ms"] > 0


def test_a_network_of_the_zoo_is_given_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    listed = run(python, COMMAND, "zoo", "--json", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    name = json.loads(listed.stdout)["networks"][-1]["name"]
    done = run(python, COMMAND, "zoo", name, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / json.loads(done.stdout)["run"]
    assert all((folder / x).is_file() for x in ("model.tflite", "report.html", "export/Makefile", "result.json"))
    assert not (tmp_path / "home").exists()


def test_a_search_says_what_it_lacks(python: Path, tmp_path: Path) -> None:
    done = run(python, COMMAND, "search", "--words", "lamp", cwd=tmp_path)
    assert done.returncode == 1 and "hil_nas[search]" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
