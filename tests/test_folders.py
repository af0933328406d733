"""Boards, latency models and build folder are found from the program, in a checkout and in an installation."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hil_nas import cli, folders, runs
from hil_nas.cli.arguments import parser
from hil_nas.cli.commands import Search
from hil_nas.cli.parsing import settings
from hil_nas.device.boards import board_names
from hil_nas.folders import Folders, usual_folders

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with nothing in it, and a home without caches."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    return folder


@pytest.fixture
def installed(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as a wheel leaves it: no checkout around it."""
    package = tmp_path / "site-packages" / "hil_nas"
    package.mkdir(parents=True)
    (package / "boards").symlink_to(ROOT / "boards")
    (package / "latency_models").symlink_to(ROOT / "latency_models")
    monkeypatch.setattr(folders, "_package", lambda: package)
    return package


def test_a_checkout_is_found_from_any_folder(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_checkout = Folders(ROOT / "boards", ROOT / "build", ROOT / "latency_models", Path("runs"))
    assert usual_folders() == of_checkout
    assert cli.main(["profile", "--compare", "nucleo-l4r5@virtual", "mps2-an386@qemu"]) == 0
    assert "modelled" in capsys.readouterr().out and not list(elsewhere.iterdir())


def test_an_installation_is_found_from_any_folder(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    assert usual_folders() == Folders(
        installed / "boards", home / ".cache/hil_nas", home / ".local/share/hil_nas/latency_models", Path("runs"),
        installed / "latency_models",
    )  # fmt: skip
    assert "nucleo_l4r5" in board_names(usual_folders().boards)
    assert cli.main(["profile", "--compare", "nucleo-l4r5@virtual", "mps2-an386@qemu"]) == 0
    assert "modelled" in capsys.readouterr().out and not home.exists()


@pytest.mark.parametrize(("named", "taken"), [("/a/cache", True), ("relative", False), ("", False)])
def test_the_cache_is_where_xdg_says(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, taken: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("XDG_DATA_HOME", named)
    usual = usual_folders()
    cache, data = (named, named) if taken else (tmp_path / "home/.cache", tmp_path / "home/.local/share")
    assert (usual.build, usual.models) == (Path(cache, "hil_nas"), Path(data, "hil_nas/latency_models"))


@pytest.mark.parametrize("flag", ["--boards", "--build", "--models", "--runs"])
def test_an_option_wins(installed: Path, flag: str) -> None:
    name, usual = flag[2:], settings(Search, parser().parse_args(["search"])).folders
    chosen = settings(Search, parser().parse_args(["search", flag, "mine"])).folders
    assert getattr(chosen, name) == Path("mine") != getattr(usual, name)
    assert usual.shipped_models == installed / "latency_models"
    assert chosen.shipped_models == (None if name == "models" else usual.shipped_models)


def test_a_run_names_the_revision_of_the_program_and_no_other(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [["init", "-q"], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x", "--allow-empty"]]
    for command in commands:
        subprocess.run(["git", *command], cwd=elsewhere, check=True)
    other = subprocess.run(["git", "describe", "--always"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert runs.environment()["git"] != other.stdout.strip()
    monkeypatch.setattr(runs, "checkout", lambda: None)
    assert runs.environment()["git"] is None


def test_a_wheel_carries_boards_latency_models_and_zoo(tmp_path: Path) -> None:
    """Built by the backend itself, as pip calls it; every file that git has of the four folders is inside."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout to know what belongs inside")
    pytest.importorskip("hatchling", reason="needs hatchling: make setup")
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        names = {x for x in wheel.namelist() if not x.startswith("hil_nas-")}
    carried = ["hil_nas", "boards", "latency_models", "zoo"]
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *carried]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert names == {x if x.startswith("hil_nas/") else f"hil_nas/{x}" for x in listed}
