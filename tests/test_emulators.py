"""QEMU and Renode as programs: how they are started, what their failures are called, and that they are ended."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_renode import MONITOR_PORT

from hil_nas.device.boards import Board, BoardMemory, Build, Qemu, Uart
from hil_nas.device.hosts import emulator
from hil_nas.device.hosts.emulator import qemu_command, start_qemu, start_renode
from hil_nas.device.hosts.process import Child, free_port
from hil_nas.device.hosts.running import Running
from hil_nas.device.link import Link
from hil_nas.errors import LinkError, MissingToolError

TESTS = Path(__file__).parent
BOARD = Board(
    name="some_board",
    core="cortex-m4",
    cpu_hz=120_000_000,
    hosts=("renode", "qemu"),
    memory=BoardMemory(655360, 2097152),
    uart=Uart(115200, ()),
    build=Build("arm-none-eabi-gcc", (), ()),
    qemu=Qemu("mps2-an386", 8),
)
FAKE_QEMU = f"""#!{sys.executable}
import re, socket, sys
sys.path.insert(0, {str(TESTS)!r})
from device_fake import FakeBoard
board = FakeBoard()
with socket.socket(fileno=int(re.search("fd=([0-9]+)", " ".join(sys.argv)).group(1))) as uart:
    uart.sendall(bytes(board.out))
    while data := uart.recv(4096):
        board.out.clear()
        board.write(data)
        uart.sendall(bytes(board.out))
"""
# As a package may put it on PATH: a script that starts another program and waits for it.
FAKE_RENODE = f'#!/bin/sh\n"{sys.executable}" "{TESTS / "fake_renode.py"}" "$@"\n'


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)


def running_from(folder: Path) -> list[str]:
    """Command lines of the processes that name a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:  # it has just ended
            continue
    return [x for x in lines if str(folder) in x]


@pytest.fixture
def fake_bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "fake_bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv(MONITOR_PORT, str(free_port()))
    program(folder, "renode", FAKE_RENODE)
    program(folder, "qemu-system-arm", FAKE_QEMU)
    return folder


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    folder = tmp_path / "boards" / "some_board"
    folder.mkdir(parents=True)
    (folder / "some_board.resc").write_text("start\n")
    return folder.parent


def renode(boards: Path, tmp_path: Path) -> Running:
    return start_renode(BOARD, tmp_path / "fw.elf", boards, tmp_path)


def qemu(_: Path, tmp_path: Path) -> Running:
    return start_qemu(BOARD, tmp_path / "fw.elf", tmp_path)


@pytest.mark.parametrize("start", [renode, qemu])
def test_an_emulator_is_started_and_ended(start, fake_bin: Path, boards: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    running = start(boards, tmp_path)
    with Link(running.port, alive=running.alive) as link:
        assert "id-board-nucleo_l4r5" in link.command("hil id")
        assert link.upload("hil load input ram", b"abc" * 1000) == ["loaded-3000"]
        assert running_from(tmp_path)
        running.release()
        with pytest.raises(LinkError):
            link.command("hil id")
    assert not running_from(tmp_path)
    assert not list((tmp_path / "hosts").iterdir())  # no log of what went well


def test_two_renodes_run_at_once_and_their_monitors_are_closed(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    both = [renode(boards, tmp_path) for _ in range(2)]
    for running in both:
        with Link(running.port, alive=running.alive) as link:
            assert "id-board-nucleo_l4r5" in link.command("hil id")
        running.release()


def test_a_program_that_fails_is_said_with_its_last_words(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    text = "#!/bin/sh\n[ $1 = --version ] && exit\necho loading\necho 'no such machine' >&2\nexit 3\n"
    for name, start in (("renode", renode), ("qemu-system-arm", qemu)):
        program(fake_bin, name, text)
        begin_s = time.monotonic()
        with pytest.raises(LinkError, match=f"{name} ended with status 3: no such machine .its output is in .*log"):
            start(boards, tmp_path)
        assert time.monotonic() - begin_s < emulator.BOOT_S / 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("fails: Error E04: Could not resolve type: 'UART.None'.", "Renode says: .*LoadPlatform.*: Error E04: .*'UART"),
        ("nonsense:", "Renode has not run its script and says: Could not tokenize here"),
    ],
)
def test_an_error_in_a_platform_file_is_said_in_renodes_words(
    script: str, said: str, fake_bin: Path, boards: Path, tmp_path: Path
) -> None:
    """Renode itself lives on, at its prompt, and nobody will ever listen on the port."""
    (boards / "some_board" / "some_board.resc").write_text(script)
    begin_s = time.monotonic()
    with pytest.raises(LinkError, match=said):
        renode(boards, tmp_path)
    assert time.monotonic() - begin_s < emulator.BOOT_S / 2
    assert not running_from(tmp_path)


def test_a_port_that_another_server_took_is_not_renodes(
    fake_bin: Path, boards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken, ports = stranger.getsockname()[1], []

        def next_port() -> int:
            ports.append(taken if not ports else free_port())
            return ports[-1]

        monkeypatch.setattr(emulator, "free_port", next_port)
        running = renode(boards, tmp_path)
        with Link(running.port, alive=running.alive) as link:
            assert "id-board-nucleo_l4r5" in link.command("hil id")
        running.release()
        assert len(ports) == 2
        monkeypatch.setattr(emulator, "free_port", lambda: taken)
        with pytest.raises(LinkError, match="5 TCP ports were free and taken before Renode had them"):
            renode(boards, tmp_path)
    assert not running_from(tmp_path)


def test_an_emulator_that_ends_in_the_middle_is_said(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    (boards / "some_board" / "some_board.resc").write_text("dies: Fatal error: out of memory")
    running = renode(boards, tmp_path)
    with Link(running.port, alive=running.alive) as link:
        for _ in range(2):
            with pytest.raises(LinkError, match="renode ended with status 3: Fatal error: out of memory .its output"):
                link.command("hil memory")
    running.release()
    assert list((tmp_path / "hosts").iterdir())  # the log that the message names


def test_an_emulator_that_does_not_boot_is_given_up(
    fake_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(fake_bin, "qemu-system-arm", FAKE_QEMU.replace("bytes(board.out)", "b'm-lap'"))
    monkeypatch.setattr(emulator, "BOOT_S", 0.5)
    with pytest.raises(LinkError, match="no 'm-ready' within 0.5 s"):
        start_qemu(BOARD, tmp_path / "fw.elf", tmp_path)
    assert not running_from(tmp_path)


def test_ctrl_c_at_start_leaves_nothing_running(
    fake_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(fake_bin, "qemu-system-arm", "#!/bin/sh\nwhile true; do sleep 0.1; done\n")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(emulator, "_booted", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_qemu(BOARD, tmp_path / "fw.elf", tmp_path)
    assert not running_from(tmp_path)


def test_a_child_that_does_not_listen_to_reason_is_killed(fake_bin: Path, tmp_path: Path) -> None:
    program(fake_bin, "stubborn", "#!/bin/sh\ntrap '' TERM\necho deaf\nwhile true; do sleep 0.1; done\n")
    child = Child([str(fake_bin / "stubborn")], tmp_path / "log")
    while not child.words():
        child.alive(0.01)
    child.end()
    with pytest.raises(LinkError, match="ended with status 137"):
        child.alive()
    assert not running_from(tmp_path)


def test_missing_programs_are_named(
    fake_bin: Path, boards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="'qemu-system-arm' is not on PATH.*apt-get install"):
        qemu(boards, tmp_path)
    with pytest.raises(MissingToolError, match="'renode' is not on PATH"):
        renode(boards, tmp_path)


def test_a_renode_that_is_too_old_is_refused(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    program(fake_bin, "renode", "#!/bin/sh\necho 'Renode v1.15.3.28010'\n")
    with pytest.raises(MissingToolError, match=r"is Renode 1.15.3.28010, whose counts.*install Renode 1.16"):
        renode(boards, tmp_path)


def test_qemu_counts_instructions(fake_bin: Path, tmp_path: Path) -> None:
    command = " ".join(qemu_command(BOARD, tmp_path / "fw.elf", 7))
    assert "-M mps2-an386 -icount shift=8" in command and "socket,id=uart,fd=7" in command
    assert BOARD.qemu and "an500" in " ".join(qemu_command(replace(BOARD, qemu=Qemu("mps2-an500", 6)), Path("x"), 7))
