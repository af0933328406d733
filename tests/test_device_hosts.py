"""Hosts, with fakes where a program, a probe or a port would be."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from device_fake import IDENTITY, FakeBoard

from hil_nas.device.boards import Board, BoardMemory, Build, Debug, Qemu, Uart
from hil_nas.device.firmware import Firmware
from hil_nas.device.hosts import open_device
from hil_nas.device.hosts.emulator import qemu_command, start_qemu, start_renode
from hil_nas.device.hosts.process import Child
from hil_nas.device.hosts.running import Running
from hil_nas.device.hosts.silicon import find_port, flash_board, start_serial
from hil_nas.device.link import Link
from hil_nas.device.serve import serve_pty
from hil_nas.errors import IdentityError, InputError, LinkError, MissingToolError

BOARD = Board(
    name="some_board",
    core="cortex-m4",
    cpu_hz=120_000_000,
    hosts=("serial", "renode", "qemu"),
    memory=BoardMemory(655360, 2097152),
    uart=Uart(115200, ("0483:374B", "0483:374e")),
    build=Build("arm-none-eabi-gcc", (), ()),
    debug=Debug("stm32l4r5zitx"),
    qemu=Qemu("mps2-an386", 8),
)
FAKE_PROGRAM = """#!{python}
import re, socket, sys
sys.path.insert(0, {tests!r})
from device_fake import FakeBoard
port = int(re.search(r"(?:\\$port=|127.0.0.1:)([0-9]+)", " ".join(sys.argv)).group(1))
with socket.create_server(("127.0.0.1", port)) as server:
    client, board = server.accept()[0], FakeBoard()
    client.sendall(bytes(board.out))
    while data := client.recv(4096):
        board.out.clear()
        board.write(data)
        client.sendall(bytes(board.out))
"""


@dataclass
class FakePort:
    device: str
    vid: int | None = None
    pid: int | None = None
    serial_number: str | None = None


STLINK = FakePort("/dev/ttyACM0", 0x0483, 0x374B, "066DFF")
OTHER_STLINK = FakePort("/dev/ttyACM1", 0x0483, 0x374E, "066DEE")
MODEM = FakePort("/dev/ttyUSB0", 0x1A86, 0x7523)
ONBOARD = FakePort("/dev/ttyS0")


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)


def running_from(folder: Path) -> list[str]:
    """Command lines of the processes that were started from a folder."""
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
    return folder


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    folder = tmp_path / "boards" / "some_board"
    folder.mkdir(parents=True)
    (folder / "some_board.resc").write_text("start\n")
    return folder.parent


def test_an_emulator_is_started_and_ended(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    text = FAKE_PROGRAM.format(python=sys.executable, tests=str(Path(__file__).parent))
    program(fake_bin, "renode", text)
    program(fake_bin, "qemu-system-arm", text)
    for start in (
        lambda: start_renode(BOARD, tmp_path / "fw.elf", boards, tmp_path),
        lambda: start_qemu(BOARD, tmp_path / "fw.elf", tmp_path),
    ):
        running = start()
        with Link(running.port, alive=running.alive) as link:
            assert "id-board-nucleo_l4r5" in link.command("hil id")
            assert link.upload("hil load input ram", b"abc" * 1000) == ["loaded-3000"]
            assert running_from(fake_bin)
            running.release()
            with pytest.raises(LinkError):
                link.command("hil id")
        assert not running_from(fake_bin)
    assert not list((tmp_path / "hosts").iterdir())  # no log of what went well


def test_an_emulator_that_fails_is_said_with_its_last_words(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    program(fake_bin, "renode", "#!/bin/sh\necho loading\necho 'no such platform' >&2\nexit 3\n")
    start = time.monotonic()
    with pytest.raises(LinkError, match="renode ended with status 3: no such platform"):
        start_renode(BOARD, tmp_path / "fw.elf", boards, tmp_path)
    assert time.monotonic() - start < 5


def test_an_emulator_that_does_not_boot_is_given_up(
    fake_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FAKE_PROGRAM.format(python=sys.executable, tests=str(Path(__file__).parent))
    program(fake_bin, "qemu-system-arm", text.replace("m-ready", "").replace("bytes(board.out)", "b'm-lap'"))
    monkeypatch.setattr("hil_nas.device.hosts.emulator.BOOT_S", 0.5)
    with pytest.raises(LinkError, match="no 'm-ready' within 0.5 s"):
        start_qemu(BOARD, tmp_path / "fw.elf", tmp_path)
    assert not running_from(fake_bin)


def test_ctrl_c_at_start_leaves_nothing_running(
    fake_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(fake_bin, "qemu-system-arm", "#!/bin/sh\nwhile true; do sleep 0.1; done\n")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hil_nas.device.hosts.emulator.connect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_qemu(BOARD, tmp_path / "fw.elf", tmp_path)
    assert not running_from(fake_bin)


def test_a_child_that_does_not_listen_to_reason_is_killed(fake_bin: Path, tmp_path: Path) -> None:
    program(fake_bin, "stubborn", "#!/bin/sh\ntrap '' TERM\nwhile true; do sleep 0.1; done\n")
    child = Child([str(fake_bin / "stubborn")], tmp_path / "log")
    child.alive()
    time.sleep(0.2)
    child.end()
    with pytest.raises(LinkError, match="ended with status"):
        child.alive()


def test_missing_programs_are_named(
    fake_bin: Path, boards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(fake_bin))
    with pytest.raises(MissingToolError, match="'qemu-system-arm' is not on PATH.*apt-get install"):
        start_qemu(BOARD, tmp_path / "fw.elf", tmp_path)
    with pytest.raises(MissingToolError, match="'renode' is not on PATH"):
        start_renode(BOARD, tmp_path / "fw.elf", boards, tmp_path)


def test_a_renode_that_is_too_old_is_refused(fake_bin: Path, boards: Path, tmp_path: Path) -> None:
    program(fake_bin, "renode", "#!/bin/sh\necho 'Renode v1.15.3.28010'\n")
    with pytest.raises(MissingToolError, match=r"is Renode 1.15.3.28010, whose counts.*install Renode 1.16"):
        start_renode(BOARD, tmp_path / "fw.elf", boards, tmp_path)


def test_qemu_counts_instructions(fake_bin: Path, tmp_path: Path) -> None:
    program(fake_bin, "qemu-system-arm", "")
    command = " ".join(qemu_command(BOARD, tmp_path / "fw.elf", 4321))
    assert "-M mps2-an386 -icount shift=8" in command and "tcp:127.0.0.1:4321,server=on,wait=on" in command


def test_a_board_is_found_by_its_usb_id() -> None:
    assert find_port(BOARD, [MODEM, ONBOARD, STLINK], None) is STLINK


def test_no_board_and_two_boards_are_said() -> None:
    with pytest.raises(LinkError, match="0483:374b, 0483:374e"):
        find_port(BOARD, [MODEM, ONBOARD], None)
    with pytest.raises(InputError, match="2 boards are attached: /dev/ttyACM0, /dev/ttyACM1"):
        find_port(BOARD, [STLINK, OTHER_STLINK], None)


def test_a_named_port_is_taken_whatever_it_is() -> None:
    assert find_port(BOARD, [STLINK, OTHER_STLINK], "/dev/ttyACM1") is OTHER_STLINK
    assert find_port(BOARD, [STLINK], "/dev/pts/3") is None


def test_a_port_that_does_not_open_is_said(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="does not open.*dialout"):
        start_serial(BOARD, tmp_path / "fw.elf", str(tmp_path / "tty"), flash=False)


def pyocd_that(monkeypatch: pytest.MonkeyPatch, status: int, words: str) -> list[list[str]]:
    seen: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        seen.append(command)
        return subprocess.CompletedProcess(command, status, words.encode())

    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setattr("subprocess.run", run)
    return seen


def test_flashing_names_the_probe_and_the_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = pyocd_that(monkeypatch, 0, "")
    flash_board(BOARD, tmp_path / "fw.elf", "066DFF")
    command = " ".join(seen[0])
    assert "-m pyocd load" in command and "--target stm32l4r5zitx --uid 066DFF" in command
    assert command.endswith("fw.elf")


def test_flashing_that_fails_is_said_with_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pyocd_that(monkeypatch, 1, "loading\nTarget type stm32l4r5zitx not recognized\n")
    with pytest.raises(LinkError, match="not recognized.*pyocd pack install stm32l4r5zitx"):
        flash_board(BOARD, tmp_path / "fw.elf", None)


def test_flashing_without_pyocd_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingToolError, match=r"pip install 'hil_nas\[flash\]'"):
        flash_board(BOARD, tmp_path / "fw.elf", None)


BUILD_ID = IDENTITY["build"]


@pytest.fixture
def attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeBoard, dict[str, Path]]]:
    """A board on a pty, as if on USB, and what `open_device` needs to find it."""
    fake, address = FakeBoard(), queue.Queue[str]()

    def work() -> None:
        with pytest.raises(LinkError):
            serve_pty(Running(fake), address.put)

    thread = threading.Thread(target=work)
    thread.start()
    board = replace(BOARD, name="nucleo_l4r5", hosts=("serial",))
    image = Firmware(tmp_path / "fw.elf", BUILD_ID, "", 0, 0, 0, 0, "", "")
    port = FakePort(address.get(timeout=5), 0x0483, 0x374B, "066DFF")
    monkeypatch.setattr("hil_nas.device.hosts.load_board", lambda *_: board)
    monkeypatch.setattr("hil_nas.device.hosts.build_firmware", lambda *_: image)
    monkeypatch.setattr("hil_nas.device.hosts.find_third_party", lambda _: None)
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [MODEM, port])
    yield fake, {"boards_dir": tmp_path, "build_dir": tmp_path}
    fake.gone = True
    thread.join(5)


def test_a_board_on_a_port_is_opened_by_its_usb_id(attached: tuple[FakeBoard, dict[str, Path]]) -> None:
    fake, folders = attached
    with open_device("nucleo-l4r5", **folders) as device:
        assert (device.identify().clock_kind, device.identify().host) == ("silicon", "serial")
        assert device.load_plan(b"p" * 3000).op_count == 2
    assert fake.slots["plan"] == b"p" * 3000


def test_a_board_with_another_build_is_refused_unless_flashed(
    attached: tuple[FakeBoard, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, folders = attached
    fake.identity["build"] = "ffffffffffffffff"
    with pytest.raises(IdentityError, match=f"build ffffffffffffffff runs on the board, expected {BUILD_ID}"):
        open_device("nucleo-l4r5", **folders)
    seen = pyocd_that(monkeypatch, 0, "")
    fake.identity["build"] = BUILD_ID
    open_device("nucleo-l4r5", **folders, flash=True).close()
    assert "066DFF" in seen[0]


def test_another_board_is_refused(attached: tuple[FakeBoard, dict[str, Path]]) -> None:
    fake, folders = attached
    fake.identity["board"] = "mps2_an386"
    with pytest.raises(IdentityError, match="'mps2_an386' answers, expected 'nucleo_l4r5'"):
        open_device("nucleo-l4r5", **folders)
