"""The virtual board's serial port, as pyserial users know ports; the board runs while somebody reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from serial.serialutil import PortNotOpenError, SerialBase, SerialException, Timeout

from hil_nas.device.boards import Timing
from hil_nas.device.virtual.elf import read_elf
from hil_nas.device.virtual.machine import Machine
from hil_nas.device.virtual.timing import TimingModel, build_timing_library
from hil_nas.errors import DeviceError, InputError
from hil_nas.target import board_name

MODELLED = "nucleo_l4r5"
_SLICE_S = 0.05  # how long the machine runs before somebody looks at the clock; Ctrl-C waits as long
_IDLE_S = 0.001
_BOOT_S = 2.0
_HANG_S = 120.0


class BoardLike(Protocol):
    """What is needed of a board's description."""

    @property
    def name(self) -> str: ...

    @property
    def timing(self) -> Timing | None: ...


class VirtualSerial(SerialBase):  # type: ignore[misc]
    """A pyserial port into a machine.

    The firmware runs inside `read`, `in_waiting`, `flush` and `reset_input_buffer`, and when the port is opened
    (until it waits for its first byte); between these calls it stands still. A fault of the firmware is raised
    there as DeviceError, also for a firmware that neither sends nor waits for two minutes. Closing the port
    switches the board off.

    Args:
        port: a name for people; with it the port is open at once.
        power_on: makes the machine when the port is opened.
        options: as for `serial.Serial`; the speed matters, parity and the like do not.
    """

    is_open: bool

    def __init__(self, port: str | None = None, *, power_on: Callable[[], Machine], **options: Any) -> None:
        self._power_on = power_on
        self._machine: Machine | None = None
        self._busy_s = 0.0
        super().__init__(port, **{"baudrate": 115200, **options})

    @property
    def machine(self) -> Machine:
        """The board behind an open port."""
        if self._machine is None:
            raise PortNotOpenError()
        return self._machine

    def open(self) -> None:
        """Switch the board on; it runs until it waits for a byte."""
        if self.is_open:
            raise SerialException("the port is open already")
        self._machine = self._power_on()
        self.is_open = True
        self._busy_s = 0.0
        self._reconfigure_port()
        try:
            self._advance(_BOOT_S)
        except DeviceError:
            if not self._sent():
                self.close()
                raise

    def close(self) -> None:
        """Switch the board off."""
        machine, self._machine, self.is_open = self._machine, None, False
        if machine is not None:
            machine.close()

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""
        self._advance(_SLICE_S)
        return len(self._sent())

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes: fewer where the timeout passes first.

        Raises:
            DeviceError: where the firmware faulted, and what it sent before is read.
        """
        timeout = Timeout(self._timeout)
        while len(self._sent()) < size:
            try:
                self._step(timeout)
            except DeviceError:
                if not self._sent():
                    raise
                break
            if timeout.expired():
                break
        data = bytes(self._sent()[:size])
        del self._sent()[:size]
        return data

    def write(self, data: bytes) -> int:
        """Queue bytes for the board, which reads them when it runs next."""
        self.machine.chip.lpuart.feed(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Run until the board has taken what was written, or asks for more."""
        while self.machine.chip.lpuart.pending() and not self._advance(_SLICE_S):
            pass

    def reset_input_buffer(self) -> None:
        """Drop what the board has sent so far."""
        self._advance(_SLICE_S)
        self._sent().clear()

    def reset_output_buffer(self) -> None:
        """Nothing waits on this side."""

    def _step(self, timeout: Timeout) -> None:
        before = len(self._sent())
        left_s = _SLICE_S if timeout.is_infinite else timeout.time_left()
        waits = self._advance(min(_SLICE_S, left_s))
        if waits and len(self._sent()) == before:
            self._idle(min(_IDLE_S, left_s))

    def _idle(self, seconds: float) -> None:
        start_s = time.perf_counter()
        time.sleep(seconds)
        self.machine.wait(time.perf_counter() - start_s)

    def _advance(self, limit_s: float) -> bool:
        before, start_s = len(self._sent()), time.monotonic()
        waits = self.machine.run(limit_s)
        # Only while it runs: between commands the machine stands still, and so it does where this process is stopped.
        self._busy_s += min(limit_s, time.monotonic() - start_s)
        if waits or len(self._sent()) > before:
            self._busy_s = 0.0
        elif self._busy_s > _HANG_S:
            where = self.machine.image.where(self.machine.pc())
            raise DeviceError(f"the firmware has been busy and silent for {_HANG_S:.0f} s, at {where}")
        return waits

    def _sent(self) -> bytearray:
        return self.machine.chip.lpuart.sent

    def _reconfigure_port(self) -> None:
        self.machine.chip.lpuart.line_baud = self._baudrate

    def _update_rts_state(self) -> None:
        """The board has no such line."""

    def _update_dtr_state(self) -> None:
        """The board has no such line."""

    def _update_break_state(self) -> None:
        """The board takes no notice of a break."""


def open_virtual(
    board: BoardLike, elf: Path, *, boards_dir: Path, build_dir: Path, timeout: float | None = None
) -> VirtualSerial:
    """Switch a virtual board on, with its firmware; raises as `power_on`."""

    def start() -> Machine:
        return power_on(board, elf, boards_dir=boards_dir, build_dir=build_dir)

    return VirtualSerial(f"virtual://{MODELLED}", power_on=start, timeout=timeout)


def power_on(board: BoardLike, elf: Path, *, boards_dir: Path, build_dir: Path) -> Machine:
    """A machine with its firmware, about to run its first instruction.

    Raises:
        InputError: for a board that is not modelled, or a file that is not its firmware.
        BuildError, MissingToolError: where the cycle counter cannot be compiled.
    """
    if board_name(board.name) != MODELLED or board.timing is None:
        raise InputError(f"no virtual {board.name}", hint=f"modelled: {MODELLED}")
    library = build_timing_library(boards_dir, build_dir)
    return Machine(read_elf(elf), library, timing_model(board.timing))


def timing_model(timing: Timing) -> TimingModel:
    """The penalties of `board.toml` as the cycle model takes them."""
    return TimingModel(
        taken_branch_cycles=timing.branch_cycles,
        icache_sector_miss_cycles=timing.instruction_miss_cycles,
        dcache_sector_miss_cycles=timing.data_sector_miss_cycles,
        dcache_line_miss_cycles=timing.data_line_miss_cycles,
    )
