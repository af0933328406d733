"""The native host: the firmware as a program of this machine, on a loopback port that it chooses itself."""

from __future__ import annotations

import re
import time
from pathlib import Path

from hil_nas.device.boards import Board
from hil_nas.device.hosts.process import Child, connect
from hil_nas.device.hosts.running import Running
from hil_nas.errors import LinkError

START_S = 10.0


def start_native(board: Board, elf: Path, build_dir: Path) -> Running:
    """Start the firmware; it ends by itself when the port is closed.

    Raises:
        LinkError: where it ends or does not listen.
    """
    log = build_dir / "hosts" / f"{board.name}-{time.time_ns()}.log"
    child = Child([str(elf), "0"], log)
    try:
        return Running(connect(_chosen_port(child), child), child.release, child.alive)
    except BaseException:  # Ctrl-C as well: nothing is left running
        child.end()
        raise


def _chosen_port(child: Child) -> int:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        match = re.match(r"port ([0-9]+)\n", child.log.read_text(encoding="utf-8", errors="replace"))
        if match:
            return int(match.group(1))
        child.alive()
        time.sleep(0.01)
    raise LinkError(f"the firmware did not say its port within {START_S:g} s", hint=f"see {child.log}")
