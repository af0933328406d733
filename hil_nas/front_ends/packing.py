"""The blob that a board is given for a front end; its layout is that of boards/include/front_end.h, and the two change
together."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from hil_nas.errors import InputError

MAGIC = b"HFRE"
VERSION = 2
HEADER = struct.Struct("<4sHHII 6I i H h")
ALIGNMENT = 16
MAX_SHIFT = 22
"""FRONT_END_MAX_SHIFT of the C source."""
_START = struct.Struct("<4sHHII")  # the fields up to the CRC-32, which is over all that follows it


@dataclass(frozen=True)
class Tables:
    """What a kind adds to the common header.

    Attributes:
        header: of the kind's own header: its numbers, then an offset for each table.
        numbers: in their order.
        tables: each little-endian as the C source reads it.
        unit: of the sums that are quantised: what 1 in a feature is in them.
    """

    header: struct.Struct
    numbers: tuple[int, ...]
    tables: Sequence[bytes]
    unit: float

    def header_bytes(self) -> int:
        return HEADER.size + self.header.size


def pack(shape: tuple[int, ...], scale: float, zero_point: int, own: Tables) -> bytes:
    """The whole blob, with int8 = round(feature / scale) + zero_point.

    Args:
        shape: kind, sample rate in Hz, samples of a clip, window, hop, columns.

    Raises:
        InputError: for a scale or zero point that int8 does not have.
    """
    multiplier, shift = _scaling(scale * own.unit)
    if not -128 <= zero_point <= 127:
        raise InputError(f"an int8 zero point of {zero_point} is not in -128 to 127")
    offsets, body = _lay_out(own.header_bytes(), own.tables)
    common = HEADER.pack(MAGIC, VERSION, own.header_bytes(), 0, 0, *shape, multiplier, shift, zero_point)
    checked = common[_START.size :] + own.header.pack(*own.numbers, *offsets) + body
    total_bytes = _START.size + len(checked)
    return _START.pack(MAGIC, VERSION, own.header_bytes(), total_bytes, zlib.crc32(checked)) + checked


def _scaling(step: float) -> tuple[int, int]:
    """1 / step as multiplier / 2^(32 + shift), with as many digits as an int32 has.

    Args:
        step: of int8, in units of the sums.
    """
    if step > 0.0 and math.isfinite(step):
        shift = min(MAX_SHIFT, math.floor(math.log2(step)) - 2)
        multiplier = round(2.0 ** (32 + shift) / step)
        if shift >= 0 and multiplier >= 1:
            return multiplier, shift
    raise InputError(f"an int8 step of {step} in units of the front end's sums is not in 4 to 2^53")


def _lay_out(begin: int, tables: Sequence[bytes]) -> tuple[list[int], bytes]:
    """Offsets from the start of the blob, and the tables padded to the alignment."""
    offsets, body = [], b""
    for table in tables:
        offsets.append(begin + len(body))
        body += table + bytes(-len(table) % ALIGNMENT)
    return offsets, body
