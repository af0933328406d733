"""An int8 graph as a plan: requantisation, memory, constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil_nas.cost.arena import ArenaPlan, Step, plan_steps
from hil_nas.cost.blob import HEADER_BYTES, OPERATOR_BYTES
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.plan import MAX_OPERATORS, Plan, PlanOperator
from hil_nas.errors import UnsupportedError
from hil_nas.kernels import Constants, Kernel, KernelCall, KernelList, list_for
from hil_nas.operators.description import CONSTANTS
from hil_nas.operators.int8 import QuantOperator
from hil_nas.operators.limits import check_extents
from hil_nas.operators.lowering import Lowering, constant_room
from hil_nas.operators.requantize import activation_range
from hil_nas.operators.table import BY_NAME, keeps, runs


def lower(graph: QuantGraph, lists: Sequence[KernelList] | None = None) -> Plan:
    """The plan of a graph; its operators keep the graph's order, reshapes left out.

    The input's memory is reused once its last reader has run: give the input anew before each inference.

    Args:
        lists: of kernels to choose from, None: all.

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
    chosen = _choose_kernels(graph, operators, lists)
    arena = _plan_arena(graph, operators, names, chosen)
    lowering = Lowering(graph.tensors, {number: arena.tensors[name] for number, name in names.items()})
    constants = _Constants(HEADER_BYTES + OPERATOR_BYTES * len(operators))
    placed = zip(operators, chosen, arena.scratch, strict=True)
    lowered = tuple(_lower(graph, lowering, constants, *x) for x in placed)
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    return Plan(
        operators=lowered,
        arena_bytes=arena.arena_bytes,
        input_offset=lowering.offsets[graph.input],
        input_bytes=graph.tensors[graph.input].elements,
        output_offset=lowering.offsets[graph.output],
        output_bytes=graph.tensors[graph.output].elements,
        input_scale=source.scale,
        input_zero_point=source.zero_point,
        output_scale=target.scale,
        output_zero_point=target.zero_point,
        constants=bytes(constants.data),
    )


def executed(graph: QuantGraph) -> list[QuantOperator]:
    """The operators of the graph that a plan runs, in their order: a reshape is a second name for the same bytes."""
    return [x for x in graph.operators if runs(x.kind)]


def _plan_arena(
    graph: QuantGraph, operators: Sequence[QuantOperator], names: dict[int, int], chosen: Sequence[_Chosen]
) -> ArenaPlan:
    """Places of all tensors and scratch buffers, by the same planner that costs a Network."""
    sizes = {number: graph.tensors[number].elements for number in names}
    steps = []
    for x, by in zip(operators, chosen, strict=True):
        inputs = tuple(names[i] for i in x.inputs)
        over = tuple(inputs[i] for i in by.kernel.in_place(by.call))
        steps.append(Step(inputs, names[x.output], by.scratch_bytes, over, keeps(x.kind)))
    return plan_steps(sizes, steps, names[graph.input], names[graph.output])


def _shared_names(graph: QuantGraph) -> dict[int, int]:
    """Tensor number -> the number under which its bytes are planned: a reshape's output is its input."""
    names = {graph.input: graph.input}
    for operator in graph.operators:
        names[operator.output] = operator.output if runs(operator.kind) else names[operator.inputs[0]]
    return names


@dataclass(frozen=True)
class _Chosen:
    """What runs an operator of the plan, and how it is called."""

    call: KernelCall
    kernels: KernelList

    @property
    def kernel(self) -> Kernel:
        return self.kernels.kernels[self.call.operator]

    @property
    def scratch_bytes(self) -> int:
        return self.kernel.scratch_bytes(self.call)


def _choose_kernels(
    graph: QuantGraph, operators: Sequence[QuantOperator], lists: Sequence[KernelList] | None
) -> list[_Chosen]:
    """By call and constants, before anything has its place in the arena."""
    nowhere = Lowering(graph.tensors, dict.fromkeys(range(len(graph.tensors)), 0))
    chosen = []
    for x in operators:
        call = _call(graph, x)
        fields, own = _constants_apart(_fields(graph, nowhere, call, x))
        chosen.append(_Chosen(call, list_for(call, x.name, (fields, own), lists)))
    return chosen


def _call(graph: QuantGraph, x: QuantOperator) -> KernelCall:
    """The call of a kernel that runs an operator of the plan."""
    kind, output = BY_NAME[x.kind], graph.tensors[x.output]
    assert kind.plan is not None
    source, target = kind.maps(x, graph.tensors[x.inputs[0]], output)
    sources = (source, *(graph.tensors[i].map for i in x.inputs[1:]))
    cut = activation_range(x.activation, output.scale, output.zero_point) == (output.zero_point, 127)
    return KernelCall(kind.plan.name, sources, target, x.kernel, x.stride, x.dilation, x.padding, cut)


def _as_kernel(graph: QuantGraph, x: QuantOperator) -> QuantOperator:
    """What has no kernel of its own, as one that computes the same bits."""
    return BY_NAME[x.kind].as_kernel(x, graph.tensors[x.inputs[0]])


@dataclass
class _Constants:
    """Constants in the order of the operators, each at a multiple of 32; `start` is where in the plan they begin."""

    start: int
    data: bytearray = field(default_factory=bytearray)

    def add(self, values: NDArray[Any]) -> int:
        """Where in the plan the values begin."""
        offset = self.start + len(self.data)
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
        self.data += raw + bytes(constant_room(len(raw)) - len(raw))
        return offset


def _lower(
    graph: QuantGraph, lowering: Lowering, constants: _Constants, x: QuantOperator, chosen: _Chosen, scratch: int
) -> PlanOperator:
    kind, call = BY_NAME[x.kind], chosen.call
    assert kind.plan is not None
    check_extents(x, call.inputs[0], call.output)
    fields, own = _constants_apart(_fields(graph, lowering, call, x))
    packed = chosen.kernel.packed(call, fields, own)
    run_by: dict[str, Any] = {"scratch": scratch, "scratch_bytes": chosen.scratch_bytes}
    places_of: dict[str, Any] = {f"{name}_data": constants.add(values) for name, values in packed.items()}
    made = PlanOperator(**fields, **run_by, **places_of, kernel_list=chosen.kernels.number)
    if made.output_shift > kind.plan.most_left_shift:  # TFLite Micro gives up on some of these
        raise UnsupportedError(
            f"{x.name} has an output scale far too fine for its inputs (a factor of 2**{made.output_shift})",
            hint="convert it again with data that is representative of what the model will hear",
        )
    return made


def _fields(graph: QuantGraph, lowering: Lowering, call: KernelCall, x: QuantOperator) -> dict[str, Any]:
    """Of the plan's operator, whichever kernel runs it; its constants among them."""
    target = graph.tensors[x.output]
    offsets = [lowering.offsets[i] for i in x.inputs]
    return {
        "kind": call.operator,
        "input_count": len(x.inputs),
        "inputs": (offsets[0], offsets[1] if len(offsets) > 1 else 0),
        "output": lowering.offsets[x.output],
        "in_shape": call.inputs[0],
        "out_shape": call.output,
        "output_offset": target.zero_point,
        "activation": activation_range(x.activation, target.scale, target.zero_point),
        **BY_NAME[x.kind].lower(lowering, x),
    }


def _constants_apart(fields: dict[str, Any]) -> tuple[dict[str, Any], Constants]:
    """(all fields but the constants, the constants by name)"""
    return {k: v for k, v in fields.items() if k not in CONSTANTS}, {k: fields[k] for k in CONSTANTS if k in fields}
