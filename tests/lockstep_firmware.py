"""The real firmware under sanitizers in a process that shares a test's clock: see lockstep/board.c."""

from __future__ import annotations

import os
import select
import struct
import subprocess
from pathlib import Path
from types import TracebackType

from firmware_wire import SANITIZERS

from hil_nas.device.firmware import Firmware, build_firmware, find_third_party

GO_ON, RESET, BREAK_STORE, MEND_STORE = range(4)
_STUCK_S = 20.0


def build_lockstep(boards_dir: Path, build_dir: Path, scratch: Path) -> Firmware:
    """The native firmware with the HAL of `lockstep/`; the compiled kernels are the native build's own."""
    for name in ("src", "include", "cortex_m"):
        (scratch / name).symlink_to(boards_dir.resolve() / name)
    (scratch / "native").symlink_to(Path(__file__).resolve().with_name("lockstep"))
    return build_firmware("native", scratch, build_dir.resolve(), find_third_party(), SANITIZERS)


class Clock:
    """Time as the link and the firmware see it; shaped like the module `time`."""

    def __init__(self) -> None:
        self.now_us = 1_000_000

    def monotonic(self) -> float:
        return self.now_us / 1e6


class FirmwareGone(AssertionError):
    """The firmware ended or is stuck in a loop: with what its sanitizers said."""


class Lockstep:
    """One firmware; `exchange` runs it until it waits for more."""

    def __init__(self, elf: Path, clock: Clock) -> None:
        environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([str(elf)], stdin=pipe, stdout=pipe, stderr=pipe, env=environment, bufsize=0)
        self._clock = clock
        self.boot = self._answer()

    def exchange(self, data: bytes = b"", order: int = GO_ON) -> bytes:
        """What the firmware says to some bytes, or to an order; its work takes time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("=QII", self._clock.now_us, order, len(data)) + data)
        except BrokenPipeError:
            raise self._gone() from None
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def __enter__(self) -> Lockstep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> bytes:
        said, more = b"", 1
        while more:
            spent_us, more, size = struct.unpack("=III", self._take(12))
            self._clock.now_us += spent_us
            said += self._take(size)
        return said

    def _take(self, size: int) -> bytes:
        assert self._process.stdout is not None
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([self._process.stdout], [], [], _STUCK_S)
            piece = os.read(self._process.stdout.fileno(), size - len(data)) if ready else b""
            if not piece:
                raise self._gone()
            data += piece
        return data

    def _gone(self) -> FirmwareGone:
        self._process.kill()
        assert self._process.stderr is not None
        return FirmwareGone(f"the firmware is gone: {self._process.stderr.read().decode()[-3000:]}")
