"""The serial host: find the board's port by its USB id, flash it through pyOCD, open it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import serial
from serial.tools import list_ports

from hil_nas.device.boards import Board
from hil_nas.device.hosts.process import run
from hil_nas.device.hosts.running import Running
from hil_nas.device.protocol import shown
from hil_nas.errors import InputError, LinkError, MissingToolError
from hil_nas.extras import pip_install

FLASH_S = 180.0
WRITE_S = 10.0


class PortInfo(Protocol):
    """What pyserial knows of a port."""

    device: str
    vid: int | None
    pid: int | None
    serial_number: str | None


def start_serial(board: Board, elf: Path, port: str | None, flash: bool) -> Running:
    """Open the board's port; with `flash`, put the firmware on it first.

    Raises:
        LinkError: where no such board is attached, or its port does not open.
        MissingToolError: where it is to be flashed and pyOCD is not installed.
    """
    info = find_port(board, list_ports.comports(), port)
    if flash:
        flash_board(board, elf, info.serial_number if info else None)
    name = info.device if info else str(port)
    try:
        return Running(serial.Serial(name, board.uart.baud, exclusive=True, write_timeout=WRITE_S))
    except (serial.SerialException, ValueError) as error:
        raise LinkError(
            f"{name} does not open: {error}",
            hint="is another program using it, and may this user open it (group dialout)?",
        ) from error


def find_port(board: Board, ports: Iterable[PortInfo], name: str | None) -> PortInfo | None:
    """The port of a board: the named one, else the only one with one of the board's USB ids.

    Returns:
        None where a port was named that pyserial does not list, such as a pty.

    Raises:
        LinkError: where none is attached.
        InputError: where several are.
    """
    attached = list(ports)
    if name is not None:
        return next((x for x in attached if x.device == name), None)
    wanted = {x.lower() for x in board.uart.usb_ids}
    matching = [x for x in attached if x.vid is not None and f"{x.vid:04x}:{x.pid or 0:04x}" in wanted]
    if not matching:
        raise LinkError(
            f"no port with a USB id of board '{board.name}' ({', '.join(sorted(wanted))})",
            hint="attach the board or name its port with --port",
        )
    if len(matching) > 1:
        names = ", ".join(x.device for x in matching)
        raise InputError(f"{len(matching)} boards are attached: {names}", hint="name one with --port")
    return matching[0]


def flash_board(board: Board, elf: Path, probe: str | None) -> None:
    """Write the image with pyOCD and restart the board.

    Args:
        probe: the probe's serial number, where there may be several.

    Raises:
        MissingToolError: where pyOCD is not installed.
        LinkError: where it fails, with its last words.
    """
    if board.debug is None:
        raise InputError(f"board '{board.name}' has no [debug] table")
    if importlib.util.find_spec("pyocd") is None:
        raise MissingToolError("pyOCD is not installed", hint=pip_install("flash"))
    command = [
        *(sys.executable, "-m", "pyocd", "load", "--no-wait", "--no-config"),
        *("--target", board.debug.pyocd_target),
        *(("--uid", probe) if probe else ()),
        str(elf),
    ]
    try:
        status, text = run(command, FLASH_S)
    except subprocess.TimeoutExpired as error:
        raise LinkError(f"pyOCD did not finish within {FLASH_S:g} s", hint="re-attach the board") from error
    if status:
        words = text.strip().splitlines()
        raise LinkError(
            f"pyOCD ended with status {status}: {shown(words[-1]) if words else 'it said nothing'}",
            hint=f"for an unknown target: pyocd pack install {board.debug.pyocd_target}",
        )
