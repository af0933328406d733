"""What every host gives: a firmware that runs, and its UART as a pyserial port."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import serial


def _nothing() -> None:
    return None


def _lives(within_s: float) -> None:
    """The check of a board that is no program of this machine: nothing reports its end."""


@dataclass(frozen=True)
class Running:
    """A started firmware.

    Attributes:
        port: its UART.
        release: ends what was started, once the port is closed.
        alive: raises LinkError where what was started has ended, or does within so many seconds.
    """

    port: serial.SerialBase
    release: Callable[[], None] = _nothing
    alive: Callable[[float], None] = _lives
