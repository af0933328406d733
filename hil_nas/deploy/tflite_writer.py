"""A graph as a .tflite: what a board that runs TensorFlow Lite Micro takes, made without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy.graph import QuantGraph
from hil_nas.errors import UnsupportedError
from hil_nas.operators.int8 import QuantOperator, Weights
from hil_nas.operators.table import BY_NAME
from hil_nas.tflite import schema
from hil_nas.tflite.writing import Field, TableWriter

_ALIGNMENT = 16  # of constants, as the schema asks


def write_tflite(graph: QuantGraph) -> bytes:
    """An int8 .tflite that `read_tflite` reads as this graph again.

    Raises:
        UnsupportedError: for operators that are only read.
    """
    return _Writer(graph).write()


@dataclass
class _Writer:
    """Tables as they are appended."""

    graph: QuantGraph
    file: TableWriter = field(default_factory=TableWriter)
    tensors: list[int] = field(default_factory=list)
    buffers: list[int] = field(default_factory=list)

    def write(self) -> bytes:
        file = self.file
        self.buffers.append(file.table([]))  # what is computed has the empty one
        for tensor in self.graph.tensors:
            self._tensor(tensor.shape, schema.INT8, 0, [tensor.scale], [tensor.zero_point])
        kinds = sorted({x.kind for x in self.graph.operators})
        operators = [self._operator(x, kinds) for x in self.graph.operators]
        ends = [file.numbers([x], np.int32) for x in (self.graph.input, self.graph.output)]
        subgraph = file.table([
            (schema.SUBGRAPH_TENSORS, "UOffsetTRelative", file.references(self.tensors)),
            (schema.SUBGRAPH_INPUTS, "UOffsetTRelative", ends[0]),
            (schema.SUBGRAPH_OUTPUTS, "UOffsetTRelative", ends[1]),
            (schema.SUBGRAPH_OPERATORS, "UOffsetTRelative", file.references(operators)),
        ])  # fmt: skip
        codes = [self._code(schema.OPERATOR_NAMES.index(BY_NAME[x].codes[0])) for x in kinds]
        root = file.table([
            (schema.MODEL_VERSION, "Uint32", schema.VERSION),
            (schema.MODEL_OPERATOR_CODES, "UOffsetTRelative", file.references(codes)),
            (schema.MODEL_SUBGRAPHS, "UOffsetTRelative", file.references([subgraph])),
            (schema.MODEL_BUFFERS, "UOffsetTRelative", file.references(self.buffers)),
        ])  # fmt: skip
        return file.finish(root, schema.IDENTIFIER)

    def _operator(self, x: QuantOperator, kinds: Sequence[str]) -> int:
        kind = BY_NAME[x.kind]
        if kind.write is None:
            raise UnsupportedError(f"a {x.kind} is not written to a .tflite")
        constants = self._constants(x, x.weights) if x.weights else []
        tensors = self.graph.tensors
        options = self.file.table(kind.write(x, tensors[x.inputs[0]], tensors[x.output])) if kind.options else None
        fields: list[Field] = [
            (schema.OPERATOR_CODE, "Uint32", kinds.index(x.kind)),
            (schema.OPERATOR_INPUTS, "UOffsetTRelative", self.file.numbers([*x.inputs, *constants], np.int32)),
            (schema.OPERATOR_OUTPUTS, "UOffsetTRelative", self.file.numbers([x.output], np.int32)),
        ]
        if options is not None:
            fields.append((schema.OPERATOR_OPTIONS_TYPE, "Uint8", kind.options))
            fields.append((schema.OPERATOR_OPTIONS, "UOffsetTRelative", options))
        return self.file.table(fields)

    def _constants(self, x: QuantOperator, weights: Weights) -> list[int]:
        """The tensors of weights and bias; a bias's scale is the product of input's and weights'."""
        depthwise = weights.values.ndim == 3
        values = weights.values[np.newaxis] if depthwise else weights.values  # (1, height, width, out)
        zeros = [0] * len(weights.scales)
        self._tensor(values.shape, schema.INT8, self._data(values), weights.scales, zeros, 3 if depthwise else 0)
        scales = self.graph.tensors[x.inputs[0]].scale * weights.scales.astype(np.float64)
        self._tensor(weights.bias.shape, schema.INT32, self._data(weights.bias), scales, zeros)
        return [len(self.tensors) - 2, len(self.tensors) - 1]

    def _tensor(
        self, shape: Sequence[int], kind: int, buffer: int, scales: Any, zero_points: Sequence[int], dimension: int = 0
    ) -> None:
        file = self.file
        quantization = file.table([
            (schema.QUANTIZATION_SCALE, "UOffsetTRelative", file.numbers(scales, np.float32)),
            (schema.QUANTIZATION_ZERO_POINT, "UOffsetTRelative", file.numbers(zero_points, np.int64)),
            (schema.QUANTIZATION_DIMENSION, "Int32", dimension),
        ])  # fmt: skip
        self.tensors.append(file.table([
            (schema.TENSOR_SHAPE, "UOffsetTRelative", file.numbers(shape, np.int32)),
            (schema.TENSOR_TYPE, "Int8", kind),
            (schema.TENSOR_BUFFER, "Uint32", buffer),
            (schema.TENSOR_QUANTIZATION, "UOffsetTRelative", quantization),
        ]))  # fmt: skip

    def _data(self, values: NDArray[Any]) -> int:
        """The number of a new buffer with these values."""
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
        data = self.file.data(raw, _ALIGNMENT)
        self.buffers.append(self.file.table([(schema.BUFFER_DATA, "UOffsetTRelative", data)]))
        return len(self.buffers) - 1

    def _code(self, code: int) -> int:
        return self.file.table([(schema.CODE_DEPRECATED, "Int8", code), (schema.CODE_BUILTIN, "Int32", code)])
