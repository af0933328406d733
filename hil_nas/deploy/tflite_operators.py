"""The operators of a .tflite, one reader each; every shape is computed again and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from hil_nas.deploy import schema, tflite_functions, tflite_layers, tflite_shapes
from hil_nas.deploy.graph import QuantOperator
from hil_nas.deploy.model_file import ModelFile
from hil_nas.deploy.refusals import remedy
from hil_nas.deploy.tflite_node import Node, node_of
from hil_nas.errors import UnsupportedError

_READERS: dict[int, Callable[[Node], QuantOperator]] = {
    schema.CONV_2D: tflite_layers.read_conv,
    schema.DEPTHWISE_CONV_2D: tflite_layers.read_depthwise,
    schema.FULLY_CONNECTED: tflite_layers.read_fully_connected,
    schema.AVERAGE_POOL_2D: tflite_layers.read_pool,
    schema.MAX_POOL_2D: tflite_layers.read_pool,
    schema.MEAN: tflite_shapes.read_reduction,
    schema.SUM: tflite_shapes.read_reduction,
    schema.REDUCE_MAX: tflite_shapes.read_reduction,
    schema.ADD: tflite_functions.read_pair,
    schema.SUB: tflite_functions.read_pair,
    schema.MUL: tflite_functions.read_pair,
    schema.CONCATENATION: tflite_shapes.read_concatenation,
    schema.RESHAPE: tflite_shapes.read_reshape,
    schema.EXPAND_DIMS: tflite_shapes.read_reshape,
    schema.SQUEEZE: tflite_shapes.read_reshape,
    schema.TRANSPOSE: tflite_shapes.read_transpose,
    schema.STRIDED_SLICE: tflite_shapes.read_strided_slice,
    schema.PAD: tflite_shapes.read_pad,
    schema.PADV2: tflite_shapes.read_pad,
    schema.SOFTMAX: tflite_functions.read_softmax,
    schema.LOGISTIC: tflite_functions.read_curve,
    schema.TANH: tflite_functions.read_curve,
    schema.RELU: tflite_functions.read_function,
    schema.RELU6: tflite_functions.read_function,
    schema.LEAKY_RELU: tflite_functions.read_function,
    schema.HARD_SWISH: tflite_functions.read_function,
    schema.QUANTIZE: tflite_functions.read_function,
}


def check_known(model: ModelFile, indices: Iterable[int]) -> None:
    """Refuses operators without a reader, before a shape between them is found strange.

    Raises:
        UnsupportedError: naming the first of them.
    """
    for index in indices:
        code = model.code(model.operators[index])
        if code not in _READERS:
            names = ", ".join(schema.operator_name(x) for x in _READERS)
            name = f"operator {index} ({schema.operator_name(code)})"
            raise UnsupportedError(f"{name} is not supported", hint=remedy(code) or f"supported are {names}")


def read_operator(model: ModelFile, index: int) -> QuantOperator:
    """One operator of the file, of those that `check_known` lets pass.

    Raises:
        InputError: where it does not fit together.
        UnsupportedError: where it is not lowered.
    """
    node = node_of(model, index)
    return replace(_READERS[node.code](node), label=node.name)
