"""Depthwise convolutions and average pools of our own: TensorFlow Lite Micro's bits, here and on the board."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine, Refused, cell_network
from random_layers import ACTIVATIONS, SEARCHED, full_range, graph_of

from hil_nas.cost import arena_bytes, plan_bytes
from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.kernels import cmsis_nn, dsp
from hil_nas.latency.kernel_work import kernel_work
from hil_nas.network import Layer, Network
from hil_nas.operators.int8 import Activation


@pytest.fixture(scope="module")
def board(boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    """The firmware with the assembly."""
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as opened:
        yield opened


def one(kind: str, source: tuple[int, int, int], kernel: tuple[int, int], **more: Any) -> Network:
    return Network(source, (Layer(kind, (-1,), kernel=kernel, **more),))  # type: ignore[arg-type]


def depthwise_networks() -> list[Network]:
    """All windows of the search spaces at all strides, then any; heights leave every rest of a division by 4."""
    random = np.random.default_rng(17)

    def some(*values: int) -> int:
        return int(random.choice(values))

    networks = []
    for kernel in SEARCHED:
        for stride in ((1, 1), (2, 1), (2, 2), (1, 2)):
            source = (some(15, 16, 17, 18, 19, 25, 32), some(kernel[1], kernel[1] + 1, 7), some(4, 8, 12))
            padding = "same" if random.random() < 0.7 else "valid"
            networks.append(one("depthwise", source, kernel, stride=stride, padding=padding))
    for _ in range(40):
        source = (some(1, 2, 3, 5, 8, 11), some(1, 2, 3, 4, 7), some(4, 8, 20))
        kernel = (some(1, 2, 3, 4, 5, 7, 10), some(1, 2, 3, 4))
        stride = (some(1, 2), some(1, 2, 3))
        dilation = (some(1, 2, 3), some(1, 2)) if random.random() < 0.5 else (1, 1)
        stride = (1, 1) if dilation != (1, 1) else stride
        fits = all((k - 1) * d < x for k, d, x in zip(kernel, dilation, source[:2], strict=True))
        padding = "valid" if fits and random.random() < 0.4 else "same"
        networks.append(one("depthwise", source, kernel, stride=stride, dilation=dilation, padding=padding))
    return networks


def pool_networks() -> list[Network]:
    random = np.random.default_rng(18)

    def some(*values: int) -> int:
        return int(random.choice(values))

    pools = [one("average_pool", x, x[:2], padding="valid") for x in ((25, 5, 8), (49, 10, 4), (40, 50, 4), (1, 1, 4))]
    for _ in range(40):
        source = (some(2, 5, 12, 20), some(1, 3, 4, 10), some(4, 8, 24))
        kernel = (some(1, 2, 3, 5), some(1, 2, 3))
        fits = kernel[0] <= source[0] and kernel[1] <= source[1]
        padding = "valid" if fits and random.random() < 0.4 else "same"
        pools.append(one("average_pool", source, kernel, stride=(some(1, 2, 3), some(1, 2)), padding=padding))
    return pools


NETWORKS = {"depthwise": depthwise_networks(), "average_pool": pool_networks()}


def layer_of(network: Network, seed: int) -> QuantGraph:
    """With each activation, and ties in every third."""
    return graph_of(network, np.random.default_rng(seed), ACTIVATIONS[seed % 4], "usual" if seed % 3 else "ties")


def inputs_of(network: Network, count: int, seed: int) -> np.ndarray:
    return full_range(network, count, np.random.default_rng(seed))


def plan_of(graph: QuantGraph) -> Plan:
    plan = lower(graph)
    assert [x.kernel_list for x in plan.operators] == [dsp.KERNELS.number]
    return plan


@pytest.mark.parametrize("kind", NETWORKS)
def test_its_bits_are_tflms(kind: str, engine: Engine) -> None:
    seen = np.zeros(256, bool)
    for seed, network in enumerate(NETWORKS[kind]):
        graph = layer_of(network, seed)
        plan, inputs = plan_of(graph), inputs_of(network, 6, seed)
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(6, -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected), (network, seed)
        seen[expected.ravel().astype(int) + 128] = True
    assert seen.sum() > 220


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_boards_bits_are_tflms(kind: str, board: Device) -> None:
    """All windows of the search spaces; of the others, every third."""
    drawn = list(enumerate(NETWORKS[kind]))
    for seed, network in [*drawn[:32:2], *drawn[32::3]] if kind == "depthwise" else drawn[::4]:
        graph, inputs = layer_of(network, seed), inputs_of(network, 3, seed)[2:]
        board.load_plan(plan_of(graph).to_bytes(), "flash")
        board.set_input(inputs.ravel())
        board.run("network", 0, 1)
        assert np.array_equal(board.read("output"), Tflm(write_tflite(graph)).run(inputs).ravel()), (network, seed)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("kernel", "stride"), [((3, 3), 1), ((3, 3), 2), ((5, 3), 1)])
def test_assembly_that_leaves_the_sign_alone_for_a_relu(
    kernel: tuple[int, int], stride: int, activation: Activation, board: Device
) -> None:
    """Seven outputs below each other, by four, two and one, of many ties."""
    network = one("depthwise", (7 * stride, 5, 16), kernel, stride=(stride, stride))
    graph = graph_of(network, np.random.default_rng(stride), activation, "ties")
    inputs = inputs_of(network, 8, stride)
    board.load_plan(plan_of(graph).to_bytes(), "flash")
    for sample, expected in zip(inputs, Tflm(write_tflite(graph)).run(inputs), strict=True):
        board.set_input(sample.ravel())
        board.run("network", 0, 1)
        assert np.array_equal(board.read("output"), expected.ravel())


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_a_network_of_cells_keeps_its_other_tensors(seed: int, board: Device, engine: Engine) -> None:
    """Whatever a kernel wrote outside its output and scratch would be an input of a later sum."""
    network = cell_network(seed)
    graph = random_graph(network, seed)
    plan, inputs = lower(graph), inputs_of(network, 3, seed)
    assert all(x.kernel_list == dsp.KERNELS.number for x in plan.operators if x.kind in NETWORKS)
    expected = Tflm(write_tflite(graph)).run(inputs).reshape(3, -1)
    assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)
    board.load_plan(plan.to_bytes(), "flash")
    board.set_input(inputs[2].ravel())
    board.run("network", 0, 1)
    assert np.array_equal(board.read("output"), expected[2])


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_a_network_costs_is_what_its_plan_takes(kind: str) -> None:
    for seed, network in enumerate(NETWORKS[kind]):
        plan = plan_of(layer_of(network, seed))
        assert arena_bytes(network) == plan.arena_bytes and plan_bytes(network) == plan.total_bytes


def test_features_count_every_product() -> None:
    """5 rows of outputs are a four and a single one; dilated, 3 and 2 of two maps. Three taps are two products."""
    plain = next(iter(one("depthwise", (5, 2, 8), (3, 3)).operators()))
    dilated = next(iter(one("depthwise", (5, 2, 8), (3, 3), dilation=(2, 2)).operators()))
    assert kernel_work(plain).counts["products"] == kernel_work(dilated).counts["products"] == 5 * 2 * 8 * 3 * 2
    assert [kernel_work(plain).counts[x] for x in ("fours", "twos", "ones")] == [16, 0, 16]
    assert [kernel_work(dilated).counts[x] for x in ("fours", "twos", "ones")] == [0, 32, 16]
    pool = next(iter(one("average_pool", (25, 5, 8), (25, 5), stride=(25, 5), padding="valid").operators()))
    work = kernel_work(pool)
    assert work.path == "dsp_average_pool" and work.counts["fours"] * 4 + work.counts["pixels"] == 25 * 5 * 2


@pytest.mark.parametrize(
    "network",
    [
        one("depthwise", (9, 3, 6), (3, 3)),  # channels by four
        one("depthwise", (20, 3, 4), (16, 1)),  # taller than the tallest kernel
        one("depthwise", (20, 3, 4), (3, 1), stride=(3, 1)),
        one("average_pool", (9, 3, 6), (3, 3)),
        one("average_pool", (50, 41, 4), (50, 41), padding="valid"),
    ],
)
def test_what_it_is_not_made_for_goes_to_the_next_list(network: Network) -> None:
    assert [x.kernel_list for x in lower(random_graph(network, 1)).operators] == [cmsis_nn.KERNELS.number]


def test_constants_without_room_go_to_the_next_list(engine: Engine) -> None:
    """A bias whose double leaves 32 bits, and a scaling above 1: bits stay TFLM's."""
    network = one("depthwise", (9, 3, 4), (3, 3))
    usual = layer_of(network, 1)
    (operator,) = usual.operators
    assert operator.weights is not None
    scales = operator.weights.scales
    for weights in (
        replace(operator.weights, bias=np.full(4, 1 << 30, np.int32), scales=scales / 1000),
        replace(operator.weights, scales=scales * np.float32(2.5 / (scales.min() * 0.031 / 0.047))),
    ):
        graph = replace(usual, operators=(replace(operator, weights=weights),))
        plan, inputs = lower(graph), inputs_of(network, 4, 2)
        assert plan.operators[0].kernel_list == cmsis_nn.KERNELS.number
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(4, -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"scratch_bytes": 16}, "less scratch memory"),
        ({"kernel": (16, 3)}, "too large for the kernel"),
        ({"kernel": (3, 65)}, "too large for the kernel"),
        ({"stride": (3, 1), "out_shape": (3, 3, 4)}, "too large for the kernel"),
        ({"stride": (2, 1), "dilation": (2, 1), "out_shape": (5, 3, 4)}, "a stride of dilated rows"),
        ({"kernel": (15, 3)}, "constants outside the plan"),
        ({"weights_data": 8}, "constants outside the plan"),
        ({"in_shape": (9, 3, 2), "out_shape": (9, 3, 4)}, "no multiple of 4"),
        ({"input_offsets": (-128, 0)}, "zero point"),
    ],
)
def test_a_plan_that_would_reach_outside_is_refused(changed: dict[str, Any], reason: str, engine: Engine) -> None:
    plan = plan_of(layer_of(one("depthwise", (9, 3, 4), (3, 3)), 1))
    wrong = replace(plan, operators=(replace(plan.operators[0], **changed),))
    with pytest.raises(Refused, match=reason):
        engine.run(wrong.to_bytes(), np.zeros((1, 9, 3, 4), np.int8), plan.arena_bytes)


def test_a_shift_that_is_no_shift_is_refused(engine: Engine) -> None:
    plan = plan_of(layer_of(one("depthwise", (9, 3, 4), (3, 3)), 1))
    constants = np.frombuffer(plan.constants, "<i4").copy()
    constants[3] = 32
    with pytest.raises(Refused, match="a shift out of range"):
        wrong = replace(plan, constants=constants.tobytes())
        engine.run(wrong.to_bytes(), np.zeros((1, 9, 3, 4), np.int8), plan.arena_bytes)
