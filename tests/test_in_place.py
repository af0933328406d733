"""Kernels that write over their input: bits, what the device allows, and that nothing else is overwritten."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import Engine, Refused, cell_network, random_inputs, random_network
from every_operator import every_operator
from random_layers import graph_of
from test_dsp_windows import NETWORKS, layer_of, one

from hil_nas.cost.arena import Step, aligned, arena_bytes, network_steps, plan_steps
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan, PlanOperator
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.front_ends import paper_grid
from hil_nas.kernels import KernelCall, call_of, dsp
from hil_nas.kernels.dsp.product import sizes_of
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.network import Layer, Network
from hil_nas.operators.table import runs

ANCHORS = ("start", "end")


@pytest.fixture(scope="module")
def board(boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    """The firmware with the assembly."""
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as opened:
        yield opened


def pointwise() -> list[QuantGraph]:
    """More channels, fewer and as many; pixels in pairs, a single one behind them, and too few to copy weights for."""
    maps, channels = ((1, 1), (2, 1), (3, 1), (5, 3), (8, 2)), ((4, 12), (12, 4), (8, 8), (20, 64), (64, 20), (40, 36))
    shapes = enumerate(product(maps, channels))
    graphs = []
    for i, (extent, (depth, width)) in shapes:
        network = Network((*extent, depth), (Layer("conv", (-1,), width),))
        graphs.append(graph_of(network, np.random.default_rng(i), "relu" if i % 2 else "none"))
    return graphs


def windows(kind: str) -> list[QuantGraph]:
    return [layer_of(x, i) for i, x in enumerate(NETWORKS[kind])]


def in_place(graph: QuantGraph) -> bool:
    """Whether the only operator of a graph runs over its input, as our list says."""
    (x,) = graph.operators
    source, target = (graph.tensors[i].map for i in (x.inputs[0], x.output))
    call = KernelCall(x.kind, (source,), target, x.kernel, x.stride, x.dilation, x.padding)
    return dsp.KERNELS.kernels[x.kind].in_place(call) == (0,)


def laid_over(plan: Plan, anchor: str, by: int = 0) -> Plan:
    """The plan of one operator with its output over its input; moved `by` bytes, it is not where it may be."""
    (operator,) = plan.operators
    source, target = plan.input_bytes, plan.output_bytes
    larger = -(-max(source, target) // 4) * 4
    places = [0 if anchor == "start" else larger - x for x in (source, target)]
    scratch = -(-(larger + by) // 4) * 4
    moved = replace(operator, inputs=(places[0], 0), output=places[1] + by, scratch=scratch)
    size = aligned(scratch + operator.scratch_bytes)
    return replace(plan, operators=(moved,), arena_bytes=size, input_offset=places[0], output_offset=places[1] + by)


KINDS = {
    "conv": pointwise(),
    "depthwise": [x for x in windows("depthwise") if in_place(x)],
    "average_pool": [x for x in windows("average_pool") if in_place(x)],
}


def full_range(graph: QuantGraph, seed: int) -> np.ndarray:
    values = random_inputs(np.random.default_rng(seed), 4, graph.tensors[graph.input].map)
    values[0], values[1] = -128, 127
    return values


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("kind", KINDS)
def test_bits_over_the_input_are_tflms(kind: str, anchor: str, engine: Engine) -> None:
    assert len(KINDS[kind]) >= 15
    for seed, graph in enumerate(KINDS[kind]):
        plan, inputs = laid_over(lower(graph), anchor), full_range(graph, seed)
        assert in_place(graph)
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(len(inputs), -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected), (graph.tensors, seed)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_boards_bits_over_the_input_are_tflms(kind: str, anchor: str, board: Device) -> None:
    """Of every second graph, one input of random values."""
    for seed, graph in enumerate(KINDS[kind][::2]):
        plan, inputs = laid_over(lower(graph), anchor), full_range(graph, seed)[3:]
        board.load_plan(plan.to_bytes(), "flash")
        board.set_input(inputs.ravel())
        board.run("network", 0, 1)
        assert np.array_equal(board.read("output"), Tflm(write_tflite(graph)).run(inputs).ravel()), (
            graph.tensors,
            seed,
        )


@pytest.mark.parametrize("anchor", ANCHORS)
def test_another_overlap_is_refused(anchor: str, engine: Engine) -> None:
    """All of the graphs above, their outputs 4 bytes further on."""
    refused = 0
    for graph in (x for graphs in KINDS.values() for x in graphs):
        plan = laid_over(lower(graph), anchor, by=4)
        starts = (plan.input_offset, plan.output_offset)
        ends = (plan.input_offset + plan.input_bytes, plan.output_offset + plan.output_bytes)
        if max(starts) >= min(ends) or starts[0] == starts[1] or ends[0] == ends[1]:
            continue  # beside each other, or as the other anchor has it
        with pytest.raises(Refused, match="operator 0: output over an input"):
            engine.run(plan.to_bytes(), np.zeros((1, plan.input_bytes), np.int8), plan.arena_bytes)
        refused += 1
    assert refused > 80


REFUSED = {
    "channels that fill no group": one("conv", (5, 3, 8), (1, 1), out_channels=10),
    "columns that fill no word": one("conv", (5, 3, 6), (1, 1), out_channels=8),
    "a window": one("conv", (5, 3, 8), (3, 1), out_channels=8),
    "a stride": one("conv", (5, 4, 8), (1, 1), out_channels=8, stride=(1, 2)),
    "weights that do not fit at once": one("conv", (4, 1, 96), (1, 1), out_channels=96),
    "dilated rows of another phase": one("depthwise", (9, 3, 4), (2, 1), dilation=(2, 1)),
    "dilated rows that become fewer": one("depthwise", (9, 3, 4), (3, 1), dilation=(2, 1), padding="valid"),
    "a pool that looks back": one("average_pool", (9, 3, 4), (3, 3)),
    "a pool of the next list": one("max_pool", (9, 3, 4), (2, 1), stride=(2, 1)),
    "a dense layer": one("fully_connected", (1, 1, 12), (1, 1), out_channels=12),
}


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("why", REFUSED)
def test_kernels_that_read_what_they_wrote_are_refused_over_their_input(why: str, anchor: str, engine: Engine) -> None:
    """And the planner never asks for it."""
    plan = lower(random_graph(REFUSED[why], 1))
    (x,) = plan.operators
    assert plan.input_offset + plan.input_bytes <= x.output or x.output + plan.output_bytes <= plan.input_offset
    wrong = laid_over(plan, anchor)
    with pytest.raises(Refused, match="operator 0: output over an input"):
        engine.run(wrong.to_bytes(), np.zeros((1, plan.input_bytes), np.int8), wrong.arena_bytes)


def test_less_scratch_means_more_passes_and_no_longer_in_place(engine: Engine) -> None:
    """As many groups run at a time as there is room for: bits stay, what may be overwritten changes."""
    network = Network((7, 3, 20), (Layer("conv", (-1,), 64),))
    graph, needs = graph_of(network, np.random.default_rng(5)), sizes_of(call_of(next(iter(network.operators()))))
    plan, inputs = lower(graph), full_range(graph, 5)
    expected = Tflm(write_tflite(graph)).run(inputs).reshape(len(inputs), -1)
    for groups in (1, 2, 3, 7, 15, 16):
        (x,) = plan.operators
        x = replace(x, inputs=(0, 0), output=420, scratch=420 + 1344, scratch_bytes=needs.always + groups * needs.each)
        whole = aligned(x.scratch + x.scratch_bytes)
        beside = replace(plan, operators=(x,), arena_bytes=whole, input_offset=0, output_offset=x.output)
        assert np.array_equal(engine.run(beside.to_bytes(), inputs, whole), expected)
        over = laid_over(beside, "start")
        if groups == needs.groups:
            assert np.array_equal(engine.run(over.to_bytes(), inputs, over.arena_bytes), expected)
            continue
        with pytest.raises(Refused, match="operator 0: output over an input"):
            engine.run(over.to_bytes(), inputs, over.arena_bytes)


def overlaps(plan: Plan) -> Iterator[tuple[PlanOperator, str]]:
    """The operators of a plan whose output lies over an input, and at which end both are."""
    for x in plan.operators:
        sizes = [prod(x.in_shape), prod(x.second_shape)]
        for start, size in list(zip(x.inputs, sizes, strict=True))[: x.input_count if x.kind != "concatenation" else 0]:
            if start < x.output + prod(x.out_shape) and x.output < start + size:
                yield x, "start" if start == x.output else "end"


def test_whole_networks_in_place_give_tflms_bits(engine: Engine, board: Device) -> None:
    """Chains of the search, cells, branches of all kinds; every ninth on the board as well."""
    rng = np.random.default_rng(2)
    spaces = [TinySpace(), TinySpace(align="pad"), TinySpace(configs=paper_grid(10), arrangement="plane")]
    chains = [x.sample(rng, x.configs[i % len(x.configs)]) for i in range(6) for x in spaces]
    networks = [*chains, *(make(i) for i in range(18) for make in (cell_network, random_network))]
    seen = set()
    for seed, network in enumerate(networks):
        graph = random_graph(network, seed)
        plan, inputs = lower(graph), random_inputs(rng, 2, network.input_shape)
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(len(inputs), -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected), seed
        seen |= {(x.kind, x.kernel_list, anchor) for x, anchor in overlaps(plan)}
        if seed % 9 == 0:
            board.load_plan(plan.to_bytes(), "flash")
            board.set_input(inputs[0].ravel())
            board.run("network", 0, 1)
            assert np.array_equal(board.read("output"), expected[0]), seed
    ours = dsp.KERNELS.number
    assert {(x, ours, anchor) for x in ("conv", "depthwise", "average_pool") for anchor in ANCHORS} < seen
    assert {("add", 1, "start"), ("softmax", 1, "start")} < seen


def test_operators_of_peoples_models_in_place_give_tflms_bits(engine: Engine) -> None:
    """Functions of one value, pairs with constants and with broadcasting."""
    seen = set()
    for classes in (4, 7):
        model = every_operator(6, 5, classes=classes)
        graph = read_tflite(model)
        plan, inputs = lower(graph), random_inputs(np.random.default_rng(3), 20, graph.tensors[graph.input].map)
        seen |= {x.kind for x, _ in overlaps(plan)}
        expected = Tflm(model).run(inputs).reshape(len(inputs), -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)
    assert {"lookup", "add", "sub", "mul"} <= seen


def replay(sizes: dict[int, int], steps: list[Step], source: int, output: int) -> int:
    """Runs steps on an arena whose bytes know what they belong to, and gives how many ran in place.

    Each byte of an input is still the input's when its reader begins; a step writes its scratch bytes, then its output.
    """
    plan = plan_steps(sizes, steps, source, output)
    arena = np.full(plan.arena_bytes, -1)

    def part(tensor: int) -> np.ndarray:
        start = plan.tensors[tensor]
        assert start % 4 == 0 and start + sizes[tensor] <= plan.arena_bytes
        return arena[start : start + sizes[tensor]]

    part(source)[:] = source
    shared = 0
    for index, step in enumerate(steps):
        assert all((part(x) == x).all() for x in step.inputs)
        scratch = plan.scratch[index]
        assert scratch + step.scratch_bytes <= plan.arena_bytes
        arena[scratch : scratch + step.scratch_bytes] = -2
        assert all((part(x) == x).all() for x in step.inputs)
        part(step.output)[:] = step.output
        assert (arena[scratch : scratch + step.scratch_bytes] == -2).all()
        for x in dict.fromkeys(step.inputs):
            if not (part(x) == x).all():
                start, end = ([plan.tensors[i] + more * sizes[i] for i in (x, step.output)] for more in (0, 1))
                assert x in step.in_place and (start[0] == start[1] or end[0] == end[1])
                shared += 1
    assert (part(output) == output).all()
    return shared


def test_no_byte_is_overwritten_while_it_is_needed() -> None:
    """Chains and branches of any sizes, kernels in place or not, and networks of every kind."""
    shared = 0
    for seed in range(400):
        rng = random.Random(seed)
        reach = rng.choice([1, 1, 2, 4])
        sizes = {i: rng.randint(1, 60) * rng.choice([1, 4, 64]) for i in range(rng.randint(2, 25))}
        steps = []
        for number in range(1, len(sizes)):
            inputs = tuple(
                {max(0, number - rng.randint(1, reach)) for _ in range(rng.choice([1, 1, 2]))} | {number - 1}
            )
            over = tuple(x for x in inputs if rng.random() < 0.7)
            steps.append(Step(inputs, number, rng.choice([0, 0, 50, 900]), over))
        shared += replay(sizes, steps, 0, len(sizes) - 1)
    for seed in range(60):
        for make in (cell_network, random_network):
            sizes, steps, output = network_steps(make(seed))
            shared += replay(sizes, steps, 0, output)
    assert shared > 2000


def test_a_chain_takes_what_its_largest_operator_takes_alone() -> None:
    """Of any space, so that a search knows its RAM: some of these run by kernels that are never in place."""
    separable = [((17, 1), (1, 1)), ((3, 1), (1, 1)), ((3, 1), (2, 1)), ((5, 1), (1, 1))]
    pools = [Operation("pool", x, x) for x in ((2, 1), (3, 1))]
    others = (Operation("skip"), *pools, Operation("pointwise"), *(Operation("separable", *x) for x in separable))
    rng, moved = np.random.default_rng(4), 0
    for arrangement, align, operations in product(("channels", "plane"), ("conv", "pad"), ((), others)):
        space = TinySpace(
            arrangement=arrangement, align=align, operations=operations,
            widths=(4, 8, 12, 20, 24, 36, 64, 96, 128), max_scale=(12, 4), positions=8,
        )  # fmt: skip
        for index in range(25):
            network = space.sample(rng, space.configs[index % len(space.configs)])
            alone = [Network(x.inputs[0], (replace(x.layer, inputs=(-1,)),)) for x in network.operators()]
            needs = [arena_bytes(x) for x in alone if runs(x.layers[0].kind)]
            assert arena_bytes(network) == max(needs)
            plan = lower(random_graph(network, index))
            moved += len({x.output for x, _ in overlaps(plan)}) > 1
    assert moved > 20
