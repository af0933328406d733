"""The virtual board's serial port as pyserial users see it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import serial
from virtual_programs import C_START, compile_program, library, power_on

from hil_nas.device.boards import Timing
from hil_nas.device.virtual.port import VirtualSerial, open_virtual
from hil_nas.errors import DeviceError, InputError

ECHO = f"""{C_START}
static void put_hex(uint32_t value) {{
    for (int i = 28; i >= 0; i -= 4) send("0123456789abcdef"[value >> i & 15]);
}}
void run(void) {{
    clock_120_mhz();
    uart(115200);
    R(0x40021058) |= 1; TIM2(0x28) = 119; TIM2(0x14) = 1; TIM2(0) = 1;
    DEMCR |= 1u << 24;
    say("hello\\n");
    for (;;) {{
        int c = receive();
        if (c < 0) continue;
        if (c == 0xF0) {{ say("last words"); R(0x30000000) = 1; }}
        else if (c == 0xF1) R(0xE000ED0C) = 0x05FA0004;
        else if (c == 0xF2) for (;;) {{}}
        else if (c == 0xF3) {{
            DWT_CTRL |= 1;
            uint32_t before = CYCCNT;
            for (volatile int i = 0; i < 1000000; ++i) {{}}
            uint32_t after = CYCCNT;
            DWT_CTRL = 0;
            put_hex(after - before);
        }}
        else if (c == 0xF4) {{
            uint32_t start = TIM2(0x24);
            while (receive() < 0 && TIM2(0x24) - start < 100000) {{}}
            say("late");
        }}
        else send(c);
    }}
}}"""


@dataclasses.dataclass(frozen=True)
class Nucleo:
    """As much of a board as the port asks for."""

    name: str = "nucleo_l4r5"
    timing: Timing | None = Timing(2.0, 3.45, 5.17, 0.31, error_percent=5.0)


@pytest.fixture(scope="module")
def echo_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("echo"), ECHO)


@pytest.fixture
def port(echo_elf: Path, boards_dir: Path, build_dir: Path) -> Iterator[VirtualSerial]:
    with open_virtual(Nucleo(), echo_elf, boards_dir=boards_dir, build_dir=build_dir, timeout=60) as opened:
        yield opened


def test_it_boots_when_opened_and_echoes(port: VirtualSerial) -> None:
    assert port.in_waiting == len(b"hello\n")
    assert port.readline() == b"hello\n"
    data = bytes(range(0xF0)) * 20
    assert port.write(data) == len(data)
    assert port.read(len(data)) == data
    assert port.in_waiting == 0


def test_a_read_gives_what_came_before_its_timeout(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    port.timeout = 0.2
    port.write(b"ab")
    start_s = time.monotonic()
    assert port.read(3) == b"ab"
    assert time.monotonic() - start_s > 0.15
    port.timeout = 0
    assert port.read(3) == b""


def test_without_a_timeout_a_read_waits_for_another_thread(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    port.timeout = None
    threading.Timer(0.1, port.write, args=(b"x",)).start()
    assert port.read(1) == b"x"


def test_buffers_can_be_dropped(port: VirtualSerial) -> None:
    port.write(b"old")
    port.flush()
    port.reset_input_buffer()
    port.write(b"new")
    assert port.read(3) == b"new"


def test_a_counted_loop_gives_the_same_cycles_each_time(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    port.timeout = 20
    counts = []
    for _ in range(3):
        port.write(b"\xf3")
        counts.append(int(port.read(8), 16))
    assert counts[1] > 5_000_000
    assert abs(counts[1] - counts[2]) <= 1  # the counter rounds parts of a penalty down
    assert 0 <= counts[0] - counts[1] < 1000  # cold caches


def test_firmware_that_waits_sees_time_pass(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    start_s = time.monotonic()
    port.write(b"\xf4")
    assert port.read(4) == b"late"
    assert time.monotonic() - start_s > 0.05


def test_a_reset_boots_again(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    port.write(b"\xf1")
    assert port.readline() == b"hello\n"
    port.write(b"z")
    assert port.read(1) == b"z"


def test_a_fault_is_raised_once_its_last_words_are_read(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    port.write(b"\xf0")
    assert port.read(100) == b"last words"
    with pytest.raises(DeviceError, match=r"writes 0x30000000.*run\+"):
        port.read(1)
    with pytest.raises(DeviceError, match="writes 0x30000000"):
        _ = port.in_waiting


def test_a_firmware_that_stopped_is_said(port: VirtualSerial) -> None:
    port.reset_input_buffer()
    port.write(b"\xf2")
    with pytest.raises(DeviceError, match="endless loop at"):
        port.read(1)


def test_a_pause_between_commands_is_no_hang(port: VirtualSerial, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training lies between two commands; the first slice behind it may end before the board has answered."""
    port.reset_input_buffer()
    hours = SimpleNamespace(monotonic=lambda: time.monotonic() + 3 * 3600, perf_counter=time.perf_counter)
    monkeypatch.setattr("hil_nas.device.virtual.port.time", hours)
    run, short = port.machine.run, iter([False])
    monkeypatch.setattr(port.machine, "run", lambda limit_s: next(short, None) is None and run(limit_s))
    port.write(b"a")
    assert port.read(1) == b"a"


def silent_for_slices(
    port: VirtualSerial, monkeypatch: pytest.MonkeyPatch, slices: int | None, slice_s: float
) -> None:
    """The machine runs so many slices (None: all) without an answer or an end, each so long by the clock."""
    now, run, left = [0.0], port.machine.run, count() if slices is None else iter(range(slices))

    def runs(limit_s: float) -> bool:
        if next(left, None) is None:
            return run(limit_s)
        now[0] += slice_s
        return False

    monkeypatch.setattr(port.machine, "run", runs)
    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=time.perf_counter)
    monkeypatch.setattr("hil_nas.device.virtual.port.time", clock)


def test_a_process_that_was_stopped_finds_no_hang(port: VirtualSerial, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-Z and `fg`, or by a machine that had no time for it."""
    port.reset_input_buffer()
    silent_for_slices(port, monkeypatch, 3, 3600.0)
    port.write(b"a")
    assert port.read(1) == b"a"


def test_a_firmware_that_is_busy_for_minutes_is_said(port: VirtualSerial, monkeypatch: pytest.MonkeyPatch) -> None:
    port.reset_input_buffer()
    port.timeout = None
    silent_for_slices(port, monkeypatch, None, 0.05)
    port.write(b"a")
    with pytest.raises(DeviceError, match="busy and silent for 120 s, at"):
        port.read(1)


def test_a_closed_port_is_closed(port: VirtualSerial) -> None:
    port.close()
    port.close()
    assert not port.is_open
    for use in (lambda: port.read(1), lambda: port.write(b"x"), lambda: port.in_waiting, port.flush):
        with pytest.raises(serial.PortNotOpenError):
            use()
    port.open()
    assert port.readline() == b"hello\n"


def test_the_wrong_speed_is_said(echo_elf: Path, boards_dir: Path, build_dir: Path) -> None:
    timing = library(boards_dir, build_dir)
    with pytest.raises(DeviceError, match="runs at 115200 baud and the port at 9600"):
        VirtualSerial("slow", power_on=lambda: power_on(echo_elf, timing), baudrate=9600)


@pytest.mark.parametrize(
    ("left_out", "says"),
    [
        ("R(0x40007004) |= 0x200;", "port G has no supply"),
        ("R(0x48001820) |= 8u << 28;", "PG7 is not alternate function 8"),
    ],
)
def test_a_port_without_its_pins_is_said(
    left_out: str, says: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    assert left_out in ECHO
    elf = compile_program(tmp_path, ECHO.replace(left_out, ""))
    timing = library(boards_dir, build_dir)
    with pytest.raises(DeviceError, match=says):
        VirtualSerial("unrouted", power_on=lambda: power_on(elf, timing))


def test_a_board_that_is_not_modelled_is_refused(echo_elf: Path, boards_dir: Path, build_dir: Path) -> None:
    for board in (Nucleo("mps2_an386"), Nucleo(timing=None)):
        with pytest.raises(InputError, match="no virtual"):
            open_virtual(board, echo_elf, boards_dir=boards_dir, build_dir=build_dir)


def test_a_missing_firmware_is_said(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    with pytest.raises(InputError, match="cannot read the firmware"):
        open_virtual(Nucleo(), tmp_path / "none.elf", boards_dir=boards_dir, build_dir=build_dir)
