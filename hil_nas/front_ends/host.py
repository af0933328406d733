"""The device's front end on the host: builds its C sources as a shared library and calls it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil_nas.compiling import loaded, shared_library
from hil_nas.errors import InputError

HOST_FLAGS = (
    "-std=c11", "-O3", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,--no-undefined",
    "-Wl,-Bsymbolic",  # its own crc32, not that of a zlib in the process
)  # fmt: skip


def front_end_sources(boards_dir: Path) -> list[Path]:
    """The front ends' own C sources, one for each kind and what they share."""
    source = boards_dir / "src"
    return [source / "front_end.c", source / "crc32.c", *sorted((source / "front_ends").glob("*.c"))]


def build_host_library(boards_dir: Path, build_dir: Path, compiler: str = "gcc") -> Path:
    """Compiles the front end for this machine, unless the same sources were compiled before.

    Raises:
        MissingToolError, BuildError, InputError, OutputError: as `compiling.shared_library`.
    """
    headers = [boards_dir / "include" / x for x in ("front_end.h", "crc32.h")]
    headers += sorted((boards_dir / "src" / "front_ends").glob("*.h"))
    sources, include = front_end_sources(boards_dir), (boards_dir / "include",)
    return shared_library("front-ends", build_dir, sources, headers, HOST_FLAGS, include=include, compiler=compiler)


class HostFrontEnd:
    """The C front end in this process. Threads may share it: calls leave the GIL and do not disturb each other.

    Args:
        library: what build_host_library() returned.

    Raises:
        InputError: where the file is not that library.
    """

    def __init__(self, library: Path) -> None:
        self._c = loaded(library, "a front-end library", _declare)

    def shape(self, blob: bytes) -> tuple[int, int]:
        """Frames and columns of one clip.

        Raises:
            InputError: where the blob is not one that front_end.c accepts.
        """
        table = self._accepted(blob)
        return self._c.front_end_frames(table.ctypes.data), self._c.front_end_columns(table.ctypes.data)

    def scratch_bytes(self, blob: bytes) -> int:
        """RAM that the front end needs beside audio, blob and output.

        Raises:
            InputError: where the blob is not one that front_end.c accepts.
        """
        table = self._accepted(blob)  # named: its memory must outlive the call
        return int(self._c.front_end_scratch_bytes(table.ctypes.data))

    def features(self, blob: bytes, clips: NDArray[np.int16]) -> NDArray[np.int8]:
        """What a board computes: int8 (clips, frames, columns) of int16 (clips, samples).

        Raises:
            InputError: for a blob that front_end.c refuses, or clips of another type or length.
        """
        table = self._accepted(blob)
        address = table.ctypes.data
        _check_clips(clips, self._c.front_end_samples(address))
        clips = np.ascontiguousarray(clips)
        frames, columns = self._c.front_end_frames(address), self._c.front_end_columns(address)
        out = np.empty((len(clips), frames, columns), np.int8)
        scratch = _aligned(self._c.front_end_scratch_bytes(address))
        run, scratch_at = self._c.front_end_run, scratch.ctypes.data
        clip_at, out_at = clips.ctypes.data, out.ctypes.data
        for i in range(len(clips)):
            run(address, clip_at + i * clips.strides[0], scratch_at, out_at + i * frames * columns)
        return out

    def _accepted(self, blob: bytes) -> NDArray[np.uint8]:
        table = _aligned(len(blob))
        table[:] = np.frombuffer(blob, np.uint8)
        status = self._c.front_end_check(table.ctypes.data, len(blob))
        if status != 0:
            raise InputError(f"these {len(blob)} bytes are no front end: {self._c.front_end_error(status).decode()}")
        return table


def _check_clips(clips: NDArray[np.int16], samples: int) -> None:
    if clips.dtype != np.int16 or clips.ndim != 2 or clips.shape[1] != samples:
        raise InputError(f"clips are {clips.dtype} {clips.shape}, not int16 (clips, {samples})")


def _aligned(size: int) -> NDArray[np.uint8]:
    """Memory that starts at a multiple of 16."""
    memory = np.empty(size + 16, np.uint8)
    start = -memory.ctypes.data % 16
    return memory[start : start + size]


def _declare(c: ctypes.CDLL) -> None:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    c.front_end_check.argtypes, c.front_end_check.restype = [pointer, size], ctypes.c_int
    c.front_end_error.argtypes, c.front_end_error.restype = [ctypes.c_int], ctypes.c_char_p
    for name in ("front_end_scratch_bytes", "front_end_samples", "front_end_frames", "front_end_columns"):
        getattr(c, name).argtypes, getattr(c, name).restype = [pointer], size
    c.front_end_run.argtypes, c.front_end_run.restype = [pointer, pointer, pointer, pointer], None
