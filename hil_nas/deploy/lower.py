"""An int8 graph as a plan: requantisation, memory, constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.cost.arena import ArenaPlan, Step, plan_steps
from hil_nas.cost.blob import HEADER_BYTES, OPERATOR_BYTES, constant_room
from hil_nas.cost.scratch import scratch_bytes
from hil_nas.deploy import requantize
from hil_nas.deploy.graph import Constant, QuantGraph, QuantOperator, QuantTensor, Weights
from hil_nas.deploy.lookup import LOOKUPS, lookup_table
from hil_nas.deploy.plan import MAX_OPERATORS, Plan, PlanOperator
from hil_nas.deploy.requantize import Multiplier
from hil_nas.errors import UnsupportedError
from hil_nas.network import Shape

_LARGEST_EXTENT = 0xFFFF  # the plan's fields are 16 bits wide
_LARGEST_MAP = 0x7FFF  # CMSIS-NN computes positions in int16_t
_LARGEST_COLUMN = 0xFFFF  # and lengths of im2col columns in uint16_t
_MOST_CLASSES = 511  # with more the reference softmax would shift by more than 31
_MOST_SHIFT = {"add": 0, "sub": 0, "mul": 14, "mean": 6}  # to the left, of the output (boards/include/kernels.h)
_WINDOWED = ("conv", "depthwise", "average_pool", "max_pool")


def lower(graph: QuantGraph) -> Plan:
    """The plan of a graph; its operators keep the graph's order, reshapes left out.

    The input's memory is reused once its last reader has run: give the input anew before each inference.

    Raises:
        UnsupportedError: for extents beyond the engine's, more than 256 operators or none at all.
    """
    operators = [_as_kernel(graph, x) for x in executed(graph)]
    if not 1 <= len(operators) <= MAX_OPERATORS:
        raise UnsupportedError(
            f"a plan has 1 to {MAX_OPERATORS} operators, the model has {len(operators)}",
            hint="make the model smaller" if operators else "convert a model with layers",
        )
    names = _shared_names(graph)
    arena = plan_arena(graph, operators, names)
    writer = _Writer(graph, names, arena, _Constants(HEADER_BYTES + OPERATOR_BYTES * len(operators)))
    lowered = tuple(writer.operator(i, x) for i, x in enumerate(operators))
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    return Plan(
        operators=lowered,
        arena_bytes=arena.arena_bytes,
        input_offset=writer.place(graph.input),
        input_bytes=graph.elements(graph.input),
        output_offset=writer.place(graph.output),
        output_bytes=graph.elements(graph.output),
        input_scale=source.scale,
        input_zero_point=source.zero_point,
        output_scale=target.scale,
        output_zero_point=target.zero_point,
        constants=bytes(writer.constants.data),
    )


def executed(graph: QuantGraph) -> list[QuantOperator]:
    """The operators of the graph that a plan runs, in their order: a reshape is a second name for the same bytes."""
    return [x for x in graph.operators if x.kind != "reshape"]


def plan_arena(graph: QuantGraph, operators: Sequence[QuantOperator], names: dict[int, int]) -> ArenaPlan:
    """Places of all tensors and scratch buffers, by the same planner that prices a Network."""
    sizes = {number: graph.elements(number) for number in names}
    steps = [Step(tuple(names[i] for i in x.inputs), names[x.output], _scratch_bytes(graph, x)) for x in operators]
    return plan_steps(sizes, steps, names[graph.input], names[graph.output])


def _shared_names(graph: QuantGraph) -> dict[int, int]:
    """Tensor number -> the number under which its bytes are planned: a reshape's output is its input."""
    names = {graph.input: graph.input}
    for operator in graph.operators:
        is_reshape = operator.kind == "reshape"
        names[operator.output] = names[operator.inputs[0]] if is_reshape else operator.output
    return names


def _scratch_bytes(graph: QuantGraph, x: QuantOperator) -> int:
    source, target = graph.tensors[x.inputs[0]].map, graph.tensors[x.output].map
    return scratch_bytes(x.kind, source, target, x.kernel, x.stride, x.dilation, x.padding)


def _as_kernel(graph: QuantGraph, x: QuantOperator) -> QuantOperator:
    """What has no kernel of its own, as one that computes the same bits.

    The largest of a run of values is a max pool. A fully connected layer with a scale per channel, or over several
    rows, is a 1x1 convolution.
    """
    if x.kind == "reduce_max":
        return replace(x, kind="max_pool", kernel=(1, x.reduced[1]))
    if x.kind != "fully_connected" or x.weights is None:
        return x
    out, depth = x.weights.values.shape
    if len(x.weights.scales) == 1 and graph.elements(x.inputs[0]) == depth:
        return x
    values = x.weights.values.reshape(out, 1, 1, depth)  # OI -> OHWI
    weights = Weights(values, x.weights.scales, x.weights.bias)
    return replace(x, kind="conv", weights=weights)


@dataclass
class _Constants:
    """Constants in the order of the operators, each at a multiple of 32."""

    start: int
    data: bytearray = field(default_factory=bytearray)

    def add(self, values: NDArray[Any], dtype: str) -> int:
        """Where in the blob the values begin."""
        place = self.start + len(self.data)
        raw = np.ascontiguousarray(values).astype(dtype).tobytes()
        self.data += raw + bytes(constant_room(len(raw)) - len(raw))
        return place


@dataclass
class _Writer:
    """Writes operators one by one; only `constants` changes."""

    graph: QuantGraph
    names: dict[int, int]
    arena: ArenaPlan
    constants: _Constants

    def place(self, number: int) -> int:
        """A tensor's offset in the arena."""
        return self.arena.tensors[self.names[number]]

    def operator(self, index: int, x: QuantOperator) -> PlanOperator:
        source, target = self._maps(x)
        _check_limits(x, source, target)
        common = {
            "kind": _PLAN_KINDS.get(x.kind, x.kind),
            "input_count": len(x.inputs),
            "inputs": self._places(x),
            "output": self.place(x.output),
            "scratch": self.arena.scratch[index],
            "scratch_bytes": _scratch_bytes(self.graph, x),
            "in_shape": source,
            "out_shape": target,
            "output_offset": self.tensor(x.output).zero_point,
            "activation": self._activation(x),
        }
        made = PlanOperator(**{**common, **_FIELDS[x.kind](self, x)})
        _check_scales(x, made)
        return made

    def tensor(self, number: int) -> QuantTensor:
        return self.graph.tensors[number]

    def _maps(self, x: QuantOperator) -> tuple[Shape, Shape]:
        """The shapes in and out; a fully connected layer sees its input flattened into rows, a reduction into runs."""
        if any(x.reduced):
            return x.reduced, (x.reduced[0], 1, x.reduced[2])
        source, target = self.tensor(x.inputs[0]).map, self.tensor(x.output).map
        if x.weights is None or x.kind == "depthwise":
            return source, target
        out, depth = len(x.weights.values), x.weights.values.shape[-1]
        if x.kind == "fully_connected":
            return source, (1, 1, out)
        if source[2] != depth:  # once fully connected
            rows = self.graph.elements(x.inputs[0]) // depth
            return (rows, 1, depth), (rows, 1, out)
        return source, target

    def _places(self, x: QuantOperator) -> tuple[int, int]:
        if x.kind == "concatenation":
            return 0, 0
        places = [self.place(i) for i in x.inputs]
        return places[0], places[1] if len(places) > 1 else 0

    def _activation(self, x: QuantOperator) -> tuple[int, int]:
        target = self.tensor(x.output)
        return requantize.activation_range(x.activation, target.scale, target.zero_point)


def _check_limits(x: QuantOperator, source: Shape, target: Shape) -> None:
    """Refuses what the device would not load (boards/src/plan_check.c), in words."""
    most, hint = _LARGEST_MAP if x.kind in _WINDOWED else _LARGEST_EXTENT, "pool, or use a stride, before it"
    column = x.kernel[0] * x.kernel[1] * (source[2] if x.kind == "conv" else 1)
    fault = None
    if max(*source, *target) > most:
        fault = f"maps {source} to {target}: no extent may be above {most}"
        if x.weights is not None and source[:2] == (1, 1) and x.weights.values.size == source[2] * target[2]:
            fault = f"is a dense layer over {source[2]} inputs, at most {most} are run"
    elif x.kind in _WINDOWED and column > _LARGEST_COLUMN:
        fault, hint = f"has windows of {column} values, at most {_LARGEST_COLUMN} are run", "use a smaller kernel"
    elif x.kind == "softmax" and source[2] > _MOST_CLASSES:
        fault = f"is over {source[2]} classes, at most {_MOST_CLASSES} are run"
        hint = "leave it out: the largest output is the same without it"
    if fault:
        raise UnsupportedError(f"{x.name} {fault}", hint=hint)


def _check_scales(x: QuantOperator, made: PlanOperator) -> None:
    """Refuses scales for which a value would leave 32 bits on the way; TFLite Micro gives up on some of them."""
    if made.output_shift > _MOST_SHIFT.get(made.kind, made.output_shift):
        raise UnsupportedError(
            f"{x.name} has an output scale far too fine for its inputs (a factor of 2**{made.output_shift})",
            hint="convert it again with data that is representative of what the model will hear",
        )


def _window(x: QuantOperator) -> dict[str, Any]:
    return {"kernel": x.kernel, "stride": x.stride, "padding": x.padding}


def _convolution(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    assert x.weights is not None
    source, target = writer.tensor(x.inputs[0]), writer.tensor(x.output)
    scales = np.broadcast_to(x.weights.scales, x.weights.bias.shape)
    factors = requantize.convolution_multipliers(source.scale, scales, target.scale)
    return {
        **_window(x),
        "dilation": x.dilation,
        "input_offsets": (-source.zero_point, 0),
        "weights_data": writer.constants.add(x.weights.values, "<i1"),
        "bias_data": writer.constants.add(x.weights.bias, "<i4"),
        "multipliers_data": writer.constants.add(np.array([f.multiplier for f in factors]), "<i4"),
        "shifts_data": writer.constants.add(np.array([f.shift for f in factors]), "<i4"),
    }


def _fully_connected(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    assert x.weights is not None
    source, target = writer.tensor(x.inputs[0]), writer.tensor(x.output)
    scale = float(x.weights.scales[0])
    factor = requantize.product_multiplier((source.scale, scale), target.scale)
    return {
        "input_offsets": (-source.zero_point, 0),
        "weights_data": writer.constants.add(x.weights.values, "<i1"),
        "bias_data": writer.constants.add(x.weights.bias, "<i4"),
        **_output_factor(factor),
    }


def _pool(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    return {**_window(x), "output_offset": 0}


def _sum(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    pair = _pair(writer, x)
    inputs, output = requantize.add_multipliers((pair[0].scale, pair[1].scale), writer.tensor(x.output).scale)
    return {
        **_operands(writer, x, pair),
        "input_multipliers": tuple(f.multiplier for f in inputs),
        "input_shifts": tuple(f.shift for f in inputs),
        "left_shift": requantize.ADD_LEFT_SHIFT,
        **_output_factor(output),
    }


def _mul(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    pair = _pair(writer, x)
    factor = requantize.product_multiplier((pair[0].scale, pair[1].scale), writer.tensor(x.output).scale)
    return {**_operands(writer, x, pair), **_output_factor(factor)}


def _pair(writer: _Writer, x: QuantOperator) -> list[QuantTensor | Constant]:
    """Both inputs of an elementwise operator."""
    pair: list[QuantTensor | Constant] = [writer.tensor(i) for i in x.inputs]
    if x.constant is not None:
        pair.insert(x.constant.position, x.constant)
    return pair


def _operands(writer: _Writer, x: QuantOperator, pair: list[QuantTensor | Constant]) -> dict[str, Any]:
    """Where the inputs of an elementwise operator stand, their shapes and zero points."""
    shapes, data, arena = [], [], [writer.place(i) for i in x.inputs]
    for one in pair:
        if isinstance(one, Constant):
            arena.insert(one.position, 0)
            shapes.append(one.values.shape)
            data.append(writer.constants.add(one.values, "<i1"))
        else:
            shapes.append(one.map)
            data.append(0)
    return {
        "input_count": 2,
        "inputs": tuple(arena),
        "in_shape": shapes[0],
        "second_shape": shapes[1],
        "input_offsets": (-pair[0].zero_point, -pair[1].zero_point),
        "weights_data": data[0],
        "bias_data": data[1],
    }


def _concatenation(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    """Outer steps are the axes before the joined one; in each, one run of bytes per input."""
    shape = writer.tensor(x.output).shape
    outer = int(np.prod(shape[: x.axis], dtype=np.int64))
    if outer > _LARGEST_EXTENT:
        raise UnsupportedError(
            f"{x.name} joins in {outer} steps, at most {_LARGEST_EXTENT} are run",
            hint="pool, or use a stride, before it",
        )
    table = [(writer.place(i), writer.graph.elements(i) // outer) for i in x.inputs]
    return {
        "in_shape": (outer, 0, 0),
        "output_offset": 0,
        "weights_data": writer.constants.add(np.array(table), "<u4"),
    }


def _pad(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    return {"padding": x.padding, "input_offsets": (x.pad_value, 0), "output_offset": 0}


def _softmax(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    factor, least = requantize.softmax_parameters(x.beta, writer.tensor(x.inputs[0]).scale)
    return {"input_multipliers": (factor.multiplier, 0), "input_shifts": (factor.shift, 0), "left_shift": least}


def _lookup(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    table = lookup_table(x, writer.tensor(x.inputs[0]), writer.tensor(x.output))
    return {"output_offset": 0, "weights_data": writer.constants.add(table, "<i1")}


def _mean(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    """A sum is a mean without the division."""
    source, target = writer.tensor(x.inputs[0]), writer.tensor(x.output)
    factor = requantize.mean_multiplier(source.scale, target.scale, x.reduced[1] if x.kind == "mean" else 1)
    return {"input_offsets": (-source.zero_point, 0), **_output_factor(factor)}


def _copy(writer: _Writer, x: QuantOperator) -> dict[str, Any]:
    table = np.array([x.moved.start, *x.moved.steps])
    return {"output_offset": 0, "weights_data": writer.constants.add(table, "<u4")}


def _output_factor(factor: Multiplier) -> dict[str, int]:
    return {"output_multiplier": factor.multiplier, "output_shift": factor.shift}


_PLAN_KINDS = {**dict.fromkeys(LOOKUPS, "lookup"), "sum": "mean", "transpose": "copy", "strided_slice": "copy"}
_FIELDS: dict[str, Callable[[_Writer, QuantOperator], dict[str, Any]]] = {
    "conv": _convolution,
    "depthwise": _convolution,
    "fully_connected": _fully_connected,
    "average_pool": _pool,
    "max_pool": _pool,
    "mean": _mean,
    "sum": _mean,
    "add": _sum,
    "sub": _sum,
    "mul": _mul,
    "concatenation": _concatenation,
    "pad": _pad,
    "transpose": _copy,
    "strided_slice": _copy,
    "softmax": _softmax,
    **dict.fromkeys(LOOKUPS, _lookup),
}
