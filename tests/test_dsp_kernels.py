"""The kernels of our own against TensorFlow Lite Micro's: bits over shapes, scalings and activations of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_harness import Engine, Refused

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
from hil_nas.network import Layer, Network
from hil_nas.operators.int8 import Activation, QuantOperator, Weights
from hil_nas.operators.windows import padding_of
from hil_nas.tflite.tensor import QuantTensor

KINDS = ("1x1", "conv", "fully_connected")
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "relu6", "relu_n1_to_1")


def graph_of(network: Network, seed: int, activation: Activation = "none", ties: bool = False) -> QuantGraph:
    """One operator with weights of the full range, any zero points, and outputs that reach every part of int8.

    Args:
        ties: whether scales are powers of two, so that halves are common.
    """
    random = np.random.default_rng(seed)
    (operator,) = network.operators()
    layer, source, channels = operator.layer, operator.inputs[0], operator.output[2]
    dense = layer.kind == "fully_connected"
    shape = (prod(source),) if dense else (*layer.kernel, source[2])
    depth = prod(shape)
    values = random.integers(-127, 128, (channels, *shape)).astype(np.int8)
    in_zero, out_zero = (int(x) for x in random.integers(-128, 128, 2))
    if activation in ("relu", "relu6") and random.random() < 0.7:
        out_zero = -128
    spread = 73 * 100 * depth**0.5  # of the sums
    bias = np.rint(random.normal(0, 0.3 * spread, channels)).astype(np.int32)
    factors = random.uniform(0.3, 1.2, 1 if dense else channels) * 60 / spread
    scales = 2.0 ** np.floor(np.log2(factors)) if ties else factors
    in_scale, out_scale = (2.0**-5, 2.0**-4) if ties else (0.031, 0.047)
    weights = Weights(values, (scales * out_scale / in_scale).astype(np.float32), bias)
    tensors = (
        QuantTensor((1, *source), in_scale, in_zero),
        QuantTensor((1, channels) if dense else (1, *operator.output), out_scale, out_zero),
    )
    window = (layer.kernel, layer.stride, layer.dilation, (0, 0) if dense else padding_of(layer, source))
    quantised = QuantOperator(layer.kind, (0,), 1, weights, *window, activation, label="operator 0")
    return QuantGraph(tensors, (quantised,), 0, 1)


def networks() -> Iterator[tuple[str, Network]]:
    random = np.random.default_rng(11)

    def some(*values: int) -> int:
        return int(random.choice(values))

    for i in range(40):
        source = (some(1, 2, 3, 5, 9), some(1, 2, 3, 4, 7), some(1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 33, 64))
        channels = some(1, 2, 3, 4, 5, 6, 8, 12, 17, 32, 64)
        stride = (1, 1) if i % 4 else (some(1, 2), some(1, 2, 3))
        yield "1x1", Network(source, (Layer("conv", (-1,), channels, stride=stride),))
    for i in range(60):
        source = (some(3, 5, 9, 12), some(3, 4, 7, 10), some(1, 1, 2, 3, 4, 5, 8, 12))
        kernel = (some(1, 2, 3, 5, 10), some(1, 2, 3, 4))
        kernel = (min(kernel[0], source[0]), min(kernel[1], source[1]))
        stride = (some(1, 2, 3), some(1, 2)) if i % 3 else (1, 1)
        dilation = (some(1, 2), some(1, 2)) if stride == (1, 1) else (1, 1)
        padding = "same" if i % 2 or max(dilation) > 1 else "valid"
        layer = Layer("conv", (-1,), some(1, 3, 4, 7, 8, 64), kernel, stride, dilation, padding)  # type: ignore[arg-type]
        yield "conv", Network(source, (layer,))
    for _ in range(40):
        source = (some(1, 1, 2, 5), some(1, 1, 3), some(1, 2, 3, 4, 7, 16, 33, 64))
        yield "fully_connected", Network(source, (Layer("fully_connected", (-1,), some(1, 2, 3, 4, 5, 8, 12, 35)),))


def full_range(network: Network, count: int, seed: int) -> np.ndarray:
    """Random, and the ends of int8."""
    random = np.random.default_rng(seed)
    values = random.integers(-128, 128, (count, *network.input_shape)).astype(np.int8)
    values[0], values[1] = -128, 127
    return values


def plan_of(graph: QuantGraph) -> Plan:
    plan = lower(graph)
    assert [x.kernel_list for x in plan.operators] == [dsp.KERNELS.number]
    return plan


@pytest.mark.parametrize("kind", KINDS)
def test_its_bits_are_tflms(kind: str, engine: Engine) -> None:
    seen = np.zeros(256, bool)
    for seed, network in enumerate(x for name, x in networks() if name == kind):
        graph = graph_of(network, seed, ACTIVATIONS[seed % 4], ties=seed % 3 == 0)
        plan, inputs = plan_of(graph), full_range(network, 6, seed)
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(6, -1)
        outputs = engine.run(plan.to_bytes(), inputs, plan.arena_bytes)
        assert np.array_equal(outputs, expected), (network, ACTIVATIONS[seed % 4])
        seen[expected.ravel().astype(int) + 128] = True
    assert seen.sum() > 220


@pytest.fixture(scope="module")
def board(boards_dir: Path, build_dir: Path, cmsis_dsp_dir: Path) -> Iterator[Device]:
    """The firmware with the assembly; its plans are made by each test."""
    assert cmsis_dsp_dir
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
def test_the_assemblys_bits_are_tflms(kind: str, board: Device) -> None:
    """Every sixth of the networks above; two inputs of each, so that what the first leaves behind does not matter."""
    drawn = [(seed, x) for seed, x in enumerate(x for name, x in networks() if name == kind)][::6]
    for seed, network in drawn:
        graph = graph_of(network, seed, ACTIVATIONS[seed % 4], ties=seed % 3 == 0)
        inputs = full_range(network, 4, seed)[2:]
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(2, -1)
        board.load_plan(plan_of(graph).to_bytes(), "flash")
        for values, answer in zip(inputs, expected, strict=True):
            board.set_input(values.ravel())
            board.run("network", 0, 1)
            assert np.array_equal(board.read("output"), answer), (network, ACTIVATIONS[seed % 4])


def test_weights_that_it_has_no_room_for_go_to_the_next_list(engine: Engine) -> None:
    """A weight of -128 above another below 0, sums of more than 24 bits, and scalings above 1: bits stay TFLM's."""
    network = Network((3, 4, 128), (Layer("conv", (-1,), 8, (2, 2), padding="valid"),))
    usual = graph_of(network, 1)
    (operator,) = usual.operators
    assert operator.weights is not None
    lowest = operator.weights.values.copy()
    lowest[:2] = [[[[-128]]], [[[-1]]]]
    full = np.full_like(lowest, 127)
    scales = operator.weights.scales
    changed = [
        replace(operator.weights, values=lowest),
        replace(operator.weights, values=full),
        replace(operator.weights, bias=np.full(8, 1 << 23, np.int32)),
        replace(operator.weights, scales=scales * np.float32(2.5 / (scales.min() * 0.031 / 0.047))),
    ]
    arena_bytes = lower(usual).arena_bytes
    for weights in changed:
        graph = replace(usual, operators=(replace(operator, weights=weights),))
        plan, inputs = lower(graph), full_range(network, 6, 2)
        assert plan.operators[0].kernel_list == cmsis_nn.KERNELS.number and plan.arena_bytes < arena_bytes
        expected = Tflm(write_tflite(graph)).run(inputs).reshape(6, -1)
        assert np.array_equal(engine.run(plan.to_bytes(), inputs, plan.arena_bytes), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_network_costs_is_what_its_plan_takes(kind: str) -> None:
    for seed, network in enumerate(x for name, x in networks() if name == kind):
        plan = plan_of(graph_of(network, seed))
        assert arena_bytes(network) == plan.arena_bytes and plan_bytes(network) == plan.total_bytes


def test_windows_and_inputs_that_are_too_large_go_to_the_next_list() -> None:
    windows = [Network((*x, 1), (Layer("conv", (-1,), 4, x, padding="valid"),)) for x in ((32, 32), (41, 25))]
    dense = [Network((1, 1, x), (Layer("fully_connected", (-1,), 4),)) for x in (1024, 1025)]
    for pair in (windows, dense):
        numbers = [lower(random_graph(x, 1)).operators[0].kernel_list for x in pair]
        assert numbers == [dsp.KERNELS.number, cmsis_nn.KERNELS.number]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"in_shape": (1, 1, 1025)}, "more inputs than the kernel takes"),
        ({"out_shape": (1, 1, 9)}, "weights outside the plan"),
        ({"weights_data": 8}, "weights outside the plan"),
    ],
)
def test_a_dense_layer_that_would_reach_outside_is_refused(
    changed: dict[str, Any], reason: str, engine: Engine
) -> None:
    plan = lower(random_graph(Network((1, 1, 1024), (Layer("fully_connected", (-1,), 8),)), 1))
    operator = replace(plan.operators[0], output=0, inputs=(512, 0), **changed)
    with pytest.raises(Refused, match=reason):
        wrong = replace(plan, arena_bytes=2048, operators=(operator,))
        engine.run(wrong.to_bytes(), np.zeros((1, 1024), np.int8), wrong.arena_bytes)


def test_a_shift_of_a_dense_layer_that_is_no_shift_is_refused(engine: Engine) -> None:
    plan = lower(random_graph(Network((1, 1, 4), (Layer("fully_connected", (-1,), 4),)), 1))
    constants = np.frombuffer(plan.constants, "<i4").copy()
    constants[4 + 4 + 2] = 32  # behind starts and weights, and a multiplier and an addend
    with pytest.raises(Refused, match="a multiplier or shift out of range"):
        engine.run(replace(plan, constants=constants.tobytes()).to_bytes(), np.zeros((1, 4), np.int8), plan.arena_bytes)
