"""The device's engine on the host: builds its C sources, all kernels in portable code, as a shared library; and with it
what listens through it, front ends and decisions."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil_nas import kernels
from hil_nas.compiling import loaded, shared_library
from hil_nas.deploy.plan import Plan
from hil_nas.errors import InputError
from hil_nas.front_ends.host import front_end_sources
from hil_nas.kernels.cmsis_nn import SOURCE_FOLDERS

_FLAGS = (
    "-std=gnu11", "-O3", "-w", "-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict",
    f"-DKERNEL_LISTS={' '.join(f'LIST({x.name})' for x in kernels.LISTS)}", '-DENGINE_NAME="host"',
    "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,--no-undefined", "-Wl,-Bsymbolic",
)  # fmt: skip


def build_engine_library(boards_dir: Path, cmsis_nn_dir: Path, build_dir: Path, compiler: str = "gcc") -> Path:
    """Compiles engine, front ends and listening for this machine, unless the same sources were compiled before.

    Raises:
        MissingToolError, BuildError, InputError, OutputError: as `compiling.shared_library`.
    """
    source = boards_dir / "src"
    sources = [*front_end_sources(boards_dir), *sorted((source / "engine").glob("*.c"))]
    sources += sorted((source / "listen").glob("*.c"))
    sources += [x for y in kernels.LISTS for x in sorted((source / "kernels" / y.name).glob("*.c"))]
    sources += [x for y in SOURCE_FOLDERS for x in sorted((cmsis_nn_dir / "Source" / y).glob("*.c"))]
    include = (boards_dir / "include", cmsis_nn_dir / "Include")
    folders = (*include, *(source / x for x in ("engine", "kernels", "front_ends", "listen")))
    headers = [x for y in folders for x in sorted(y.rglob("*.h"))]
    return shared_library("engine", build_dir, sources, headers, _FLAGS, include=include, compiler=compiler)


class HostEngine:
    """A plan in the device's engine in this process. Not to be shared between threads: it has one arena.

    Args:
        library: what build_engine_library() returned.

    Raises:
        InputError: where the file is not that library, or the engine refuses the plan.
    """

    def __init__(self, library: Path, plan: Plan) -> None:
        self._c = loaded(library, "an engine library", declare)
        self._model, self._memory = load_plan(self._c, plan)

    def reset(self) -> None:
        """Empties the delay lines of a network that takes one step of a stream, as they are in the beginning."""
        self._c.engine_reset(ctypes.byref(self._model))

    def run(self, features: NDArray[np.int8]) -> NDArray[np.int8]:
        """What a board answers: int8 (n, outputs) of int8 (n, ...), one inference after the other."""
        rows = np.ascontiguousarray(features).reshape(len(features), -1)
        model = self._model
        if features.dtype != np.int8 or rows.shape[1] != model.input_bytes:
            raise InputError(f"expected int8 (n, {model.input_bytes}), found {features.dtype} {features.shape}")
        out = np.empty((len(rows), model.output_bytes), np.int8)
        run, at, given, move = self._c.engine_run, ctypes.byref(model), model.input_bytes, ctypes.memmove
        for i in range(len(rows)):
            move(model.input, rows.ctypes.data + i * given, given)
            if not run(at, None, None):
                raise AssertionError("a kernel refused an operator of a plan that was loaded")
            move(out.ctypes.data + i * model.output_bytes, model.output, model.output_bytes)
        return out


def load_plan(c: ctypes.CDLL, plan: Plan) -> tuple[Model, tuple[NDArray[np.uint8], ...]]:
    """A loaded `struct engine_model`, and the memory that must outlive it: the plan and its arena.

    Raises:
        InputError: where the engine refuses the plan.
    """
    data = plan.to_bytes()
    blob, arena, model = aligned(len(data)), aligned(plan.arena_bytes), Model()
    blob[:] = np.frombuffer(data, np.uint8)
    fault = c.engine_load(ctypes.byref(model), blob.ctypes.data, len(data), arena.ctypes.data, plan.arena_bytes)
    if fault.reason is not None:
        raise InputError(f"the engine refuses the plan's operator {fault.op}: {fault.reason.decode()}")
    return model, (blob, arena)


class Fault(ctypes.Structure):
    """`struct engine_fault` of boards/include/engine.h."""

    _fields_ = [("reason", ctypes.c_char_p), ("op", ctypes.c_int32)]


class Model(ctypes.Structure):
    """`struct engine_model`."""

    _fields_ = [
        ("blob", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("op_count", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint32),
        ("input", ctypes.c_void_p),
        ("input_bytes", ctypes.c_uint32),
        ("input_scale", ctypes.c_float),
        ("input_zero_point", ctypes.c_int32),
        ("output", ctypes.c_void_p),
        ("output_bytes", ctypes.c_uint32),
        ("output_scale", ctypes.c_float),
        ("output_zero_point", ctypes.c_int32),
    ]


def declare(c: ctypes.CDLL) -> None:
    """Gives the engine's functions their types."""
    pointer, size, model = ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(Model)
    c.engine_load.argtypes, c.engine_load.restype = [model, pointer, size, pointer, size], Fault
    c.engine_reset.argtypes, c.engine_reset.restype = [model], None
    c.engine_run.argtypes, c.engine_run.restype = [model, pointer, pointer], ctypes.c_bool


def aligned(size: int) -> NDArray[np.uint8]:
    """Zeros that start at a multiple of 32, as constants of a plan do in flash."""
    memory = np.zeros(size + 32, np.uint8)
    start = -memory.ctypes.data % 32
    return memory[start : start + size]
