"""A serial line between the host's link and the firmware in lockstep, at 115200 baud, on which one thing goes wrong."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

from lockstep_firmware import BREAK_STORE, MEND_STORE, RESET, Clock
from serial import SerialException

Kind = Literal["drop", "double", "flip", "insert", "delay", "mute", "close", "reset", "hang", "store"]
BYTE_US = 87
FRAME_BYTES = 64  # a USB adapter hands over this much at once
_NEVER = 1 << 62


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
        sending: whether it strikes on the way to the board.
        at: how many bytes go that way before it strikes.
        amount: bytes that are dropped, doubled, flipped or inserted.
        seconds: how long a delay, a dead line or a hang lasts; a hang ends in a watchdog's reset.
        seed: of the bytes that are inserted or flipped.
    """

    kind: Kind
    sending: bool
    at: int
    amount: int = 1
    seconds: float = 0.0
    seed: int = 0


class Talks(Protocol):
    """The other end: our firmware, or what else may sit on a port."""

    boot: bytes

    def exchange(self, data: bytes = b"", order: int = 0) -> bytes: ...


class FaultyLine:
    """A pyserial port as far as the link needs one; bytes take their time, and time passes only in `read`.

    Attributes:
        struck: how many faults have happened.
        restarted: how often the board restarted by itself since `settle`.
    """

    def __init__(self, firmware: Talks, clock: Clock) -> None:
        self.timeout: float | None = None
        self.struck = self.restarted = 0
        self._firmware, self._clock = firmware, clock
        self._faults: list[Fault] = []
        self._passed = {True: 0, False: 0}
        self._to_board: deque[tuple[int, bytes]] = deque()
        self._to_host: deque[tuple[int, bytes]] = deque()
        self._arrived = bytearray()
        self._late_until_us = {True: 0, False: 0}
        self._dead_until_us = {True: 0, False: 0}
        self._watchdog_us = _NEVER
        self._unplugged = False
        self._deliver(firmware.boot)

    def arm(self, *faults: Fault) -> None:
        """From now on; byte counts begin at 0."""
        self._faults = list(faults)
        self._passed = {True: 0, False: 0}
        self.struck = 0

    def settle(self) -> int:
        """Let everything that is on its way or about to happen happen; returns how often the board restarted."""
        self._faults = []
        if self._watchdog_us < _NEVER:
            self._pass_time(self._watchdog_us)
        while self._to_board or self._to_host:
            self._pass_time((self._to_board or self._to_host)[0][0])
        self._late_until_us = {True: 0, False: 0}
        self._dead_until_us = {True: 0, False: 0}
        self._firmware.exchange(order=MEND_STORE)
        restarted, self.restarted = self.restarted, 0
        return restarted

    def swap(self, other: Talks) -> None:
        """Something else on the same wire from now on."""
        self._firmware = other

    @property
    def unplugged(self) -> bool:
        return self._unplugged

    def traffic(self) -> tuple[int, int]:
        """Bytes to the board and to the host since `arm`."""
        return self._passed[True], self._passed[False]

    def read(self, size: int = 1, /) -> bytes:
        end_us = self._clock.now_us + math.ceil(1e6 * (self.timeout or 0))
        while True:
            self._check_plug()
            self._pass_time(min(self._next_us(), end_us))
            if len(self._arrived) >= size or self._clock.now_us >= end_us:
                break
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        return data

    def write(self, data: bytes, /) -> int:
        self._check_plug()
        for piece, late_us in self._spoil(data, sending=True):
            self._send(self._to_board, piece, late_us, sending=True)
        self._check_plug()
        return len(data)

    def close(self) -> None:
        self._unplugged = True

    def _check_plug(self) -> None:
        if self._unplugged:
            raise SerialException("device disconnected")

    def _next_us(self) -> int:
        queued = [x[0][0] for x in (self._to_board, self._to_host) if x]
        return min([*queued, self._watchdog_us])

    def _pass_time(self, until_us: int) -> None:
        """To one moment: what is due then arrives."""
        self._clock.now_us = max(self._clock.now_us, until_us)
        if self._clock.now_us >= self._watchdog_us:
            self._restart()
        data = b""
        while self._to_board and self._to_board[0][0] <= self._clock.now_us:
            data += self._to_board.popleft()[1]
        if self._watchdog_us == _NEVER:
            self._deliver(self._firmware.exchange(data))
        while self._to_host and self._to_host[0][0] <= self._clock.now_us:
            self._arrived += self._to_host.popleft()[1]

    def _deliver(self, said: bytes) -> None:
        if not said:
            return
        for piece, late_us in self._spoil(said, sending=False):
            for at in range(0, len(piece), FRAME_BYTES):
                self._send(self._to_host, piece[at : at + FRAME_BYTES], late_us, sending=False)

    def _send(self, queue: deque[tuple[int, bytes]], data: bytes, late_us: int, sending: bool) -> None:
        """Behind what is on its way already: bytes never overtake each other."""
        if not data:
            return
        begin_us = max(self._clock.now_us + late_us, self._late_until_us[sending])
        self._late_until_us[sending] = begin_us + BYTE_US * len(data)
        queue.append((self._late_until_us[sending], data))

    def _spoil(self, data: bytes, sending: bool) -> list[tuple[bytes, int]]:
        """The bytes that go on, in pieces, and by how many us each is held up."""
        begin, end = self._passed[sending], self._passed[sending] + len(data)
        self._passed[sending] = end
        fault = next((x for x in self._faults if x.sending == sending and begin <= x.at < end), None)
        if self._watchdog_us < _NEVER or self._clock.now_us < self._dead_until_us[sending]:
            return []
        if fault is None:
            return [(data, 0)]
        self._faults.remove(fault)
        self.struck += 1
        return self._strike(fault, data[: fault.at - begin], data[fault.at - begin :])

    def _strike(self, fault: Fault, before: bytes, after: bytes) -> list[tuple[bytes, int]]:
        noise = random.Random(fault.seed)
        struck, rest = after[: fault.amount], after[fault.amount :]
        late_us = round(1e6 * fault.seconds)
        match fault.kind:
            case "drop":
                return [(before + rest, 0)]
            case "double":
                return [(before + struck + after, 0)]
            case "flip":
                return [(before + bytes(x ^ noise.randint(1, 255) for x in struck) + rest, 0)]
            case "insert":
                return [(before + noise.randbytes(fault.amount) + after, 0)]
            case "delay":
                return [(before, 0), (after, late_us)]
            case "mute":
                self._dead_until_us[fault.sending] = self._clock.now_us + late_us
                return [(before, 0)]
            case "close":
                self._unplugged = True
            case "reset":
                self._lose_what_is_on_its_way(before, fault.sending)
                self._restart()
                return []
            case "hang":
                self._lose_what_is_on_its_way(before, fault.sending)
                self._watchdog_us = self._clock.now_us + late_us
                return []
            case "store":
                self._firmware.exchange(order=BREAK_STORE)
                return [(before + after, 0)]
        return [(before, 0)]

    def _lose_what_is_on_its_way(self, said: bytes, sending: bool) -> None:
        self._to_board.clear()
        if not sending:
            self._send(self._to_host, said, 0, sending=False)

    def _restart(self) -> None:
        self._watchdog_us = _NEVER
        self.restarted += 1
        self._to_board.clear()
        self._deliver(self._firmware.exchange(order=RESET))
