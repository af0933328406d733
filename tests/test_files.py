"""Full disks, missing rights and things in the way: one line, and nothing half-written.

A limit on the size of files stands for a full disk: the system takes a part of what is written and refuses the rest.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_latency_store import HERE, NETWORK, measured
from test_profile import CONFIGS, FakeDevice

from hil_nas import cli
from hil_nas.errors import OutputError
from hil_nas.files import append, refused, require_writable, whole_file, write_atomically
from hil_nas.latency.store import Store
from hil_nas.network import Layer, Network
from hil_nas.runs import Run
from hil_nas.workflows import measurement_plan, profile

MAIN = "import sys; from hil_nas.cli import main; sys.exit(main())"


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_that_does_not_fit_is_not_there_and_the_old_one_is(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "model.tflite"
    if before is not None:
        path.write_bytes(before)
    with room_for(1000), pytest.raises(OutputError, match="cannot write .*model.tflite: File too large"):
        write_atomically(path, bytes(3000))
    assert [x.read_bytes() for x in tmp_path.iterdir()] == ([] if before is None else [before])
    write_atomically(path, bytes(3000))
    assert path.read_bytes() == bytes(3000) and [x.name for x in tmp_path.iterdir()] == [path.name]


def test_a_line_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"a line\n")
    with room_for(1000), pytest.raises(OutputError, match="File too large"):
        append(path, bytes(3000))
    assert path.read_bytes() == b"a line\n"
    append(path, b"another\n")
    assert path.read_bytes() == b"a line\nanother\n"


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "image.elf") as beside:
        beside.write_bytes(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_full_device_is_said_as_such() -> None:
    with pytest.raises(OutputError, match="/dev/full: No space left on device.*free some space"):
        append(Path("/dev/full"), b"x")


@pytest.mark.parametrize(
    ("place", "said"),
    [("folder", "Is a directory"), ("file/inside", "a file stands there"), ("x" * 300, "File name too long")],
)
def test_what_is_in_the_way_is_said(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "folder" / "kept").mkdir(parents=True)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match=said):
        write_atomically(tmp_path / place, b"x")
    assert sorted(x.name for x in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept" and (tmp_path / "folder" / "kept").is_dir()


def test_missing_parents_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c", b"x")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"x"


def test_a_network_that_does_not_fit_is_measured_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "nucleo-l4r5@virtual")
    store.open(HERE, build="aaaa")
    store.append_network(*measured(NETWORK))
    before = (store.folder / "measurements.csv").read_bytes()
    other = Network((49, 10, 1), (*NETWORK.layers[:-1], Layer("fully_connected", (4,), 35)))
    with room_for(len(before) + 100), pytest.raises(OutputError, match="measurements.csv"):
        store.append_network(*measured(other))
    assert (store.folder / "measurements.csv").read_bytes() == before
    store.append_network(*measured(other))
    assert len(store.read().networks) == 2


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    with room_for(100), pytest.raises(OutputError, match="File too large"):
        Run.create(tmp_path, "search", "x", {"words": ["word"] * 100})
    assert not list(tmp_path.iterdir())


def test_rights_are_looked_at_before_long_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_writable(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is no folder"):
        require_writable(tmp_path / "file" / "runs")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere but on a read-only disk
    with pytest.raises(OutputError, match="is read-only here"):
        require_writable(tmp_path / "runs")


def test_a_profile_is_not_measured_for_a_report_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(profile, "open_device", lambda target, **_: opened.append(target) or FakeDevice())
    monkeypatch.setattr(measurement_plan, "front_ends", lambda: CONFIGS)
    (tmp_path / "file").write_text("")
    where = ["--models", str(tmp_path / "models"), "--build", str(tmp_path)]
    assert cli.main(["profile", *where, "--runs", str(tmp_path / "file")]) == 1
    assert "is no folder" in capsys.readouterr().err and opened == []


@pytest.mark.parametrize("flag", ["--build", "--models"])
@pytest.mark.parametrize("place", ["file", "file/inside", "/dev/full"])
def test_folders_that_are_none_are_one_line(
    flag: str, place: str, tmp_path: Path, boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    if flag == "--models":
        monkeypatch.setattr(profile, "open_device", lambda target, **_: FakeDevice())
    assert cli.main(["profile", "--boards", str(boards_dir), "--runs", str(tmp_path / "runs"), flag, place]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "Not a directory" in said[0] or "File exists" in said[0], said
    assert len(said) == 2 and (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE])
def test_what_the_system_refuses_anywhere_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/somewhere/file")

    monkeypatch.setattr("hil_nas.workflows.doctor.examine", refuse)
    assert cli.main(["doctor", "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["message"] == f"/somewhere/file: {os.strerror(number)}"
    assert len(printed.err.splitlines()) == 2


def test_a_file_that_is_missing_is_our_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def miss(*_: object) -> None:
        Path("/nowhere/file").read_text()

    monkeypatch.setattr("hil_nas.workflows.doctor.examine", miss)
    with pytest.raises(FileNotFoundError):
        cli.main(["doctor"])


def test_no_room_for_temporary_files_is_a_full_disk() -> None:
    refusal = refused(FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"))
    assert refusal is not None and "temporary" in refusal.message and refusal.hint == "free some space, then try again"


def gone() -> int:
    """The writing end of a pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "status"),
    [(["doctor", "--timing"], 0), (["doctor", "--timing", "--json"], 0), (["search", "--help"], 0),
     (["search", "--max-ram", "0", "--json"], 2)],
)  # fmt: skip
@pytest.mark.parametrize("output", [gone, full])
def test_output_that_goes_nowhere(output: Callable[[], int], words: list[str], status: int, unbuffered: str) -> None:
    """A reader that has left (`| head -1`) wanted no more: no error. A full disk is one, in one line."""
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    descriptor = output()
    try:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words], stdout=descriptor, stderr=subprocess.PIPE, text=True, env=environment
        )
    finally:
        os.close(descriptor)
    said = done.stderr.splitlines()
    if status == 2:
        assert done.returncode == 2 and len(said) == 2 and "--max-ram" in said[0]
    elif output is gone:
        assert (done.returncode, said) == (0, [])
    else:
        assert (done.returncode, said) == (1, ["hil_nas: cannot write to standard output: No space left on device"])


@pytest.mark.parametrize("output", [gone, full])
def test_errors_that_nobody_hears_change_no_status(output: Callable[[], int]) -> None:
    descriptor = output()
    try:
        command = [sys.executable, "-c", MAIN, "search", "--max-ram", "0", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=descriptor, text=True)
    finally:
        os.close(descriptor)
    assert done.returncode == 2 and json.loads(done.stdout)["error"] == "UsageError"
