"""A plan as boards/include/plan.h lays it out; the two change together."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, fields
from typing import Any

from hil_nas.cost.arena import ALIGNMENT_BYTES, PLACE_BYTES
from hil_nas.cost.blob import HEADER_BYTES, OPERATOR_BYTES
from hil_nas.errors import InputError
from hil_nas.operators.table import PLAN_CODES, keeps

MAGIC = 0x4E4C5048  # "HPLN"
VERSION = 3
MAX_OPERATORS = 256
_NAMES = {code: name for name, code in PLAN_CODES.items()}
_CHECKED_FROM = 16  # of the header: all behind its checksum; what stands before is checked by its value
_HEADER = struct.Struct("<IHH8Ififi2I")
_OPERATOR = struct.Struct("<HH5I14H5i4I7i4HI")
_RESERVED = (0,)


@dataclass(frozen=True)
class PlanOperator:
    """`struct plan_op`; the header file explains the fields. Shapes are (height, width, channels)."""

    kind: str
    input_count: int
    inputs: tuple[int, int]
    output: int
    scratch: int
    scratch_bytes: int
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (0, 0)
    padding: tuple[int, int] = (0, 0)
    input_offsets: tuple[int, int] = (0, 0)
    output_offset: int = 0
    activation: tuple[int, int] = (-128, 127)
    weights_data: int = 0
    bias_data: int = 0
    multipliers_data: int = 0
    shifts_data: int = 0
    input_multipliers: tuple[int, int] = (0, 0)
    input_shifts: tuple[int, int] = (0, 0)
    output_multiplier: int = 0
    output_shift: int = 0
    left_shift: int = 0
    second_shape: tuple[int, int, int] = (0, 0, 0)
    kernel_list: int = 0

    def to_bytes(self) -> bytes:
        """The 128 bytes of this operator."""
        values: list[int] = [PLAN_CODES[self.kind]]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            values.extend(value if isinstance(value, tuple) else (value,))
        return _OPERATOR.pack(*values, *_RESERVED)

    @classmethod
    def from_bytes(cls, data: bytes) -> PlanOperator:
        """The inverse of `to_bytes`.

        Raises:
            InputError: for an unknown kind and for reserved words that are not 0.
        """
        v: Any = _OPERATOR.unpack(data)
        if v[0] not in _NAMES or v[-1:] != _RESERVED:
            raise InputError(f"a plan's operator of kind {v[0]} with reserved fields {v[-1:]} is not known")
        values, index = [], 1
        for field in fields(cls)[1:]:
            width = _WIDTHS.get(field.name, 1)
            values.append(v[index] if width == 1 else v[index : index + width])
            index += width
        return cls(_NAMES[v[0]], *values)


_WIDTHS = {
    "inputs": 2,
    "in_shape": 3,
    "out_shape": 3,
    "kernel": 2,
    "stride": 2,
    "dilation": 2,
    "padding": 2,
    "input_offsets": 2,
    "activation": 2,
    "input_multipliers": 2,
    "input_shifts": 2,
    "second_shape": 3,
}  # fields of several words


@dataclass(frozen=True)
class Plan:
    """A lowered network.

    Attributes:
        arena_bytes: activations and scratch, a multiple of 16.
        input, output: (offset in the arena, bytes, scale, zero point).
        constants: what follows the operators; the `_data` fields of the operators count from the blob's start.
    """

    operators: tuple[PlanOperator, ...]
    arena_bytes: int
    input_offset: int
    input_bytes: int
    output_offset: int
    output_bytes: int
    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int
    constants: bytes

    @property
    def total_bytes(self) -> int:
        """Of the blob, as it lies in flash."""
        return HEADER_BYTES + OPERATOR_BYTES * len(self.operators) + len(self.constants)

    @property
    def keeps_state(self) -> bool:
        """Whether it takes one step of a stream at a time, and goes on from where the last one ended."""
        return any(keeps(x.kind) for x in self.operators)

    def to_bytes(self) -> bytes:
        """The blob that is uploaded, stored or linked."""
        body = b"".join(x.to_bytes() for x in self.operators) + self.constants
        head = (MAGIC, VERSION, HEADER_BYTES, self.total_bytes, 0, len(self.operators))
        regions = (self.input_offset, self.input_bytes, self.output_offset, self.output_bytes)
        scales = (self.input_scale, self.input_zero_point, self.output_scale, self.output_zero_point)
        blob = _HEADER.pack(*head, self.arena_bytes, *regions, *scales, 0, 0) + body
        checksum = struct.pack("<I", zlib.crc32(blob[_CHECKED_FROM:]))
        return blob[: _CHECKED_FROM - len(checksum)] + checksum + blob[_CHECKED_FROM:]

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """The inverse of `to_bytes`.

        Raises:
            InputError: for anything that `to_bytes` would not have written.
        """
        if len(data) < HEADER_BYTES:
            raise InputError(f"a plan has a header of {HEADER_BYTES} bytes, these are {len(data)} bytes")
        v: Any = _HEADER.unpack_from(data)
        _check_header(data, v)
        end = HEADER_BYTES + OPERATOR_BYTES * v[5]
        starts = range(HEADER_BYTES, end, OPERATOR_BYTES)
        operators = tuple(PlanOperator.from_bytes(data[i : i + OPERATOR_BYTES]) for i in starts)
        names = [x.name for x in fields(cls)][1:-1]  # as they follow each other in the header
        plan = cls(operators, constants=data[end:], **dict(zip(names, v[6:15], strict=True)))
        _check_regions(plan)
        return plan


def _check_header(data: bytes, v: tuple[int, ...]) -> None:
    if v[0] != MAGIC:
        raise InputError(f"these bytes are no plan: they begin with {data[:4]!r}, a plan with b'HPLN'")
    if v[1:3] != (VERSION, HEADER_BYTES):
        raise InputError(f"a plan of version {v[1]} with a header of {v[2]} bytes, expected version {VERSION}")
    if v[3] != len(data):
        raise InputError(f"a plan of {v[3]} bytes, but these are {len(data)} bytes")
    if v[4] != zlib.crc32(data[_CHECKED_FROM:]):
        raise InputError("the plan's checksum does not fit its bytes", hint="it was damaged: lower it again")
    if not 1 <= v[5] <= MAX_OPERATORS or HEADER_BYTES + OPERATOR_BYTES * v[5] > len(data) or v[-2:] != (0, 0):
        raise InputError(f"a plan has 1 to {MAX_OPERATORS} operators and room for them, this says {v[5]}")


def _check_regions(plan: Plan) -> None:
    """Whether all offsets lie where they must."""
    first, last = HEADER_BYTES + OPERATOR_BYTES * len(plan.operators), plan.total_bytes
    regions = [(plan.input_offset, plan.input_bytes), (plan.output_offset, plan.output_bytes)]
    for x in plan.operators:
        used = x.inputs[: x.input_count] if x.kind != "concatenation" else ()
        regions += [(x.output, 1), (x.scratch, x.scratch_bytes), *((i, 1) for i in used)]
        for offset in (x.weights_data, x.bias_data, x.multipliers_data, x.shifts_data):
            if offset and (offset % ALIGNMENT_BYTES or not first <= offset < last):
                raise InputError(f"a plan's constants lie at {first} to {last}, a {x.kind} has some at {offset}")
    for offset, size in regions:
        whole = plan.arena_bytes % ALIGNMENT_BYTES == 0 and offset % PLACE_BYTES == 0
        if not whole or offset + size > plan.arena_bytes:
            raise InputError(f"{size} bytes at {offset} do not fit an arena of {plan.arena_bytes} bytes")
