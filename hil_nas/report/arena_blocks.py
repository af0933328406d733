"""What lies where in the arena while a plan runs, read from the plan that the board ran."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from hil_nas.deploy.plan import Plan, PlanOperator
from hil_nas.operators.table import keeps

_PAIR_OF_CONCATENATION = struct.Struct("<II")  # arena offset and bytes, boards/include/plan.h


@dataclass(frozen=True)
class Block:
    """Bytes that are in use from step `first` to step `last`, both included; the network's input is there at step 0.

    Attributes:
        writer: the operator that writes it, counted from 1; 0 for the network's input.
        scratch: whether it is what a kernel needs while it runs.
    """

    writer: int
    offset_bytes: int
    size_bytes: int
    first: int
    last: int
    scratch: bool = False

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + self.size_bytes


def blocks_of(plan: Plan) -> list[Block]:
    """Activations and scratch, in the order they are written. An activation is in use until the last operator that
    reads it has run, the network's output until the end, a state always."""
    done: list[Block] = []
    last = len(plan.operators) - 1
    written = {plan.input_offset: Block(0, plan.input_offset, plan.input_bytes, 0, 0)}  # the newest, by offset
    for step, operator in enumerate(plan.operators):
        for offset in read_by(plan, operator):
            if offset in written:
                written[offset] = replace(written[offset], last=max(step, written[offset].last))
        if operator.scratch_bytes:
            done.append(Block(step + 1, operator.scratch, operator.scratch_bytes, step, step, scratch=True))
        if operator.output in written:
            done.append(written[operator.output])
        size = prod(operator.out_shape)
        state = keeps(operator.kind)
        written[operator.output] = Block(step + 1, operator.output, size, 0 if state else step, last if state else step)
    if plan.output_offset in written:
        written[plan.output_offset] = replace(written[plan.output_offset], last=last)
    return sorted([*done, *written.values()], key=lambda x: (x.first, x.scratch, x.writer))


def bytes_at(blocks: list[Block], step: int) -> int:
    """How many different bytes of the arena are in use at a step: what lies over another counts once."""
    live = sorted((x.offset_bytes, x.end_bytes) for x in blocks if x.first <= step <= x.last)
    total = reached = 0
    for start, end in live:
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def read_by(plan: Plan, operator: PlanOperator) -> Iterator[int]:
    """The arena offsets that an operator reads; the constant side of a pair is not in the arena."""
    if operator.kind == "concatenation":
        start = operator.weights_data - (plan.total_bytes - len(plan.constants))
        table = plan.constants[start : start + operator.input_count * _PAIR_OF_CONCATENATION.size]
        yield from (offset for offset, _ in _PAIR_OF_CONCATENATION.iter_unpack(table))
    elif operator.input_count == 2:
        constant = (operator.weights_data, operator.bias_data)
        yield from (offset for offset, data in zip(operator.inputs, constant, strict=True) if not data)
    else:
        yield operator.inputs[0]
