"""LPUART1, the ST-LINK's serial port of a NUCLEO-L4R5ZI: bytes without their time on the wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hil_nas.device.virtual.peripherals import Peripheral
from hil_nas.errors import DeviceError

_UE, _RE, _TE, _FIFOEN = 1 << 0, 1 << 2, 1 << 3, 1 << 29
_RXNE, _TC, _TXE, _TEACK, _REACK, _TXFE = 1 << 5, 1 << 6, 1 << 7, 1 << 21, 1 << 22, 1 << 23
_DIVISORS = (1, 2, 4, 6, 8, 10, 12, 16, 32, 64, 128, 256)
_IDLE_POLLS = 32  # a transmitter asks once or twice before each byte
_BAUD_TOLERANCE = 0.03  # half a bit over the ten of a character, less the other end's own error


class Lpuart(Peripheral):
    """Bytes in and out.

    Args:
        kernel_hz: the clock that BRR divides.
        unrouted: says why a pin does not carry the port, or None.
        on_idle: called when the firmware keeps asking for a byte that is not there.
    """

    CR1, BRR, RQR, ISR, ICR, RDR, TDR, PRESC = 0x00, 0x0C, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2C

    def __init__(
        self,
        kernel_hz: Callable[[], float],
        unrouted: Callable[[], str | None],
        on_idle: Callable[[], None],
    ) -> None:
        super().__init__("LPUART1", dict.fromkeys(range(0, 0x30, 4), 0))
        self._kernel_hz, self._unrouted = kernel_hz, unrouted
        self._on_idle = on_idle
        self._received: deque[int] = deque()
        self.sent = bytearray()
        self._last = 0
        self._polls = 0
        self.line_baud: int | None = None

    def reset(self) -> None:
        super().reset()
        self._received.clear()
        self._polls = 0

    def feed(self, data: bytes) -> None:
        """Bytes arrive; they are lost where the receiver is off, as on silicon."""
        if self._on(_RE):
            self._check_line()
            self._received.extend(data)
            self._polls = 0

    def pending(self) -> bool:
        """Whether received bytes wait for the firmware."""
        return bool(self._received)

    def read(self, offset: int) -> int:
        if offset == self.ISR:
            return self._status()
        if offset == self.RDR:
            if self._received:
                self._last = self._received.popleft()
            self._polls = 0
            return self._last
        return 0 if offset in (self.TDR, self.RQR, self.ICR) else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == self.TDR:
            self._send(value & 0xFF)
        elif offset == self.RQR:
            if value & 8:  # RXFRQ
                self._received.clear()
        elif offset not in (self.ISR, self.ICR, self.RDR):
            super().write(offset, value)

    def _on(self, direction: int) -> bool:
        return self.registers[self.CR1] & (_UE | direction) == _UE | direction

    def _status(self) -> int:
        if self._received:
            self._polls = 0
        else:
            self._polls += 1
            if self._polls >= _IDLE_POLLS:
                self._polls = 0
                self._on_idle()
        status = _TC | _TXE
        status |= _TXFE if self.registers[self.CR1] & _FIFOEN else 0
        status |= _TEACK if self._on(_TE) else 0
        status |= _REACK if self._on(_RE) else 0
        return status | (_RXNE if self._received else 0)

    def _send(self, byte: int) -> None:
        self._polls = 0
        if self._on(_TE):
            self._check_line()
            self.sent.append(byte)

    def baud(self) -> float:
        """The speed that the registers give."""
        divisor = self.registers[self.BRR] & 0xFFFFF
        prescaler = _DIVISORS[min(self.registers[self.PRESC] & 0xF, len(_DIVISORS) - 1)]
        return 256 * self._kernel_hz() / prescaler / divisor if divisor >= 0x300 else 0.0

    def _check_line(self) -> None:
        reason = self._unrouted()
        if reason is not None:
            raise DeviceError(f"LPUART1 is in use, but {reason}", hint="on silicon nothing would arrive")
        if self.line_baud is None:
            return
        baud = self.baud()
        if abs(baud - self.line_baud) > _BAUD_TOLERANCE * self.line_baud:
            message = f"LPUART1 runs at {baud:.0f} baud and the port at {self.line_baud}"
            raise DeviceError(message, hint="on silicon every byte would be garbled")
