"""Hosts, with fakes where a program, a probe or a port would be."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from device_fake import IDENTITY, FakeBoard

from hil_nas.device.boards import Board, BoardMemory, Build, Debug, Qemu, Uart
from hil_nas.device.firmware import Firmware
from hil_nas.device.hosts import open_device
from hil_nas.device.hosts.running import Running
from hil_nas.device.hosts.silicon import find_port, flash_board, start_serial
from hil_nas.device.serve import serve_pty
from hil_nas.errors import IdentityError, InputError, LinkError, MissingToolError
from hil_nas.extras import pip_install

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

    def run(command: list[str], _: float) -> tuple[int, str]:
        seen.append(command)
        return status, words

    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setattr("hil_nas.device.hosts.silicon.run", run)
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
    with pytest.raises(MissingToolError, match=re.escape(pip_install("flash"))):
        flash_board(BOARD, tmp_path / "fw.elf", None)


BUILD_ID = IDENTITY["build"]


@pytest.fixture
def attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeBoard, dict[str, Path]]]:
    """A board on a pty, as if on USB, and what `open_device` needs to find it."""
    fake, address = FakeBoard(), queue.Queue[str]()

    def work() -> None:
        with pytest.raises(LinkError):
            serve_pty(Running(fake), address.put, lambda changed: None)

    thread = threading.Thread(target=work)
    thread.start()
    board = replace(BOARD, name="nucleo_l4r5", hosts=("serial",))
    image = Firmware(tmp_path / "fw.elf", BUILD_ID, "", 0, 0, 0, 0, "", "")
    port = FakePort(address.get(timeout=5), 0x0483, 0x374B, "066DFF")
    monkeypatch.setattr("hil_nas.device.hosts.load_board", lambda *_: board)
    monkeypatch.setattr("hil_nas.device.hosts.build_firmware", lambda *_: image)
    monkeypatch.setattr("hil_nas.device.hosts.find_third_party", lambda: None)
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
