"""Listening by the device's own C (`boards/src/listen/listen.c`) on the host."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.compiling import loaded
from hil_nas.deploy.host_engine import Model, aligned, declare, load_plan
from hil_nas.deploy.listening import Listening
from hil_nas.errors import InputError

Int16 = NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Decided:
    """Answers and what was decided on them, n one after the other.

    Attributes:
        ends: samples from the stream's beginning to each window's end (n,).
        answers: int8 (n, classes).
        heard: the class that each let be heard, -1 for none (n,).
        averages: of posteriors behind each, 32768 for 1 (n, classes).
    """

    ends: NDArray[np.int64]
    answers: NDArray[np.int8]
    heard: NDArray[np.int16]
    averages: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.ends)


class HostListener:
    """One stream. Not to be shared between threads.

    Args:
        library: what build_engine_library() returned.

    Raises:
        InputError: where the file is not that library, or the source refuses plan, front end or settings.
    """

    def __init__(self, library: Path, listening: Listening) -> None:
        self._c = loaded(library, "an engine library", _declare)
        self.listening = listening
        self.classes = listening.plan.output_bytes
        self._model, self._memory = load_plan(self._c, listening.plan)
        self._blob = _copied(listening.blob)
        status = self._c.front_end_check(self._blob.ctypes.data, len(self._blob))
        if status != 0:
            raise InputError(f"the front end cannot be used: {self._c.front_end_error(status).decode()}")
        self._scratch = aligned(self._c.front_end_scratch_bytes(self._blob.ctypes.data))
        self._decide = _copied(listening.decide_settings)
        self._settings = Settings(
            self._blob.ctypes.data, self._scratch.ctypes.data, ctypes.pointer(self._model), self._decide.ctypes.data,
            listening.step, listening.warm_up,
        )  # fmt: skip
        fault = self._c.listen_fault(ctypes.byref(self._settings))
        if fault is not None:
            raise InputError(f"this cannot be listened by: {fault.decode()}")
        self._context = aligned(self.context_bytes)
        self._callback = _CALLBACK(self._decided)
        self._heard: list[tuple[int, bytes, int, list[int]]] = []
        self.restart()

    @property
    def context_bytes(self) -> int:
        """Of the stream's own memory on this machine, beside arena and scratch."""
        return int(self._c.listen_bytes(ctypes.byref(self._settings)))

    def restart(self) -> None:
        """Another stream begins."""
        self._c.listen_start(self._context.ctypes.data, ctypes.byref(self._settings), self._callback, None)

    def push(self, samples: Int16) -> Decided:
        """The next samples (m,), any number of them, and the answers that they complete.

        Raises:
            InputError: for another type or shape.
        """
        if samples.dtype != np.int16 or samples.ndim != 1:
            raise InputError(f"expected int16 (samples,), found {samples.dtype} {samples.shape}")
        self._heard.clear()
        data = np.ascontiguousarray(samples)
        if not self._c.listen_push(self._context.ctypes.data, data.ctypes.data, len(data)):
            raise AssertionError("a kernel refused an operator of a plan that was loaded")
        ends, answers, heard, averages = zip(*self._heard, strict=True) if self._heard else ((), (), (), ())
        return Decided(
            np.array(ends, np.int64),
            np.frombuffer(b"".join(answers), np.int8).reshape(-1, self.classes),
            np.array(heard, np.int16),
            np.array(averages, np.uint16).reshape(-1, self.classes),
        )

    def _decided(self, _: Any, at: Any) -> None:
        x = at.contents
        averages = [self._c.decide_average(self._decide.ctypes.data, x.stream, i) for i in range(self.classes)]
        self._heard.append((x.samples, ctypes.string_at(x.outputs, self.classes), x.heard, averages))


class Settings(ctypes.Structure):
    """`struct listen_settings` of boards/src/listen/listen.h."""

    _fields_ = [
        ("front_end", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("network", ctypes.POINTER(Model)),
        ("decisions", ctypes.c_void_p),
        ("step", ctypes.c_uint32),
        ("warm_up", ctypes.c_uint32),
    ]


class Decision(ctypes.Structure):
    """`struct listen_decision`."""

    _fields_ = [
        ("samples", ctypes.c_uint64),
        ("outputs", ctypes.c_void_p),
        ("heard", ctypes.c_int),
        ("posterior", ctypes.c_uint32),
        ("stream", ctypes.c_void_p),
    ]


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(Decision))


def _copied(data: bytes) -> NDArray[np.uint8]:
    memory = aligned(len(data))
    memory[:] = np.frombuffer(data, np.uint8)
    return memory


def _declare(c: ctypes.CDLL) -> None:
    declare(c)
    pointer, size, settings = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(Settings)
    c.front_end_check.argtypes, c.front_end_check.restype = [pointer, size], ctypes.c_int
    c.front_end_error.argtypes, c.front_end_error.restype = [ctypes.c_int], ctypes.c_char_p
    c.front_end_scratch_bytes.argtypes, c.front_end_scratch_bytes.restype = [pointer], size
    c.decide_average.argtypes, c.decide_average.restype = [pointer, pointer, ctypes.c_uint32], ctypes.c_uint32
    c.listen_fault.argtypes, c.listen_fault.restype = [settings], ctypes.c_char_p
    c.listen_bytes.argtypes, c.listen_bytes.restype = [settings], size
    c.listen_start.argtypes, c.listen_start.restype = [pointer, settings, _CALLBACK, pointer], None
    c.listen_push.argtypes, c.listen_push.restype = [pointer, pointer, size], ctypes.c_bool
