"""The cycle model: `boards/virtual/*.c` built for this machine, its penalties, and its counters.

    cycles = base + taken_branch * taken branches + icache_sector * its misses
           + dcache_sector * its misses + dcache_line * its misses

The penalties come from `board.toml`, fitted to published silicon (`boards/nucleo_l4r5/timing.md`).
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass, fields
from pathlib import Path

from unicorn.arm_const import UC_ARM_REG_EPSR

from hil_nas.compiling import shared_library
from hil_nas.errors import BuildError, DeviceError

SOURCES = ("timing.c", "cache.c", "pipeline.c", "thumb.c", "thumb_float.c")
_HEADERS = ("timing.h", "cache.h", "pipeline.h", "thumb.h")
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")
SHADOW_BASE = 0xF0000000  # where no Cortex-M4 has anything
BETWEEN_BLOCKS = 0xFFFFFFFF  # for a pc: no block is executing
_SITES_LOST = 0xFFFFFFFF


@dataclass(frozen=True)
class TimingModel:
    """Penalties in cycles, and the geometry of the flash caches of an STM32L4+ (RM0432, 3.3.4)."""

    taken_branch_cycles: float = 0.0
    icache_sector_miss_cycles: float = 0.0
    dcache_sector_miss_cycles: float = 0.0
    dcache_line_miss_cycles: float = 0.0
    icache_lines: int = 32
    dcache_lines: int = 8
    line_bytes: int = 32
    sector_bytes: int = 8


@dataclass(frozen=True)
class Counts:
    """Raw counts since the machine was made; sums over the times when the counter ran."""

    instructions: int = 0
    base_cycles: int = 0
    taken_branches: int = 0
    icache_sector_misses: int = 0
    icache_line_misses: int = 0
    dcache_sector_misses: int = 0
    dcache_line_misses: int = 0

    def cycles(self, model: TimingModel) -> int:
        """What the cycle counter shows."""
        penalties = (
            model.taken_branch_cycles * self.taken_branches
            + model.icache_sector_miss_cycles * self.icache_sector_misses
            + model.dcache_sector_miss_cycles * self.dcache_sector_misses
            + model.dcache_line_miss_cycles * self.dcache_line_misses
        )
        return self.base_cycles + int(penalties)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, x.name) - getattr(other, x.name) for x in fields(self)))


class _Counts(ctypes.Structure):
    _fields_ = tuple((x.name, ctypes.c_uint64) for x in fields(Counts))


class _Config(ctypes.Structure):
    _fields_ = (
        *((x, ctypes.c_void_p) for x in ("emu_stop", "reg_read", "reg_write")),
        ("flash", ctypes.c_void_p),
        ("ram", ctypes.c_void_p),
        *((x, ctypes.c_uint32) for x in ("flash_base", "flash_bytes", "ram_base", "ram_bytes")),
        *((x, ctypes.c_uint32) for x in ("icache_lines", "dcache_lines", "line_bytes", "sector_bytes")),
        *((x, ctypes.c_uint32) for x in ("epsr", "shadow_base")),
    )


class Site(ctypes.Structure):
    """An instruction in an IT block that costs more when it executes than when it is skipped."""

    _fields_ = (("timing", ctypes.c_void_p), ("address", ctypes.c_uint32), ("extra_cycles", ctypes.c_uint32))


@dataclass(frozen=True)
class Memory:
    """A region as the C code sees it: where the guest has it, and where it lies in this process."""

    base: int
    size_bytes: int
    host: int


def build_timing_library(boards_dir: Path, build_dir: Path) -> Path:
    """Compiles `boards_dir/virtual` for this machine, unless the same sources were compiled before.

    Raises:
        MissingToolError, BuildError, InputError, OutputError: as `compiling.shared_library`.
    """
    sources, headers = ([boards_dir / "virtual" / x for x in y] for y in (SOURCES, _HEADERS))
    return shared_library("timing", build_dir / "virtual", sources, headers, _FLAGS)


class CycleCounters:
    """The counters of one machine.

    Args:
        library: as `build_timing_library` gives it.
        model: penalties and cache geometry.
        unicorn: Unicorn's own library, which the C code calls.
    """

    def __init__(self, library: Path, model: TimingModel, flash: Memory, ram: Memory, unicorn: ctypes.CDLL) -> None:
        self.model = model
        self._library = _load(library)
        calls = (unicorn.uc_emu_stop, unicorn.uc_reg_read, unicorn.uc_reg_write)
        config = _Config(
            *(ctypes.cast(x, ctypes.c_void_p).value for x in calls),
            flash.host, ram.host, flash.base, flash.size_bytes, ram.base, ram.size_bytes,
            model.icache_lines, model.dcache_lines, model.line_bytes, model.sector_bytes, UC_ARM_REG_EPSR, SHADOW_BASE,
        )  # fmt: skip
        self.handle: int | None = self._library.timing_new(ctypes.byref(config))
        if not self.handle:
            raise DeviceError(f"the cycle model cannot have this cache geometry: {model}")
        weakref.finalize(self, self._library.timing_free, self.handle)

    def callback(self, name: str) -> int:
        """The address of one of the C callbacks."""
        return ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0

    def new_sites(self) -> list[tuple[int, int]]:
        """Address of each conditional instruction to watch from now on, and what its callback is given.

        Raises:
            DeviceError: where there are more than the cycle model can watch, which would count too little.
        """
        first = ctypes.POINTER(Site)()
        count = self._library.timing_new_sites(self.handle, ctypes.byref(first))
        if count == _SITES_LOST:
            raise DeviceError(
                "the firmware runs more conditional instructions than the cycle model can watch",
                hint="raise MAX_SITES in boards/virtual/timing.c",
            )
        return [(first[i].address, ctypes.addressof(first[i])) for i in range(count)]

    def start(self) -> None:
        """Count from the next block on."""
        self._library.timing_start(self.handle)

    def end(self, pc: int) -> None:
        """Count no further than the instruction at `pc`."""
        self._library.timing_end(self.handle, pc)

    def counts(self, pc: int) -> Counts:
        """The counts as the instruction at `pc` executes, inside the current block."""
        counts = _Counts()
        self._library.timing_at(self.handle, pc, ctypes.byref(counts))
        return Counts(*(getattr(counts, x.name) for x in fields(Counts)))

    def stop_soon(self) -> None:
        """From any thread: end the emulation before its next block."""
        self._library.timing_stop_soon(self.handle)

    def resume(self) -> None:
        """Take `stop_soon` back."""
        self._library.timing_resume(self.handle)

    def set_caches(self, icache_on: bool, dcache_on: bool) -> None:
        """What FLASH_ACR says; a cache that is off misses every time."""
        self._library.timing_caches(self.handle, icache_on, dcache_on)

    def forget(self, offset: int, size: int) -> None:
        """A part of flash has changed: drop what was decoded there, and what the caches hold."""
        self._library.timing_forget(self.handle, offset, size)


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer = ctypes.c_void_p
    for name, *arguments in (
        ("timing_free", pointer), ("timing_start", pointer), ("timing_end", pointer, ctypes.c_uint32),
        ("timing_stop_soon", pointer),
        ("timing_at", pointer, ctypes.c_uint32, pointer), ("timing_resume", pointer),
        ("timing_forget", pointer, ctypes.c_uint32, ctypes.c_uint32),
        ("timing_caches", pointer, ctypes.c_uint32, ctypes.c_uint32),
    ):  # fmt: skip
        function = getattr(library, str(name))
        function.restype, function.argtypes = None, arguments
    library.timing_new.restype, library.timing_new.argtypes = pointer, [pointer]
    library.timing_new_sites.restype = ctypes.c_uint32
    library.timing_new_sites.argtypes = [pointer, pointer]
    sizes = (library.timing_counts_bytes(), library.timing_config_bytes())
    expected = (ctypes.sizeof(_Counts), ctypes.sizeof(_Config))
    if sizes != expected:
        raise BuildError(f"{path} has structures of {sizes} bytes, expected {expected}", hint="remove it")
    return library
