"""The arena of TensorFlow Lite Micro's interpreter for a network, without running it.

Its head is planned: activations and scratch, the largest first, each at the lowest place that is free while it lives
(`greedy_memory_planner.cc`). Its tail grows downwards and stays: the interpreter's own objects, a structure for each
tensor and node, and what kernels keep (`micro_allocator.cc`, `micro_interpreter.cc`, `kernels/cmsis_nn/`). Sizes are
those of a 32-bit Arm at the sources of August 2026; on a board that runs this engine a test compares them with what
the interpreter says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from hil_nas.cost.arena import Buffer, largest_first
from hil_nas.errors import UnsupportedError
from hil_nas.kernels import call_of, cmsis_nn
from hil_nas.network import INPUT, Layer, Network, Operator
from hil_nas.operators.table import layer_rules

_WORD = 4
_KERNEL = 16  # alignment of what kernels ask for
_INTERPRETER = ((36, _WORD), (44, _WORD), (36, _WORD), (8, _WORD), (8, _WORD))  # arena, planner, allocator, data, graph
_TENSOR_BYTES, _NODE_BYTES, _HANDLE_BYTES = 12, 32, 4
_END = ((4, _KERNEL), (32, _WORD), (12, _WORD), (8, _WORD))  # of input and output: list, tensor, scale, zero point


@dataclass(frozen=True)
class TflmArena:
    """Bytes that `arena_used_bytes()` of the interpreter says, in two parts."""

    planned_bytes: int
    persistent_bytes: int

    @property
    def arena_bytes(self) -> int:
        return self.planned_bytes + self.persistent_bytes


def tflm_arena(network: Network, converted: bool = True) -> TflmArena:
    """What TensorFlow Lite Micro needs for a network as an int8 .tflite.

    Args:
        converted: by TensorFlow's converter, which flattens before each dense layer by a reshape of its own; otherwise
            every layer is one node and every tensor has four dimensions, as in a file written without TensorFlow.

    Raises:
        UnsupportedError: for a layer that is several operators there, as a delay line is.
    """
    if converted:
        network = _with_flattens(network)
    operators = list(network.operators())
    scratch = [_scratch_bytes(x, flat=converted) for x in operators]
    buffers = list(_buffers(network, operators, scratch))
    kept = list(_INTERPRETER)
    kept += [(_TENSOR_BYTES * _tensors(operators, converted), _WORD), (_NODE_BYTES * len(operators), _WORD)]
    rules = [layer_rules(x.layer.kind) for x in operators]
    for operator, own in zip(operators, rules, strict=True):
        if own.options is None:
            raise UnsupportedError(f"the arena of a {operator.layer.kind} is not known of TensorFlow Lite Micro")
        kept.append(own.options)
    kept += [(x.kept_bytes, _KERNEL) for x in rules if x.kept_bytes]
    convolutions = [x for x, own in zip(operators, rules, strict=True) if own.per_channel]
    kept += [(_WORD * x.output[2], _KERNEL) for x in convolutions for _ in ("multipliers", "shifts")]
    kept += [(_HANDLE_BYTES * (len(buffers) - len(operators) - 1), _WORD)]
    return TflmArena(largest_first(buffers).peak_bytes, _downwards([*kept, *_END, *_END]))


def _with_flattens(network: Network) -> Network:
    """The network with a reshape before every dense layer."""
    renumbered, layers = {INPUT: INPUT}, []
    shapes = (network.input_shape, *network.shapes)
    for index, layer in enumerate(network.layers):
        inputs = tuple(renumbered[i] for i in layer.inputs)
        if layer.kind == "fully_connected":
            layers.append(Layer("reshape", inputs, shape=(1, 1, prod(shapes[layer.inputs[0] + 1]))))
            inputs = (len(layers) - 1,)
        renumbered[index] = len(layers)
        layers.append(replace(layer, inputs=inputs))
    return Network(network.input_shape, tuple(layers))


def _scratch_bytes(operator: Operator, flat: bool) -> int:
    """As CMSIS-NN of these sources asks, which rounds a column up and needs none for most 3x3 depthwise kernels."""
    layer = operator.layer
    if layer.kind == "fully_connected":
        # through a 1x1 convolution, which wants a multiplier and a shift for each output
        return 0 if flat or prod(operator.inputs[0]) % 4 else 2 * _WORD * operator.output[2]
    if layer.kind == "depthwise" and layer.kernel == (3, 3) and max(call_of(operator).padding) <= 1:
        return 0
    kernel = cmsis_nn.KERNELS.kernels.get(layer.kind)
    size_bytes = kernel.scratch_bytes(call_of(operator)) if kernel else 0
    return -(-size_bytes // 16) * 16 if layer.kind == "conv" else size_bytes  # 2 columns of 2 bytes, by fours


def _downwards(kept: list[tuple[int, int]]) -> int:
    """Bytes from the arena's aligned end to the last of what is laid before it, (size, alignment) each."""
    end = 0
    for size_bytes, alignment in kept:
        end = -((-(end + size_bytes)) // alignment) * alignment
    return end


def _buffers(network: Network, operators: list[Operator], scratch: list[int]) -> Iterator[Buffer]:
    """The input, every output, then every scratch; a step later for each operator than in our own plan."""
    last = {-1: 0}
    for index, operator in enumerate(operators):
        last[index] = index + 1
        for source in operator.layer.inputs:
            last[source] = index + 1
    last[len(operators) - 1] = len(operators)  # the network's output
    yield Buffer(prod(network.input_shape), 0, last[-1])
    for index, operator in enumerate(operators):
        yield Buffer(prod(operator.output), index + 1, last[index])
    for index, size_bytes in enumerate(scratch):
        if size_bytes:
            yield Buffer(size_bytes, index + 1, index + 1)


def _tensors(operators: list[Operator], shape_tensors: bool) -> int:
    weighted = sum(layer_rules(x.layer.kind).weights is not None for x in operators)
    shapes = shape_tensors * sum(x.layer.kind == "reshape" for x in operators)
    return 1 + len(operators) + 2 * weighted + shapes
