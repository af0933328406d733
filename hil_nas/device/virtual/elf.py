"""What the virtual board needs of a firmware's ELF: the bytes to load, and names for addresses."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass
from pathlib import Path

from hil_nas.errors import InputError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM = struct.Struct("<IIIIIIII")
_SECTION = struct.Struct("<IIIIIIIIII")
_SYMBOL = struct.Struct("<IIIBBH")
_ARM = 40
_LOAD = 1
_SYMBOL_TABLE = 2
_FUNCTION = 2


@dataclass(frozen=True)
class Segment:
    """Bytes and the address that they are loaded to (the physical one: initial data lie in flash)."""

    address: int
    data: bytes


@dataclass(frozen=True)
class Image:
    """A firmware.

    Attributes:
        segments: what is loaded, by address.
        symbols: names with their addresses; a function's lowest bit is cleared.
        functions: start, size and name of each function, by start.
    """

    segments: tuple[Segment, ...]
    symbols: dict[str, int]
    functions: tuple[tuple[int, int, str], ...]

    def where(self, address: int) -> str:
        """`0x08000123 (main+0x12)`, or the address alone where no function has it."""
        index = bisect.bisect_right(self.functions, address, key=lambda x: x[0]) - 1
        if index >= 0:
            start, size, name = self.functions[index]
            if address < start + size:
                return f"0x{address:08x} ({name}+0x{address - start:x})"
        return f"0x{address:08x}"


def read_elf(path: Path) -> Image:
    """Read a 32-bit little-endian ARM executable.

    Raises:
        InputError: for a file that is missing, of another kind, or cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the firmware {path}: {error.strerror}", hint="build it first") from None
    try:
        return _parse(data)
    except (struct.error, _BadElf) as error:
        hint = "give the firmware's .elf, built for a Cortex-M board"
        raise InputError(f"{path} is not a 32-bit ARM executable: {error}", hint=hint) from None


class _BadElf(Exception):
    pass


def _parse(data: bytes) -> Image:
    if data[:4] != b"\x7fELF":
        raise _BadElf("no ELF magic")
    identity, _, machine, _, _, program, section, _, _, _, programs, _, sections, _ = _HEADER.unpack_from(data)
    if identity[4:6] != b"\x01\x01" or machine != _ARM:
        raise _BadElf(f"class and byte order {identity[4:6].hex()}, machine {machine}")
    segments = _segments(data, program, programs)
    if not segments:
        raise _BadElf("nothing to load")
    symbols, functions = _symbols(data, section, sections)
    return Image(segments, symbols, functions)


def _segments(data: bytes, start: int, count: int) -> tuple[Segment, ...]:
    segments = []
    for i in range(count):
        kind, offset, _, address, bytes_in_file, *_ = _PROGRAM.unpack_from(data, start + i * _PROGRAM.size)
        if kind == _LOAD and bytes_in_file:
            segments.append(Segment(address, _slice(data, offset, bytes_in_file)))
    return tuple(sorted(segments, key=lambda x: x.address))


def _symbols(data: bytes, start: int, count: int) -> tuple[dict[str, int], tuple[tuple[int, int, str], ...]]:
    headers = [_SECTION.unpack_from(data, start + i * _SECTION.size) for i in range(count)]
    names: dict[str, int] = {}
    functions: list[tuple[int, int, str]] = []
    for _, kind, _, _, offset, size, link, *_ in headers:
        if kind != _SYMBOL_TABLE or link >= count:
            continue
        texts = _slice(data, headers[link][4], headers[link][5])
        for name_at, value, length, info, _, _ in _SYMBOL.iter_unpack(_slice(data, offset, size)):
            name = texts[name_at : texts.find(b"\0", name_at)].decode("utf-8", "replace")
            is_function = info & 0xF == _FUNCTION
            names[name] = value & ~1 if is_function else value
            if is_function:
                functions.append((value & ~1, length, name))
    return names, tuple(sorted(functions))


def _slice(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise _BadElf(f"cut off at {len(data)} bytes")
    return data[offset : offset + size]
