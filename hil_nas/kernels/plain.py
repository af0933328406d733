"""The portable kernels of `boards/src/kernels/plain`."""

from __future__ import annotations

from collections import Counter
from math import prod

from hil_nas.kernels import cmsis_nn
from hil_nas.kernels.kernel import Counts, Fault, Kernel, KernelCall, KernelList
from hil_nas.operators.table import PLAN_CODES

_CONCATENATION_ENTRY_BYTES = 8  # where an input lies, and its bytes per step
_MEMCPY = ("aligned", "by_64", "by_16", "by_4", "tail", "singly")
_MOST_CLASSES = 511  # with more the reference softmax would shift by more than 31


def _values(call: KernelCall) -> Counts:
    height, width, channels = call.output
    return {"values": height * width * channels}


def _copies(call: KernelCall) -> Counts:
    """`boards/src/kernels/plain/moves.c`: a memcpy per input at every pixel."""
    pixels, total = call.output[0] * call.output[1], call.output[2]
    turns: Counter[str] = Counter()
    start = 0
    for _, _, channels in call.inputs:
        for phase in range(4):  # both ends lie at words again after four pixels
            for name, count in _memcpy(channels, phase * channels, phase * total + start).items():
                turns[name] += count
        start += channels
    return {
        "pixels": pixels,
        "copies": pixels * len(call.inputs),
        **{f"copied_{x}": pixels * turns[x] / 4 for x in _MEMCPY},
    }


def _moves(call: KernelCall) -> Counts:
    """`boards/src/kernels/plain/moves.c`: what is kept moves to the beginning, what is new is copied behind it."""
    fresh = prod(call.inputs[0])
    kept = prod(call.output) - fresh
    copied = {f"copied_{name}": count for name, count in _memcpy(fresh, 0, kept).items()}
    return {**dict.fromkeys((f"copied_{x}" for x in _MEMCPY), 0), **_memmove(kept, fresh), **copied}


def _memcpy(size_bytes: int, source: int, target: int) -> dict[str, int]:
    """Turns of newlib's loops on an Armv7-M; bytes come first only where neither end lies at a word."""
    if size_bytes < 8 and (source | target) % 4:
        return {"singly": size_bytes}
    first = 0 if source % 4 == 0 or target % 4 == 0 else 4 - target % 4
    rest = size_bytes - first
    return {
        "aligned": int(first > 0),
        "by_64": rest // 64,
        "by_16": rest % 64 // 16,
        "by_4": rest % 16 // 4,
        "tail": int(rest % 4 > 0),
    }


def _memmove(size_bytes: int, distance: int) -> dict[str, int]:
    """Turns of newlib's loops on an Armv7-M, from a word on and downwards."""
    if size_bytes < 16 or distance % 4:
        return {"moved_by_16": 0, "moved_by_4": 0, "moved_singly": size_bytes}
    return {"moved_by_16": size_bytes // 16, "moved_by_4": size_bytes % 16 // 4, "moved_singly": size_bytes % 4}


def _rows(call: KernelCall) -> Counts:
    height, width, channels = call.output
    return {"rows": height * width, "values": height * width * channels}


def _value_by_value(call: KernelCall) -> tuple[int, ...]:
    """Each value is read where it is written; an input that is broadcast is smaller."""
    return tuple(i for i, shape in enumerate(call.inputs) if prod(shape) == prod(call.output))


def _concatenation_bytes(call: KernelCall) -> tuple[int, ...]:
    return (_CONCATENATION_ENTRY_BYTES * len(call.inputs),)


def _classes(call: KernelCall) -> Fault | None:
    if call.inputs[0][2] <= _MOST_CLASSES:
        return None
    hint = "leave it out: the largest output is the same without it"
    return Fault(f"is over {call.inputs[0][2]} classes, at most {_MOST_CLASSES} are run", hint)


_DESCRIBED = {
    "add": Kernel(in_place=_value_by_value, counts={"add": _values}),
    "concatenation": Kernel(constant_bytes=_concatenation_bytes, counts={"concatenation": _copies}),
    "delay": Kernel(counts={"delay": _moves}),
    "softmax": Kernel(fault=_classes, in_place=_value_by_value, counts={"softmax": _rows}),
    **{x: Kernel(in_place=_value_by_value) for x in ("sub", "mul", "maximum", "minimum", "lookup")},
}
# whatever CMSIS-NN has none for
KERNELS = KernelList(
    "plain", 1, {x: _DESCRIBED.get(x, Kernel()) for x in PLAN_CODES if x not in cmsis_nn.KERNELS.kernels}
)
