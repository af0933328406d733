"""Fetching CMSIS-DSP: pip itself, with a release made here in a folder instead of an index."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from hil_nas import cli
from hil_nas.device import sources
from hil_nas.device.firmware import CMSIS_DSP_FOLDER, find_third_party
from hil_nas.device.sources import fetch_cmsis_dsp
from hil_nas.errors import MissingToolError

METADATA = "Metadata-Version: 2.1\nName: cmsisdsp\nVersion: 1.10.3\n"
BACKEND = f"""
import pathlib
def prepare_metadata_for_build_wheel(folder, settings=None):
    pathlib.Path(folder, "cmsisdsp-1.10.3.dist-info").mkdir()
    pathlib.Path(folder, "cmsisdsp-1.10.3.dist-info", "METADATA").write_text({METADATA!r})
    return "cmsisdsp-1.10.3.dist-info"
def build_wheel(*_):
    raise NotImplementedError
"""
FILES = {
    "PKG-INFO": METADATA, "backend.py": BACKEND, "Include/arm_math.h": "/* headers */\n",
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
}  # fmt: skip


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source distribution of the name and version that are wanted, the only thing that pip can find."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("CMSIS_DSP_ROOT", raising=False)
    path = tmp_path / "index" / f"{CMSIS_DSP_FOLDER}.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(f"{CMSIS_DSP_FOLDER}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def test_the_release_that_was_tested_is_unpacked_where_it_is_looked_for(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "SHA256", hashlib.sha256(release.read_bytes()).hexdigest())
    (tmp_path / "build" / "third_party" / CMSIS_DSP_FOLDER).mkdir(parents=True)  # as an interrupted copy leaves it
    fetch_cmsis_dsp(tmp_path / "build")
    assert (find_third_party(tmp_path / "build").cmsis_dsp / "Include" / "arm_math.h").read_text() == "/* headers */\n"
    assert [x.name for x in (tmp_path / "build" / "third_party").iterdir()] == [CMSIS_DSP_FOLDER]
    release.unlink()
    fetch_cmsis_dsp(tmp_path / "build")  # nothing is fetched twice


def test_another_file_of_that_name_is_refused(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--fetch", "--build", str(tmp_path / "build")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "HASHES" in said[-2] and "CMSIS_DSP_ROOT" in said[-1]
    assert not list((tmp_path / "build" / "third_party").iterdir())


def test_without_pip_or_an_index_it_says_what_else_helps(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release.unlink()
    with pytest.raises(MissingToolError, match="No matching distribution.*CMSIS_DSP_ROOT"):
        fetch_cmsis_dsp(tmp_path / "build")
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="ensurepip"):
        fetch_cmsis_dsp(tmp_path / "build")


def test_a_checkout_of_the_users_own_is_enough(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMSIS_DSP_ROOT", str(tmp_path))
    fetch_cmsis_dsp(tmp_path / "build")
    assert not (tmp_path / "build").exists()
