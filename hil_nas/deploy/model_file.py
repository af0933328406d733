"""The tables of a .tflite. Every file is treated as damaged until it has been read."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy import schema
from hil_nas.deploy.flatbuffer import Table, root_table
from hil_nas.deploy.graph import QuantTensor, array_of
from hil_nas.errors import InputError, UnsupportedError

_LARGEST_ELEMENTS = 1 << 26  # of one tensor: no microcontroller has more, and no size overflows
_NUMPY_TYPES = {schema.INT8: "<i1", schema.INT32: "<i4", schema.INT64: "<i8"}
_HINT_INT8 = "convert with int8 inputs, outputs and TFLITE_BUILTINS_INT8"


def model_root(data: bytes) -> Table:
    """The root table of a .tflite.

    Raises:
        InputError: where the bytes are none, or of another version.
    """
    root = root_table(data, schema.IDENTIFIER)
    version = root.number(schema.MODEL_VERSION, "I")
    if version != schema.VERSION:
        raise InputError(f"a .tflite of schema version {version}, expected {schema.VERSION}")
    return root


@dataclass(frozen=True)
class Quantization:
    """Scales and zero points: one each, or one per slice along `dimension`."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    dimension: int


@dataclass(frozen=True)
class ModelFile:
    """The tables of a model with one subgraph."""

    subgraph: Table
    tensors: tuple[Table, ...]
    buffers: tuple[Table, ...]
    codes: tuple[Table, ...]

    @classmethod
    def open(cls, data: bytes) -> ModelFile:
        """Finds the tables.

        Raises:
            InputError: where there are none.
        """
        root = model_root(bytes(data))
        subgraphs = root.tables(schema.MODEL_SUBGRAPHS)
        if len(subgraphs) != 1:
            raise UnsupportedError(f"the model has {len(subgraphs)} subgraphs, only one is lowered")
        return cls(
            subgraphs[0],
            tuple(subgraphs[0].tables(schema.SUBGRAPH_TENSORS)),
            tuple(root.tables(schema.MODEL_BUFFERS)),
            tuple(root.tables(schema.MODEL_OPERATOR_CODES)),
        )

    def only(self, field: int, what: str) -> int:
        """The number of the one input or output tensor."""
        numbers = self.subgraph.numbers(field, "<i4")
        if len(numbers) != 1:
            raise UnsupportedError(f"the model has {len(numbers)} {what}, only one is lowered")
        return self.checked(int(numbers[0]))

    def checked(self, number: int) -> int:
        """A tensor number that exists."""
        if not 0 <= number < len(self.tensors):
            raise InputError(f"the file is damaged: tensor {number} of {len(self.tensors)}")
        return number

    def code(self, operator: Table) -> int:
        """The builtin code of an operator; the older of its two fields holds the small ones."""
        index = operator.number(schema.OPERATOR_CODE, "I")
        if index >= len(self.codes):
            raise InputError(f"the file is damaged: operator code {index} of {len(self.codes)}")
        code = self.codes[index]
        return int(max(code.number(schema.CODE_DEPRECATED, "b"), code.number(schema.CODE_BUILTIN, "i")))

    def shape(self, number: int) -> tuple[int, ...]:
        """A tensor's shape, checked to be positive and of a size that fits anywhere."""
        shape = tuple(int(x) for x in self.tensors[number].numbers(schema.TENSOR_SHAPE, "<i4"))
        if len(shape) > 6 or any(x < 1 for x in shape) or prod(shape) > _LARGEST_ELEMENTS:
            raise InputError(f"tensor {number} ({self.name(number)}) has the shape {shape}")
        return shape

    def name(self, number: int) -> str:
        """The tensor's name as it may stand in a message."""
        name = self.tensors[number].text(schema.TENSOR_NAME)[:60]
        return "".join(x if x.isprintable() else "?" for x in name)

    def quantization(self, number: int) -> Quantization | None:
        """None for a tensor without scales."""
        table = self.tensors[number].table(schema.TENSOR_QUANTIZATION)
        if table is None:
            return None
        scales = array_of(table.numbers(schema.QUANTIZATION_SCALE, "<f4"), np.float32)
        zeros = array_of(table.numbers(schema.QUANTIZATION_ZERO_POINT, "<i8"), np.int64)
        if len(scales) == 0:
            return None
        good = bool(np.all(np.isfinite(scales)) and np.all(scales > 0))
        if not good or len(zeros) not in (0, len(scales)):
            raise InputError(
                f"tensor {number} ({self.name(number)}) has {len(scales)} scales and {len(zeros)} zero points,"
                f" the least scale {scales.min()}: expected as many of each, positive and finite"
            )
        zeros = zeros if len(zeros) else np.zeros(len(scales), np.int64)
        return Quantization(scales, zeros, int(table.number(schema.QUANTIZATION_DIMENSION, "i")))

    def activation(self, number: int) -> QuantTensor:
        """An int8 tensor that an operator writes, or the model's input."""
        where, shape = f"tensor {number} ({self.name(number)})", self.shape(number)
        kind = self.tensors[number].number(schema.TENSOR_TYPE, "b")
        if kind != schema.INT8:
            raise UnsupportedError(f"{where} is {schema.type_name(kind)}, only INT8 is lowered", hint=_HINT_INT8)
        if not 1 <= len(shape) <= 4 or (len(shape) > 1 and shape[0] != 1):
            raise UnsupportedError(f"{where} has the shape {shape}: a batch of 1 and up to 4 axes are lowered")
        signature = self.tensors[number].numbers(schema.TENSOR_SIGNATURE, "<i4")
        if np.any(signature[1:] < 0):
            raise UnsupportedError(f"{where} has a dynamic shape, {signature.tolist()}")
        if self.tensors[number].number(schema.TENSOR_IS_VARIABLE, "b"):
            raise UnsupportedError(f"{where} is a variable, which keeps its value between runs")
        q = self.quantization(number)
        if q is None or len(q.scales) != 1 or not -128 <= q.zero_points[0] <= 127:
            raise UnsupportedError(f"{where} has no single scale and int8 zero point", hint=_HINT_INT8)
        return QuantTensor(shape, float(q.scales[0]), int(q.zero_points[0]))

    def constant(self, number: int) -> NDArray[Any] | None:
        """The data of a constant tensor, in its shape; None for a tensor that is computed.

        Raises:
            InputError: where data and shape differ.
        """
        tensor = self.tensors[number]
        data = self._buffer(tensor.number(schema.TENSOR_BUFFER, "I"))
        if len(data) == 0:
            return None
        kind, shape = tensor.number(schema.TENSOR_TYPE, "b"), self.shape(number)
        if kind not in _NUMPY_TYPES or tensor.field(schema.TENSOR_SPARSITY) is not None:
            raise UnsupportedError(f"tensor {number} ({self.name(number)}) is a constant of {schema.type_name(kind)}")
        dtype = np.dtype(_NUMPY_TYPES[kind])
        if len(data) != prod(shape) * dtype.itemsize:
            raise InputError(f"tensor {number} ({self.name(number)}): {len(data)} bytes for the shape {shape}")
        return array_of(data.view(dtype).reshape(shape), dtype.newbyteorder("="))

    def _buffer(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self.buffers):
            raise InputError(f"the file is damaged: buffer {number} of {len(self.buffers)}")
        table = self.buffers[number]
        if table.number(schema.BUFFER_OFFSET, "Q") > 1:
            raise UnsupportedError("the model keeps its weights behind the flatbuffer, as only huge models do")
        return table.numbers(schema.BUFFER_DATA, "<u1")


def finite(value: float, what: str) -> float:
    """A float that is a number.

    Raises:
        InputError: for NaN and infinities.
    """
    if not isfinite(value):
        raise InputError(f"{what} is {value}")
    return value
