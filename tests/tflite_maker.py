"""Models for tests, operator by operator, written by TensorFlow Lite Micro's own schema, not by this project's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

_TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}


class Maker:
    """A model with one subgraph, from tensors and operators in their order.

    Args:
        beside: the maker of the model's first subgraph, for a further one.
    """

    def __init__(self, beside: Maker | None = None) -> None:
        if beside is not None:
            self.model = beside.model
            self.model.subgraphs.append(schema.SubGraphT())
            self.graph = self.model.subgraphs[-1]
            self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
            return
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes, self.model.subgraphs = [], [schema.SubGraphT()]
        self.model.buffers = [schema.BufferT()]  # what is computed has the empty one
        self.graph = self.model.subgraphs[0]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self, shape: Sequence[int], scale: float | None = None, zero_point: int = 0, dtype: Any = np.int8
    ) -> int:
        """The number of a tensor that is computed."""
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), _TYPES[np.dtype(dtype)], 0
        tensor.name = f"tensor_{len(self.graph.tensors)}"
        tensor.quantization = schema.QuantizationParametersT()
        if scale is not None:
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def variable(self, name: str) -> int:
        """The number of a tensor that stands for a variable."""
        number = self.tensor((), dtype=np.int8)
        self.graph.tensors[number].type = schema.TensorType.RESOURCE
        self.operator("VAR_HANDLE", [], number, "VarHandleOptions", sharedName=name, container="")
        return number

    def constant(self, values: Any, scale: float | None = None, zero_point: int = 0, dtype: Any = np.int32) -> int:
        """The number of a tensor with values of its own."""
        array = np.asarray(values, dtype)
        number = self.tensor(array.shape, scale, zero_point, dtype)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[number].buffer = len(self.model.buffers) - 1
        return number

    def operator(
        self, name: str, inputs: Sequence[int], outputs: int | Sequence[int], options: str | None = None, **fields: Any
    ) -> None:
        """Appends an operator; `fields` are those of its table of options, as TFLM's Python schema calls them."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [outputs] if isinstance(outputs, int) else list(outputs)
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for field, value in fields.items():
                assert hasattr(operator.builtinOptions, field)
                setattr(operator.builtinOptions, field, value)
        self.graph.operators.append(operator)

    def finish(self, inputs: int | Sequence[int], outputs: int | Sequence[int]) -> bytes:
        """The file."""
        self.graph.inputs = [inputs] if isinstance(inputs, int) else list(inputs)
        self.graph.outputs = [outputs] if isinstance(outputs, int) else list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
