"""Where a board's firmware runs: `open_device` builds it, starts it and checks who answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hil_nas.device.boards import Board, load_board
from hil_nas.device.device import Device, expect_identity
from hil_nas.device.firmware import (
    USUAL_ENGINE,
    Engine,
    Firmware,
    ThirdParty,
    build_firmware,
    find_third_party,
)
from hil_nas.device.hosts import emulator, native, silicon
from hil_nas.device.hosts.running import Running
from hil_nas.device.link import Link
from hil_nas.device.replies import ClockKind
from hil_nas.device.virtual.port import open_virtual
from hil_nas.errors import InputError
from hil_nas.target import BoardTarget, Host

CLOCK_KINDS: dict[Host, ClockKind] = {
    "serial": "silicon",
    "virtual": "modelled",
    "renode": "instructions",
    "qemu": "instructions",
    "native": "host",
}
# The first answer, and one behind an upload that was broken off: a board waits for 2 s of its own time then, which
# cost Renode 9 s of a processor's.
RESYNC_S: dict[Host, float] = {
    "serial": 20.0,
    "virtual": 30.0,
    "renode": 200.0,
    "qemu": 30.0,
    "native": 20.0,
}


@dataclass(frozen=True)
class Started:
    """A firmware that runs: what it was built from, and its UART."""

    target: BoardTarget
    board: Board
    firmware: Firmware
    running: Running

    def link(self) -> Link:
        """A link to it."""
        return Link(self.running.port, alive=self.running.alive, resync_s=RESYNC_S[self.target.host])


def open_device(
    target: str | BoardTarget,
    *,
    boards_dir: Path,
    build_dir: Path,
    third_party: ThirdParty | None = None,
    port: str | None = None,
    flash: bool = False,
    engine: Engine = USUAL_ENGINE,
) -> Device:
    """Build the firmware where something changed, start it on its host and check who answers.

    Args:
        target: BOARD or BOARD@HOST; BOARD alone is silicon over serial.
        third_party: CMSIS sources; None finds them as `find_third_party` does.
        port: serial only: the port's name; None finds it by the board's USB ids.
        flash: serial only: put the firmware on the board first.
        engine: what runs networks on the board.

    Raises:
        InputError: for an unknown board or host, or one that does not run the other.
        MissingToolError, BuildError: where the firmware cannot be built or its host is not installed.
        LinkError: where nobody answers, or another board or build does.
    """
    folders = {"boards_dir": boards_dir, "build_dir": build_dir}
    return check(start(target, **folders, third_party=third_party, port=port, flash=flash, engine=engine))


def start(
    target: str | BoardTarget,
    *,
    boards_dir: Path,
    build_dir: Path,
    third_party: ThirdParty | None = None,
    port: str | None = None,
    flash: bool = False,
    engine: Engine = USUAL_ENGINE,
) -> Started:
    """The first half of `open_device`: the firmware runs, and nothing has been said to it.

    Raises:
        InputError, MissingToolError, BuildError, LinkError: as `open_device`.
    """
    wanted = BoardTarget.parse(target) if isinstance(target, str) else target
    boards_dir, build_dir = boards_dir.resolve(), build_dir.resolve()  # programs are started elsewhere
    board = load_board(wanted.board, boards_dir)
    _check_target(board, wanted, port, flash)
    sources = third_party or find_third_party()
    firmware = build_firmware(board.name, boards_dir, build_dir, sources, (), engine)
    elf = firmware.elf
    match wanted.host:
        case "serial":
            running = silicon.start_serial(board, elf, port, flash)
        case "virtual":
            running = Running(open_virtual(board, elf, boards_dir=boards_dir, build_dir=build_dir))
        case "renode":
            running = emulator.start_renode(board, elf, boards_dir, build_dir)
        case "qemu":
            running = emulator.start_qemu(board, elf, build_dir)
        case "native":
            running = native.start_native(board, elf, build_dir)
    return Started(wanted, board, firmware, running)


def check(started: Started) -> Device:
    """The second half of `open_device`: who answers is who was started. It is ended where it is another.

    Raises:
        LinkError: where nobody answers, or another board or build does.
    """
    host, timing = started.target.host, started.board.timing
    error_percent = timing.error_percent if timing is not None and host == "virtual" else None
    device = Device(
        started.link(), host, CLOCK_KINDS[host],
        clock_error_percent=error_percent, power=started.board.power, release=started.running.release,
    )  # fmt: skip
    try:
        identity = device.identify(started=True)
        expect_identity(identity, started.board.name, started.firmware.build_id)
    except BaseException:  # Ctrl-C as well: nothing is left running
        device.close()
        raise
    return device


def _check_target(board: Board, target: BoardTarget, port: str | None, flash: bool) -> None:
    if target.host not in board.hosts:
        possible = ", ".join(str(BoardTarget.parse(f"{board.name}@{x}")) for x in board.hosts)
        raise InputError(f"board '{board.name}' does not run on '{target.host}'", hint=f"it runs as {possible}")
    if target.host != "serial" and (port is not None or flash):
        raise InputError(f"'{target}' has no serial port and is not flashed", hint="leave --port and --flash out")
