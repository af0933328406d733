"""Single layers of every kind that has a kernel of ours or of CMSIS-NN, drawn at random: shapes, windows, weights,
scales, zero points, activations and inputs; and how many of their plans answer as TensorFlow Lite Micro's reference
kernels do.

Multipliers stay below 2^12 times few small weights: where a sum shifted to the left leaves 32 bits, TensorFlow Lite
Micro's answer is the compiler's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from deploy_harness import Engine
from numpy.typing import NDArray

from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.errors import InputError
from hil_nas.kernels import LISTS
from hil_nas.network import Layer, Network
from hil_nas.operators.int8 import Activation, QuantOperator, Weights
from hil_nas.operators.windows import padding_of
from hil_nas.tflite.tensor import QuantTensor

Int8 = NDArray[np.int8]
Kind = Literal["1x1", "conv", "depthwise", "fully_connected", "average_pool", "max_pool"]
# usual: outputs reach all of int8; ties: halves are common; above_one: multipliers shifted to the left; tiny: shifted
# far to the right, down to multipliers that are 0; biased: biases that leave 24 bits
Scaling = Literal["usual", "ties", "above_one", "tiny", "biased"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
SEARCHED = [(3, 1), (5, 1), (9, 1), (15, 1), (3, 3), (5, 3), (9, 3), (5, 5)]  # depthwise windows of the search spaces
# as a file keeps them: multipliers follow from that
IN_SCALE, OUT_SCALE = (float(np.float32(x)) for x in (0.031, 0.047))
RUNS = 4  # inputs of each layer
_WEIGHED = ("conv", "depthwise", "fully_connected")


@dataclass(frozen=True)
class Drawn:
    """A layer, its plan, inputs (RUNS, ...) and what TensorFlow Lite Micro answers, (RUNS, outputs)."""

    kind: Kind
    seed: int
    network: Network
    plan: Plan
    inputs: Int8
    expected: Int8

    @property
    def kernels(self) -> str:
        """The list that runs it."""
        return next(x.label for x in LISTS if x.number == self.plan.operators[0].kernel_list)


Run = Callable[[Plan, Int8], Int8]


@dataclass
class Comparison:
    """Layers compared by kind and list of kernels, those that differ, and those without a plan or an oracle."""

    compared: Counter[tuple[str, str]] = field(default_factory=Counter)
    differing: list[Drawn] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    values: Counter[int] = field(default_factory=Counter)  # of outputs


def compare(seeds: range, runs: dict[str, Run], progress: Callable[[int], None] = lambda n: None) -> Comparison:
    """Draws a layer for each seed and runs it in each way; one that differs in any counts once."""
    found = Comparison()
    for seed in seeds:
        kind = KINDS[seed % len(KINDS)]
        try:
            drawn = draw(kind, seed)
        except InputError as error:
            found.refused[f"{kind}: {error.message}"] += 1
            continue
        found.compared[kind, drawn.kernels] += 1
        found.values.update(drawn.expected.ravel().tolist())
        if any(not np.array_equal(run(drawn.plan, drawn.inputs), drawn.expected) for run in runs.values()):
            found.differing.append(drawn)
        progress(seed)
    return found


def on_host(engine: Engine) -> Run:
    """Runs plans on the engine in portable C."""
    return lambda plan, inputs: engine.run(plan.to_bytes(), inputs, plan.arena_bytes)


def on_board(device: Device) -> Run:
    """Runs plans on an open board, weights in RAM, where an upload is quickest."""

    def run(plan: Plan, inputs: Int8) -> Int8:
        device.load_plan(plan.to_bytes(), "ram")
        answers = []
        for values in inputs:
            device.set_input(values)
            device.run("network", 0, 1)
            answers.append(device.read("output"))
        return np.stack(answers)

    return run


def draw(kind: Kind, seed: int) -> Drawn:
    """The layer of a seed.

    Raises:
        InputError: for one that is not lowered, or that TensorFlow Lite Micro does not take.
    """
    random = np.random.default_rng([KINDS.index(kind), seed])
    network = draw_network(kind, random)
    scaling = random.choice(get_args(Scaling), p=(0.5, 0.2, 0.1, 0.1, 0.1))
    graph = graph_of(network, random, random.choice(ACTIVATIONS), scaling)
    inputs = full_range(network, RUNS, random)
    plan, model = lower(graph), write_tflite(graph)
    return Drawn(kind, seed, network, plan, inputs, Tflm(model).run(inputs).reshape(RUNS, -1))


def full_range(network: Network, count: int, random: np.random.Generator) -> Int8:
    """The two ends of int8, both of them mixed, then anything."""
    values = random.integers(-128, 128, (count, *network.input_shape)).astype(np.int8)
    values[0], values[1], values[2] = -128, 127, np.where(values[2] < 0, -128, 127)
    return values


def graph_of(
    network: Network, random: np.random.Generator, activation: Activation = "none", scaling: Scaling = "usual"
) -> QuantGraph:
    """A network of one layer with any zero points."""
    (operator,) = network.operators()
    layer, source, channels = operator.layer, operator.inputs[0], operator.output[2]
    in_scale, out_scale = (2.0**-5, 2.0**-4) if scaling == "ties" else (IN_SCALE, OUT_SCALE)
    in_zero, out_zero = (int(x) for x in random.integers(-128, 128, 2))
    if activation in ("relu", "relu6") and random.random() < 0.7:
        out_zero = -128  # as a converter gives it
    weights = None
    if layer.kind in _WEIGHED:
        weights = _weights(operator, random, scaling, out_scale / in_scale)
    else:
        out_scale, out_zero = in_scale, in_zero  # a pool rescales nothing
    dense = layer.kind == "fully_connected"
    tensors = (
        QuantTensor((1, *source), in_scale, in_zero),
        QuantTensor((1, channels) if dense else (1, *operator.output), out_scale, out_zero),
    )
    window = (layer.kernel, layer.stride, layer.dilation, (0, 0) if dense else padding_of(layer, source))
    quantised = QuantOperator(layer.kind, (0,), 1, weights, *window, activation, label="operator 0")
    return QuantGraph(tensors, (quantised,), 0, 1)


def _weights(operator: Any, random: np.random.Generator, scaling: Scaling, one: float) -> Weights:
    """Of a layer; `one` is the scale of weights that makes a multiplier of 1."""
    layer, source, channels = operator.layer, operator.inputs[0], operator.output[2]
    shape: tuple[int, ...] = {
        "conv": (channels, *layer.kernel, source[2]),
        "depthwise": (*layer.kernel, channels),
        "fully_connected": (channels, prod(source)),
    }[layer.kind]
    lowest = -128 if layer.kind == "depthwise" else -127  # what our own kernels take
    values = random.integers(lowest, 128, shape)
    depth = prod(shape) // channels
    spread = 73 * 100 * depth**0.5  # of the sums
    factors = random.uniform(0.3, 1.2, 1 if layer.kind == "fully_connected" else channels) * 60 / spread
    bias = random.normal(0, 0.3 * spread, channels)
    if scaling == "above_one":  # few weights that are not 0, and these small
        values = random.integers(-1, 2, shape) * (random.random(shape) < 2 / depth)
        factors = 2.0 ** random.uniform(-1, 12, factors.shape)
        bias = random.integers(-128, 128, channels).astype(float)
    elif scaling == "ties":
        factors = 2.0 ** np.floor(np.log2(factors))
    elif scaling == "tiny":
        factors = factors * 2.0 ** -random.integers(4, 36)
    elif scaling == "biased":
        factors = factors * 2.0**-13
        bias = random.normal(0, 0.3 * 2.0**13 * spread, channels).clip(-(2**30), 2**30)
    scales = (factors * one).astype(np.float32)
    return Weights(values.astype(np.int8), scales, np.rint(bias).astype(np.int32))


def draw_network(kind: Kind, random: np.random.Generator) -> Network:
    """A layer of a kind on a map with every rest of a division by 4 in heights and channels."""

    def some(*values: int) -> int:
        return int(random.choice(values))

    source = (some(1, 2, 3, 5, 8, 11, 16, 19), some(1, 2, 3, 4, 7, 10), some(1, 2, 3, 4, 5, 8, 12, 16, 20, 33))
    if kind == "fully_connected":
        return Network(source, (Layer("fully_connected", (-1,), some(1, 2, 3, 4, 5, 8, 12, 35)),))
    if kind in ("1x1", "conv"):
        kernel = (1, 1) if kind == "1x1" else (some(1, 2, 3, 5, 10), some(1, 2, 3, 4))
        channels = some(1, 2, 3, 4, 5, 6, 8, 12, 17, 32, 64)
        stride = (some(1, 1, 2), some(1, 1, 2, 3)) if kind == "1x1" else (some(1, 2, 3), some(1, 2))
        return _windowed("conv", source, kernel, stride, random, channels)
    if kind == "depthwise":
        kernel = SEARCHED[some(*range(len(SEARCHED)))]
        if random.random() < 0.5:
            kernel = (some(*range(1, 17)), some(1, 2, 3, 4, 5))
        if random.random() < 0.7:
            source = (*source[:2], some(4, 8, 12, 20))
        return _windowed("depthwise", source, kernel, (some(1, 2), some(1, 2, 3)), random)
    if random.random() < 0.7:
        source = (*source[:2], some(4, 8, 24))
    kernel = source[:2] if random.random() < 0.2 else (some(1, 2, 3, 5), some(1, 2, 3))
    return _windowed(kind, source, kernel, (some(1, 2, 3), some(1, 2)), random)


def _windowed(
    kind: str,
    source: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    random: np.random.Generator,
    channels: int = 0,
) -> Network:
    dilation = (1, 1)
    if kind in ("conv", "depthwise") and random.random() < 0.2:
        stride, dilation = (1, 1), (int(random.integers(1, 4)), int(random.integers(1, 3)))
    fits = all((k - 1) * d < x for k, d, x in zip(kernel, dilation, source[:2], strict=True))
    padding = "valid" if fits and random.random() < 0.4 else "same"
    return Network(source, (Layer(kind, (-1,), channels, kernel, stride, dilation, padding),))  # type: ignore[arg-type]


def lines(found: Comparison, names: str) -> Iterator[str]:
    """What a comparison came to, for people."""
    for (kind, kernels), count in sorted(found.compared.items()):
        differing = sum((x.kind, x.kernels) == (kind, kernels) for x in found.differing)
        yield f"  {kind:16} {kernels:10} {count:6,} layers  {differing} differ"
    for reason, count in found.refused.most_common():
        yield f"  refused {count:4,}: {reason}"
    total = sum(found.compared.values())
    yield f"{total:,} layers x {RUNS} inputs, {names}: {len(found.differing)} differ; {len(found.values)} output values"
    for x in found.differing[:5]:
        yield f"  differs: seed {x.seed}, {x.kernels}, {x.network}"
