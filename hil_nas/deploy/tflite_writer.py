"""A graph as a .tflite: what a board that runs TensorFlow Lite Micro takes, made without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy import schema
from hil_nas.deploy.graph import GraphKind, QuantGraph, QuantOperator, QuantTensor, Weights
from hil_nas.errors import UnsupportedError
from hil_nas.network import INPUT, Layer, output_shape

_ALIGNMENT = 16  # of constants, as the schema asks
_CODES: dict[GraphKind, int] = {
    "conv": schema.CONV_2D,
    "depthwise": schema.DEPTHWISE_CONV_2D,
    "fully_connected": schema.FULLY_CONNECTED,
    "average_pool": schema.AVERAGE_POOL_2D,
    "max_pool": schema.MAX_POOL_2D,
    "add": schema.ADD,
    "concatenation": schema.CONCATENATION,
    "softmax": schema.SOFTMAX,
    "reshape": schema.RESHAPE,
    "requantize": schema.QUANTIZE,
}
_ACTIVATIONS = {name: code for code, name in schema.ACTIVATIONS.items()}
_PADDINGS = {name: code for code, name in schema.PADDINGS.items()}
Field = tuple[int, str, Any]  # number in the schema, the builder's word for its type, value


def write_tflite(graph: QuantGraph) -> bytes:
    """An int8 .tflite that `read_tflite` reads as this graph again.

    Raises:
        UnsupportedError: for a pad.
    """
    return _Writer(graph).write()


@dataclass
class _Writer:
    """Tables as they are appended; a table comes behind those that it refers to."""

    graph: QuantGraph
    builder: Any = field(default_factory=lambda: flatbuffers.Builder(1 << 16))
    tensors: list[int] = field(default_factory=list)
    buffers: list[int] = field(default_factory=list)

    def write(self) -> bytes:
        self.buffers.append(self._table([]))  # what is computed has the empty one
        for tensor in self.graph.tensors:
            self._tensor(tensor.shape, schema.INT8, 0, [tensor.scale], [tensor.zero_point])
        kinds = sorted({x.kind for x in self.graph.operators})
        operators = [self._operator(x, kinds) for x in self.graph.operators]
        ends = [self._numbers([x], np.int32) for x in (self.graph.input, self.graph.output)]
        subgraph = self._table([
            (schema.SUBGRAPH_TENSORS, "UOffsetTRelative", self._offsets(self.tensors)),
            (schema.SUBGRAPH_INPUTS, "UOffsetTRelative", ends[0]),
            (schema.SUBGRAPH_OUTPUTS, "UOffsetTRelative", ends[1]),
            (schema.SUBGRAPH_OPERATORS, "UOffsetTRelative", self._offsets(operators)),
        ])  # fmt: skip
        codes = [self._code(_CODES[x]) for x in kinds]
        root = self._table([
            (schema.MODEL_VERSION, "Uint32", schema.VERSION),
            (schema.MODEL_OPERATOR_CODES, "UOffsetTRelative", self._offsets(codes)),
            (schema.MODEL_SUBGRAPHS, "UOffsetTRelative", self._offsets([subgraph])),
            (schema.MODEL_BUFFERS, "UOffsetTRelative", self._offsets(self.buffers)),
        ])  # fmt: skip
        self.builder.Finish(root, file_identifier=schema.IDENTIFIER)
        return bytes(self.builder.Output())

    def _operator(self, x: QuantOperator, kinds: Sequence[GraphKind]) -> int:
        if x.kind not in _CODES:
            raise UnsupportedError(f"a {x.kind} is not written to a .tflite")
        constants = self._constants(x, x.weights) if x.weights else []
        options = self._table(_OPTIONS[x.kind](self.graph, x)) if x.kind in _OPTIONS else None
        fields: list[Field] = [
            (schema.OPERATOR_CODE, "Uint32", kinds.index(x.kind)),
            (schema.OPERATOR_INPUTS, "UOffsetTRelative", self._numbers([*x.inputs, *constants], np.int32)),
            (schema.OPERATOR_OUTPUTS, "UOffsetTRelative", self._numbers([x.output], np.int32)),
        ]
        if options is not None:
            fields.append((schema.OPERATOR_OPTIONS_TYPE, "Uint8", schema.OPTIONS[_CODES[x.kind]]))
            fields.append((schema.OPERATOR_OPTIONS, "UOffsetTRelative", options))
        return self._table(fields)

    def _constants(self, x: QuantOperator, weights: Weights) -> list[int]:
        """The tensors of weights and bias; a bias's scale is the product of input's and weights'."""
        depthwise = x.kind == "depthwise"
        values = weights.values[np.newaxis] if depthwise else weights.values  # (1, height, width, out)
        zeros = [0] * len(weights.scales)
        self._tensor(values.shape, schema.INT8, self._data(values), weights.scales, zeros, 3 if depthwise else 0)
        scales = self.graph.tensors[x.inputs[0]].scale * weights.scales.astype(np.float64)
        self._tensor(weights.bias.shape, schema.INT32, self._data(weights.bias), scales, zeros)
        return [len(self.tensors) - 2, len(self.tensors) - 1]

    def _tensor(
        self, shape: Sequence[int], kind: int, buffer: int, scales: Any, zero_points: Sequence[int], dimension: int = 0
    ) -> None:
        quantization = self._table([
            (schema.QUANTIZATION_SCALE, "UOffsetTRelative", self._numbers(scales, np.float32)),
            (schema.QUANTIZATION_ZERO_POINT, "UOffsetTRelative", self._numbers(zero_points, np.int64)),
            (schema.QUANTIZATION_DIMENSION, "Int32", dimension),
        ])  # fmt: skip
        self.tensors.append(self._table([
            (schema.TENSOR_SHAPE, "UOffsetTRelative", self._numbers(shape, np.int32)),
            (schema.TENSOR_TYPE, "Int8", kind),
            (schema.TENSOR_BUFFER, "Uint32", buffer),
            (schema.TENSOR_QUANTIZATION, "UOffsetTRelative", quantization),
        ]))  # fmt: skip

    def _data(self, values: NDArray[Any]) -> int:
        """The number of a new buffer with these values."""
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
        self.builder.StartVector(1, len(raw), _ALIGNMENT)
        self.builder.head -= len(raw)
        self.builder.Bytes[self.builder.head : self.builder.head + len(raw)] = raw
        data = self.builder.EndVector()
        self.buffers.append(self._table([(schema.BUFFER_DATA, "UOffsetTRelative", data)]))
        return len(self.buffers) - 1

    def _code(self, code: int) -> int:
        return self._table([(schema.CODE_DEPRECATED, "Int8", code), (schema.CODE_BUILTIN, "Int32", code)])

    def _table(self, fields: Sequence[Field]) -> int:
        self.builder.StartObject(1 + max((number for number, _, _ in fields), default=0))
        for number, kind, value in fields:
            getattr(self.builder, f"Prepend{kind}Slot")(number, value, 0)
        return int(self.builder.EndObject())

    def _numbers(self, values: Any, dtype: Any) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(values, dtype)))

    def _offsets(self, tables: Sequence[int]) -> int:
        self.builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.builder.PrependUOffsetTRelative(table)
        return int(self.builder.EndVector())


def _padding(graph: QuantGraph, x: QuantOperator) -> int:
    """VALID where that gives the output's extents: then nothing is padded."""
    source, target = graph.tensors[x.inputs[0]].map, graph.tensors[x.output].map
    layer = Layer("conv", (INPUT,), 1, x.kernel, x.stride, x.dilation, "valid")
    fits = all((x.kernel[i] - 1) * x.dilation[i] < source[i] for i in (0, 1))
    return _PADDINGS["valid" if fits and output_shape(layer, (source,))[:2] == target[:2] else "same"]


def _window(graph: QuantGraph, x: QuantOperator) -> list[Field]:
    return [(0, "Int8", _padding(graph, x)), (1, "Int32", x.stride[1]), (2, "Int32", x.stride[0])]


def _conv(graph: QuantGraph, x: QuantOperator) -> list[Field]:
    return [*_window(graph, x), (3, "Int8", _ACTIVATIONS[x.activation]), *_dilation(4, x)]


def _depthwise(graph: QuantGraph, x: QuantOperator) -> list[Field]:
    multiplier = _channels(graph.tensors[x.output]) // _channels(graph.tensors[x.inputs[0]])
    fields: list[Field] = [(3, "Int32", multiplier), (4, "Int8", _ACTIVATIONS[x.activation])]
    return [*_window(graph, x), *fields, *_dilation(5, x)]


def _dilation(first: int, x: QuantOperator) -> list[Field]:
    return [(first, "Int32", x.dilation[1]), (first + 1, "Int32", x.dilation[0])]


def _pool(graph: QuantGraph, x: QuantOperator) -> list[Field]:
    kernel: list[Field] = [(3, "Int32", x.kernel[1]), (4, "Int32", x.kernel[0])]
    return [*_window(graph, x), *kernel, (5, "Int8", _ACTIVATIONS[x.activation])]


def _activated(_: QuantGraph, x: QuantOperator) -> list[Field]:
    return [(0, "Int8", _ACTIVATIONS[x.activation])]


def _channels(tensor: QuantTensor) -> int:
    return tensor.map[2]


_OPTIONS: dict[GraphKind, Callable[[QuantGraph, QuantOperator], list[Field]]] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "average_pool": _pool,
    "max_pool": _pool,
    "fully_connected": _activated,
    "add": _activated,
    "concatenation": lambda _, x: [(0, "Int32", x.axis)],
    "softmax": lambda _, x: [(0, "Float32", x.beta)],
}
