"""A graph as a .tflite: what a board that runs TensorFlow Lite Micro takes, made without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy.graph import QuantGraph
from hil_nas.errors import UnsupportedError
from hil_nas.operators.delay import DELAY, time_axis
from hil_nas.operators.description import Given
from hil_nas.operators.int8 import Constant, QuantOperator, Weights
from hil_nas.operators.moving import CONCATENATION, RESHAPE, STRIDED_SLICE
from hil_nas.operators.table import BY_NAME
from hil_nas.tflite import schema
from hil_nas.tflite.writing import Field, TableWriter

_ALIGNMENT = 16  # of constants, as the schema asks
Options = tuple[int, list[Field]]  # an operator's: the member of the schema's union, 0 for none; and its fields


def write_tflite(graph: QuantGraph) -> bytes:
    """An int8 .tflite that `read_tflite` reads as this graph again.

    Of a network that takes one step of a stream it is a model with variables, whose first values a second subgraph
    assigns; interpreters run it step by step.

    Raises:
        UnsupportedError: for operators that are only read.
    """
    return _Writer(graph).write()


@dataclass
class _Writer:
    """Tables as they are appended.

    Attributes:
        tensors: of the subgraph that is being written.
        codes: of operators, in the order of their numbers.
        states: (variable, its tensor's number in the graph, its shape) of each delay line.
    """

    graph: QuantGraph
    file: TableWriter = field(default_factory=TableWriter)
    tensors: list[int] = field(default_factory=list)
    buffers: list[int] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    states: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)

    def write(self) -> bytes:
        file = self.file
        self.buffers.append(file.table([]))  # what is computed has the empty one
        for tensor in self.graph.tensors:
            self._tensor(tensor.shape, schema.INT8, 0, [tensor.scale], [tensor.zero_point])
        operators = [y for x in self.graph.operators for y in self._operators(x)]
        if self.states:
            once: Options = schema.CALL_ONCE_OPTIONS, [(schema.CALL_ONCE_SUBGRAPH, "Int32", 1)]
            operators.insert(0, self._table("CALL_ONCE", [], [], once))
        subgraphs = [self._subgraph(operators, [self.graph.input], [self.graph.output])]
        if self.states:
            subgraphs.append(self._beginning())
        codes = [self._code(schema.OPERATOR_NAMES.index(x)) for x in self.codes]
        root = file.table([
            (schema.MODEL_VERSION, "Uint32", schema.VERSION),
            (schema.MODEL_OPERATOR_CODES, "UOffsetTRelative", file.references(codes)),
            (schema.MODEL_SUBGRAPHS, "UOffsetTRelative", file.references(subgraphs)),
            (schema.MODEL_BUFFERS, "UOffsetTRelative", file.references(self.buffers)),
        ])  # fmt: skip
        return file.finish(root, schema.IDENTIFIER)

    def _subgraph(self, operators: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> int:
        file = self.file
        ends = [file.numbers(x, np.int32) for x in (inputs, outputs)]
        return file.table([
            (schema.SUBGRAPH_TENSORS, "UOffsetTRelative", file.references(self.tensors)),
            (schema.SUBGRAPH_INPUTS, "UOffsetTRelative", ends[0]),
            (schema.SUBGRAPH_OUTPUTS, "UOffsetTRelative", ends[1]),
            (schema.SUBGRAPH_OPERATORS, "UOffsetTRelative", file.references(operators)),
        ])  # fmt: skip

    def _operators(self, x: QuantOperator) -> list[int]:
        """The operators of the file that one of the graph is."""
        kind = BY_NAME[x.kind]
        if kind is DELAY:
            return self._delay(x)
        if kind.write is None:
            raise UnsupportedError(f"a {x.kind} is not written to a .tflite")
        tensors = self.graph.tensors
        ends = tensors[x.inputs[0]], tensors[x.output]
        inputs = [*x.inputs, *(self._constants(x, x.weights) if x.weights else [])]
        for place, values in sorted(kind.given(x, *ends).items()):
            inputs.insert(place, self._given(values))
        options: Options = kind.options, kind.write(x, *ends)
        if kind is RESHAPE:  # TensorFlow's interpreter asks for the shape here as well
            shape = self.file.numbers(tensors[x.output].shape, np.int32)
            options = schema.RESHAPE_OPTIONS, [(schema.RESHAPE_SHAPE, "UOffsetTRelative", shape)]
        return [self._table(kind.codes[0], inputs, [x.output], options)]

    def _delay(self, x: QuantOperator) -> list[int]:
        """What is kept is read, joined with what is new, and its last rows are assigned again."""
        source, target = self.graph.tensors[x.inputs[0]], self.graph.tensors[x.output]
        axis = time_axis(source.shape, target.shape)
        assert axis is not None
        rows = target.shape[axis] - source.shape[axis]
        shape = (*target.shape[:axis], rows, *target.shape[axis + 1 :])
        name = f"delay_{len(self.states)}"
        self.states.append((name, x.output, shape))
        handle, read = self._handle(name)
        kept, last = (self._tensor(shape, schema.INT8, 0, [target.scale], [target.zero_point]) for _ in range(2))
        begin = [-rows if i == axis else 0 for i in range(len(shape))]
        bounds = [self._given(np.array(x, np.int32)) for x in (begin, target.shape, [1] * len(shape))]
        slices: list[Field] = [(i, "Int32", 0) for i in range(5)]
        return [
            read,
            self._table("READ_VARIABLE", [handle], [kept], (schema.READ_VARIABLE_OPTIONS, [])),
            self._table("CONCATENATION", [kept, *x.inputs], [x.output], (CONCATENATION.options, [(0, "Int32", axis)])),
            self._table("STRIDED_SLICE", [x.output, *bounds], [last], (STRIDED_SLICE.options, slices)),
            self._table("ASSIGN_VARIABLE", [handle, last], [], (schema.ASSIGN_VARIABLE_OPTIONS, [])),
        ]

    def _beginning(self) -> int:
        """The subgraph that gives every variable its first values, all of them the zero point."""
        self.tensors.clear()
        operators = []
        for name, number, shape in self.states:
            tensor = self.graph.tensors[number]
            handle, named = self._handle(name)
            values = self._data(np.full(shape, tensor.zero_point, np.int8))
            first = self._tensor(shape, schema.INT8, values, [tensor.scale], [tensor.zero_point])
            assign = self._table("ASSIGN_VARIABLE", [handle, first], [], (schema.ASSIGN_VARIABLE_OPTIONS, []))
            operators += [named, assign]
        return self._subgraph(operators, [], [])

    def _handle(self, name: str) -> tuple[int, int]:
        """(the tensor that stands for a variable, the operator that gives it)"""
        self.tensors.append(self.file.table([(schema.TENSOR_TYPE, "Int8", schema.RESOURCE)]))
        number = len(self.tensors) - 1
        texts = ((schema.VAR_HANDLE_CONTAINER, ""), (schema.VAR_HANDLE_NAME, name))
        fields: list[Field] = [(i, "UOffsetTRelative", self.file.text(x)) for i, x in texts]
        return number, self._table("VAR_HANDLE", [], [number], (schema.VAR_HANDLE_OPTIONS, fields))

    def _table(self, code: str, inputs: Sequence[int], outputs: Sequence[int], options: Options) -> int:
        """An operator of the file."""
        if code not in self.codes:
            self.codes.append(code)
        member, values = options
        table = self.file.table(values) if member else None
        fields: list[Field] = [
            (schema.OPERATOR_CODE, "Uint32", self.codes.index(code)),
            (schema.OPERATOR_INPUTS, "UOffsetTRelative", self.file.numbers(inputs, np.int32)),
            (schema.OPERATOR_OUTPUTS, "UOffsetTRelative", self.file.numbers(outputs, np.int32)),
        ]
        if table is not None:
            fields.append((schema.OPERATOR_OPTIONS_TYPE, "Uint8", member))
            fields.append((schema.OPERATOR_OPTIONS, "UOffsetTRelative", table))
        return self.file.table(fields)

    def _given(self, values: Given) -> int:
        """The number of a constant tensor."""
        if isinstance(values, Constant):
            shape = (1, *values.values.shape)
            return self._tensor(shape, schema.INT8, self._data(values.values), [values.scale], [values.zero_point])
        return self._tensor(values.shape, schema.INT32, self._data(values), [], [])

    def _constants(self, x: QuantOperator, weights: Weights) -> list[int]:
        """The tensors of weights and bias; a bias's scale is the product of input's and weights'."""
        depthwise = weights.values.ndim == 3
        values = weights.values[np.newaxis] if depthwise else weights.values  # (1, height, width, out)
        zeros = [0] * len(weights.scales)
        scales = self.graph.tensors[x.inputs[0]].scale * weights.scales.astype(np.float64)
        return [
            self._tensor(values.shape, schema.INT8, self._data(values), weights.scales, zeros, 3 if depthwise else 0),
            self._tensor(weights.bias.shape, schema.INT32, self._data(weights.bias), scales, zeros),
        ]

    def _tensor(
        self, shape: Sequence[int], kind: int, buffer: int, scales: Any, zero_points: Sequence[int], dimension: int = 0
    ) -> int:
        """The number of a new tensor."""
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
        return len(self.tensors) - 1

    def _data(self, values: NDArray[Any]) -> int:
        """The number of a new buffer with these values."""
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
        data = self.file.data(raw, _ALIGNMENT)
        self.buffers.append(self.file.table([(schema.BUFFER_DATA, "UOffsetTRelative", data)]))
        return len(self.buffers) - 1

    def _code(self, code: int) -> int:
        small = min(code, schema.PLACEHOLDER_CODE)
        return self.file.table([(schema.CODE_DEPRECATED, "Int8", small), (schema.CODE_BUILTIN, "Int32", code)])
