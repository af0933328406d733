"""The blob that a board is given for a front end; its layout is that of boards/include/front_end.h, and the two change
together."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hil_nas.errors import InputError

MAGIC = b"HFRE"
VERSION = 1
HEADER = struct.Struct("<4sHHII 6I f i")
ALIGNMENT = 16
_START = struct.Struct("<4sHHII")  # the fields up to the CRC-32, which is over all that follows it


@dataclass(frozen=True)
class Tables:
    """What a kind adds to the common header.

    Attributes:
        header: of the kind's own header: its numbers, then an offset for each table.
        numbers: in their order.
        tables: each little-endian as the C source reads it.
    """

    header: struct.Struct
    numbers: tuple[float, ...]
    tables: Sequence[bytes]

    def header_bytes(self) -> int:
        return HEADER.size + self.header.size


def pack(shape: tuple[int, ...], scale: float, zero_point: int, own: Tables) -> bytes:
    """The whole blob, with int8 = round(feature / scale) + zero_point.

    Args:
        shape: kind, sample rate in Hz, samples of a clip, window, hop, columns.

    Raises:
        InputError: for a scale or zero point that int8 does not have.
    """
    _check_quantisation(scale, zero_point)
    offsets, body = _lay_out(own.header_bytes(), own.tables)
    common = HEADER.pack(MAGIC, VERSION, own.header_bytes(), 0, 0, *shape, 1.0 / scale, zero_point)
    checked = common[_START.size :] + own.header.pack(*own.numbers, *offsets) + body
    total_bytes = _START.size + len(checked)
    return _START.pack(MAGIC, VERSION, own.header_bytes(), total_bytes, zlib.crc32(checked)) + checked


def _check_quantisation(scale: float, zero_point: int) -> None:
    limits = np.finfo(np.float32)
    if not (scale > 0.0 and float(limits.tiny) <= 1.0 / scale <= float(limits.max)):
        raise InputError(f"an int8 scale of {scale} is not a positive number that float32 holds")
    if not -128 <= zero_point <= 127:
        raise InputError(f"an int8 zero point of {zero_point} is not in -128 to 127")


def _lay_out(begin: int, tables: Sequence[bytes]) -> tuple[list[int], bytes]:
    """Offsets from the start of the blob, and the tables padded to the alignment."""
    offsets, body = [], b""
    for table in tables:
        offsets.append(begin + len(body))
        body += table + bytes(-len(table) % ALIGNMENT)
    return offsets, body
