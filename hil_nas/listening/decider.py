"""Deciding on answers, by the device's own C (`boards/src/listen/decide.c`)."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil_nas.compiling import loaded, shared_library
from hil_nas.deploy.decisions import Decisions
from hil_nas.errors import InputError

_FLAGS = ("-std=c11", "-O3", "-Wl,--no-undefined")
Int8 = NDArray[np.int8]


def build_decide_library(boards_dir: Path, build_dir: Path, compiler: str = "gcc") -> Path:
    """Compiles decide.c for this machine, unless the same source was compiled before.

    Raises:
        MissingToolError, BuildError, InputError, OutputError: as `compiling.shared_library`.
    """
    folder = boards_dir / "src" / "listen"
    return shared_library("decide", build_dir, [folder / "decide.c"], [folder / "decide.h"], _FLAGS, compiler=compiler)


class Decider:
    """One stream of decisions.

    Args:
        library: what build_decide_library() returned.
        output: scale and zero point of the answers.

    Raises:
        InputError: where the file is not that library, or the source refuses the settings.
    """

    def __init__(self, library: Path, decisions: Decisions, output: tuple[float, int]) -> None:
        self._c = loaded(library, "a library of decide.c", _declare)
        self.classes = len(decisions.labels)
        self._settings = np.frombuffer(decisions.packed(*output), np.uint32).copy()
        fault = self._c.decide_fault(self._settings.ctypes.data)
        if fault is not None:
            raise InputError(f"decisions cannot be used: {fault.decode()}")
        self._stream = np.empty(self._c.decide_bytes(self._settings.ctypes.data) // 4, np.uint32)
        self._at = self._settings.ctypes.data, self._stream.ctypes.data
        self.restart()

    def restart(self) -> None:
        """Another stream begins."""
        self._c.decide_start(*self._at)

    def next(self, answers: Int8) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        """Of the next answers (n, classes) the class that each let be heard, -1 for none (n,), and the averages of
        posteriors behind each, 32768 for 1 (n, classes)."""
        answers = self._checked(answers)
        heard, averages = np.empty(len(answers), np.int16), np.empty(answers.shape, np.uint16)
        self._c.decide_all(*self._at, answers.ctypes.data, len(answers), heard.ctypes.data, averages.ctypes.data)
        return heard, averages

    def streams(self, answers: Int8) -> NDArray[np.int16]:
        """What is heard in each of several streams of equal length: (streams, n) of (streams, n, classes)."""
        answers = self._checked(answers)
        heard = np.empty(answers.shape[:2], np.int16)
        for i in range(len(answers)):
            self.restart()
            self._c.decide_all(
                *self._at, answers.ctypes.data + i * answers.strides[0], answers.shape[1],
                heard.ctypes.data + i * heard.strides[0], None,
            )  # fmt: skip
        return heard

    def _checked(self, answers: Int8) -> Int8:
        if answers.dtype != np.int8 or answers.shape[-1] != self.classes:
            raise InputError(f"expected int8 (n, {self.classes}), found {answers.dtype} {answers.shape}")
        return np.ascontiguousarray(answers)


def _declare(c: ctypes.CDLL) -> None:
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    c.decide_fault.argtypes, c.decide_fault.restype = [pointer], ctypes.c_char_p
    c.decide_bytes.argtypes, c.decide_bytes.restype = [pointer], size
    c.decide_start.argtypes, c.decide_start.restype = [pointer, pointer], None
    c.decide_all.argtypes, c.decide_all.restype = [pointer, pointer, pointer, size, pointer, pointer], None
