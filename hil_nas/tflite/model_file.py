"""The tables of a .tflite. Every file is treated as damaged until it has been read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.errors import InputError, UnsupportedError
from hil_nas.tflite import schema
from hil_nas.tflite.flatbuffer import Table, root_table
from hil_nas.tflite.refusals import HINT_BATCH, HINT_INT8, check_bytes
from hil_nas.tflite.tensor import QuantTensor, array_of

_LARGEST_ELEMENTS = 1 << 26  # of one tensor: no microcontroller has more, and no size overflows
_NUMPY_TYPES = {schema.INT8: "<i1", schema.INT32: "<i4", schema.INT64: "<i8"}


def model_root(data: bytes) -> Table:
    """The root table of a .tflite.

    Raises:
        InputError: where the bytes are none, or of another version.
    """
    check_bytes(data)
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
    """The tables of a model and of one of its subgraphs, the first.

    Attributes:
        subgraphs: all of them.
        folded: tensors that operators would compute from shapes alone, by number; the values are int32.
    """

    subgraphs: tuple[Table, ...]
    subgraph: Table
    operators: tuple[Table, ...]
    tensors: tuple[Table, ...]
    buffers: tuple[Table, ...]
    codes: tuple[Table, ...]
    folded: Mapping[int, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, data: bytes) -> ModelFile:
        """Finds the tables.

        Raises:
            InputError: where there are none.
        """
        root = model_root(bytes(data))
        subgraphs = root.tables(schema.MODEL_SUBGRAPHS)
        if not subgraphs:
            raise InputError("the file is damaged: a model without a subgraph")
        return cls(
            tuple(subgraphs),
            subgraphs[0],
            tuple(subgraphs[0].tables(schema.SUBGRAPH_OPERATORS)),
            tuple(subgraphs[0].tables(schema.SUBGRAPH_TENSORS)),
            tuple(root.tables(schema.MODEL_BUFFERS)),
            tuple(root.tables(schema.MODEL_OPERATOR_CODES)),
        )

    def other(self, index: int) -> ModelFile:
        """The same file with another of its subgraphs in the first one's place."""
        if not 0 <= index < len(self.subgraphs):
            raise InputError(f"the file is damaged: subgraph {index} of {len(self.subgraphs)}")
        subgraph = self.subgraphs[index]
        operators, tensors = (subgraph.tables(x) for x in (schema.SUBGRAPH_OPERATORS, schema.SUBGRAPH_TENSORS))
        return replace(self, subgraph=subgraph, operators=tuple(operators), tensors=tuple(tensors), folded={})

    def only(self, field: int) -> int:
        """The number of the one input or output tensor of a model that has one."""
        return self.checked(int(self.subgraph.numbers(field, "<i4")[0]))

    def checked(self, number: int) -> int:
        """A tensor number that exists."""
        if not 0 <= number < len(self.tensors):
            raise InputError(f"the file is damaged: tensor {number} of {len(self.tensors)}")
        return number

    def inputs(self, index: int) -> list[int]:
        """Tensor numbers of an operator, -1 for an absent optional one."""
        return [int(x) for x in self.operators[index].numbers(schema.OPERATOR_INPUTS, "<i4")]

    def outputs(self, index: int) -> list[int]:
        """Tensor numbers of an operator."""
        return [int(x) for x in self.operators[index].numbers(schema.OPERATOR_OUTPUTS, "<i4")]

    def code(self, operator: Table) -> str:
        """The schema's name of an operator."""
        index = operator.number(schema.OPERATOR_CODE, "I")
        if index >= len(self.codes):
            raise InputError(f"the file is damaged: operator code {index} of {len(self.codes)}")
        return self.builtin_name(self.codes[index])

    def builtin_name(self, code: Table) -> str:
        """Of an operator code's table; the older of its two fields holds the small ones."""
        fields = (code.number(schema.CODE_DEPRECATED, "b"), code.number(schema.CODE_BUILTIN, "i"))
        return schema.operator_name(max(fields))

    def custom_name(self, operator: Table) -> str:
        """The name of a custom operator as it may stand in a message."""
        return _printable(self.codes[operator.number(schema.OPERATOR_CODE, "I")].text(schema.CODE_CUSTOM))

    def shape(self, number: int) -> tuple[int, ...]:
        """A tensor's shape, checked to be positive and of a size that fits anywhere."""
        shape = tuple(int(x) for x in self.tensors[number].numbers(schema.TENSOR_SHAPE, "<i4"))
        if len(shape) > 6 or any(x < 1 for x in shape) or prod(shape) > _LARGEST_ELEMENTS:
            raise InputError(f"tensor {number} ({self.name(number)}) has the shape {shape}")
        return shape

    def name(self, number: int) -> str:
        """The tensor's name as it may stand in a message."""
        return _printable(self.tensors[number].text(schema.TENSOR_NAME))

    def type(self, number: int) -> int:
        """The code of a tensor's type."""
        return int(self.tensors[self.checked(number)].number(schema.TENSOR_TYPE, "b"))

    def is_constant(self, number: int) -> bool:
        """Whether the file holds a tensor's values."""
        return len(self._buffer(self.tensors[number].number(schema.TENSOR_BUFFER, "I"))) > 0

    def is_variable(self, number: int) -> bool:
        """Whether a tensor keeps what an operator leaves in it until the next call."""
        return bool(self.tensors[number].number(schema.TENSOR_IS_VARIABLE, "b"))

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
        kind = self.type(number)
        if kind != schema.INT8:
            raise UnsupportedError(f"{where} is {schema.type_name(kind)}, only INT8 is run", hint=HINT_INT8)
        if len(shape) > 1 and shape[0] != 1:
            hint = self._batch_hint(number)
            raise UnsupportedError(f"{where} has the shape {shape}, only a batch of 1 is run", hint=hint)
        if not 1 <= len(shape) <= 4:
            hint = "reshape it to (1, height, width, channels)"
            raise UnsupportedError(f"{where} has the shape {shape}, up to 4 axes are run", hint=hint)
        signature = self.tensors[number].numbers(schema.TENSOR_SIGNATURE, "<i4")
        if np.any(signature[1:] < 0):
            raise UnsupportedError(
                f"{where} has a dynamic shape, {signature.tolist()}", hint="give keras.Input every extent of its shape"
            )
        return self.scaled(number, shape)

    def _batch_hint(self, number: int) -> str:
        outer = self.subgraph.numbers(schema.SUBGRAPH_INPUTS, "<i4")
        return HINT_BATCH if number in outer else "leave the batch where it is, first and alone"

    def scaled(self, number: int, shape: tuple[int, ...]) -> QuantTensor:
        """An int8 tensor of this shape with its one scale and zero point."""
        q = self.quantization(number)
        if q is None or len(q.scales) != 1 or not -128 <= q.zero_points[0] <= 127:
            where = f"tensor {number} ({self.name(number)})"
            raise UnsupportedError(f"{where} has no single scale and int8 zero point", hint=HINT_INT8)
        return QuantTensor(shape, float(q.scales[0]), int(q.zero_points[0]))

    def constant(self, number: int) -> NDArray[Any] | None:
        """The data of a constant tensor, in its shape; None for a tensor that is computed.

        Raises:
            InputError: where data and shape differ.
        """
        if number in self.folded:
            return self.folded[number]
        tensor = self.tensors[number]
        data = self._buffer(tensor.number(schema.TENSOR_BUFFER, "I"))
        if len(data) == 0:
            return None
        kind, shape = tensor.number(schema.TENSOR_TYPE, "b"), self.shape(number)
        if kind not in _NUMPY_TYPES or tensor.field(schema.TENSOR_SPARSITY) is not None:
            raise UnsupportedError(
                f"tensor {number} ({self.name(number)}) is a constant of {schema.type_name(kind)}", hint=HINT_INT8
            )
        dtype = np.dtype(_NUMPY_TYPES[kind])
        if len(data) != prod(shape) * dtype.itemsize:
            raise InputError(f"tensor {number} ({self.name(number)}): {len(data)} bytes for the shape {shape}")
        return array_of(data.view(dtype).reshape(shape), dtype.newbyteorder("="))

    def _buffer(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self.buffers):
            raise InputError(f"the file is damaged: buffer {number} of {len(self.buffers)}")
        table = self.buffers[number]
        if table.number(schema.BUFFER_OFFSET, "Q") > 1:
            raise UnsupportedError(
                "the model keeps its weights behind the flatbuffer, as only those above 2 GB do", hint="make it smaller"
            )
        return table.numbers(schema.BUFFER_DATA, "<u1")


def _printable(name: str) -> str:
    return "".join(x if x.isprintable() else "?" for x in name[:60])


def finite(value: float, what: str) -> float:
    """A float that is a number.

    Raises:
        InputError: for NaN and infinities.
    """
    if not isfinite(value):
        raise InputError(f"{what} is {value}")
    return value
