"""The native host: the firmware as a program of this machine."""

from __future__ import annotations

import time
from pathlib import Path

from hil_nas.device.boards import Board
from hil_nas.device.hosts.process import start_on_socket
from hil_nas.device.hosts.running import Running


def start_native(board: Board, elf: Path, build_dir: Path) -> Running:
    """Start the firmware; it ends by itself when the port is closed."""
    log = build_dir / "hosts" / f"{board.name}-{time.time_ns()}.log"
    child, port = start_on_socket(lambda uart: [str(elf), "fd", str(uart)], log)
    return Running(port, child.release, child.alive)
