"""Reading FlatBuffers from bytes that nobody has checked.

The generated accessors trust every offset; here each read is checked against the length of the data, so that
damaged files end in an InputError. Format: https://flatbuffers.dev/internals (little-endian; a table's first
word leads back to its vtable, whose 16-bit entries say where in the table each field lies, 0 for absent).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError


def root_table(data: bytes, identifier: bytes) -> Table:
    """The root of a buffer with a four-letter identifier.

    Raises:
        InputError: where the identifier or the offset is another.
    """
    if len(data) < 8 or data[4:8] != identifier:
        raise InputError(f"these bytes are no {identifier.decode()} file: they begin with {data[:8]!r}")
    return Table(data, read(data, 0, "I"))


def read(data: bytes, position: int, code: str) -> Any:
    """One little-endian number of struct's type `code`.

    Raises:
        InputError: where it does not lie inside the data.
    """
    if not 0 <= position <= len(data) - struct.calcsize(code):
        raise InputError(f"the file is damaged: something points at byte {position} of {len(data)}")
    return struct.unpack_from("<" + code, data, position)[0]


@dataclass(frozen=True)
class Table:
    """A table at `position`. Fields are named by their number in the schema, counted from 0."""

    data: bytes
    position: int

    def __post_init__(self) -> None:
        read(self.data, self.position, "i")  # raises where the table lies outside

    def field(self, number: int) -> int | None:
        """Where a field lies, None where it is absent."""
        vtable = self.position - read(self.data, self.position, "i")
        if 4 + 2 * number + 2 > read(self.data, vtable, "H"):
            return None
        offset = read(self.data, vtable + 4 + 2 * number, "H")
        return self.position + offset if offset else None

    def number(self, number: int, code: str, default: Any = 0) -> Any:
        """A scalar of struct's type `code`."""
        position = self.field(number)
        return default if position is None else read(self.data, position, code)

    def table(self, number: int) -> Table | None:
        """A table that the field points at."""
        position = self.field(number)
        return None if position is None else Table(self.data, position + read(self.data, position, "I"))

    def vector(self, number: int, item_bytes: int) -> tuple[int, int]:
        """(position of the first item, length) of a vector; (0, 0) where it is absent."""
        position = self.field(number)
        if position is None:
            return 0, 0
        start = position + read(self.data, position, "I")
        length = read(self.data, start, "I")
        if start + 4 + length * item_bytes > len(self.data):
            raise InputError(f"the file is damaged: a vector of {length} items at byte {start} of {len(self.data)}")
        return start + 4, length

    def tables(self, number: int) -> list[Table]:
        """A vector of tables."""
        start, length = self.vector(number, 4)
        offsets = range(start, start + 4 * length, 4)
        return [Table(self.data, x + read(self.data, x, "I")) for x in offsets]

    def numbers(self, number: int, dtype: str) -> NDArray[Any]:
        """A vector of scalars, a read-only view."""
        kind = np.dtype(dtype)
        start, length = self.vector(number, kind.itemsize)
        return np.frombuffer(self.data, kind, length, start)

    def text(self, number: int) -> str:
        """A string; bytes that are no UTF-8 are replaced."""
        return self.numbers(number, "<u1").tobytes().decode("utf-8", errors="replace")
