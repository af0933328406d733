"""The USB serial ports of this machine, and whose boards they may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from hil_nas.device.boards import board_names, load_board


@dataclass(frozen=True)
class UsbPort:
    """A port with a USB id.

    Attributes:
        usb_id: as board.toml writes them, `0483:374b`.
        boards: that name this id; an ST-LINK's says that some ST board is there, not which.
    """

    device: str
    usb_id: str
    product: str
    boards: tuple[str, ...]


def usb_ports(boards_dir: Path) -> tuple[UsbPort, ...]:
    """All USB serial ports that are attached now, in the system's order.

    Raises:
        InputError: for a board.toml that cannot be read.
    """
    boards = [load_board(x, boards_dir) for x in board_names(boards_dir)]
    attached = []
    for port in list_ports.comports():
        if port.vid is None:
            continue
        usb_id = f"{port.vid:04x}:{port.pid or 0:04x}"
        named = tuple(x.name for x in boards if usb_id in {y.lower() for y in x.uart.usb_ids})
        attached.append(UsbPort(port.device, usb_id, port.product or port.description or "", named))
    return tuple(attached)
