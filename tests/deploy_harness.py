"""The engine's C sources called from Python, and random networks, for the tests of cost and deploy."""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hil_nas import kernels
from hil_nas.compiling import loaded
from hil_nas.deploy.host_engine import Model, aligned, declare
from hil_nas.device.firmware import find_third_party
from hil_nas.network import INPUT, Layer, Network

LISTS = " ".join(f"LIST({x.name})" for x in kernels.LISTS)
PORTABLE = (
    "-D__GNUC_PYTHON__", "-D__RESTRICT=__restrict", "-w", f"-DKERNEL_LISTS={LISTS}", '-DENGINE_NAME="plans"',
)  # fmt: skip


class Refused(Exception):
    """The engine did not load a plan."""


class Engine:
    """boards/src's engine as a shared library of this machine."""

    def __init__(self, library: Path) -> None:
        self._lib = loaded(library, "an engine library", declare)
        self._lib.engine_op_name.restype = ctypes.c_char_p
        self._lib.engine_op_name.argtypes = [ctypes.POINTER(Model), ctypes.c_uint32]

    def run(self, blob: bytes, inputs: np.ndarray, arena_bytes: int) -> np.ndarray:
        """int8 (n, ...) -> int8 (n, outputs), the arena full of rubbish before the first."""
        plan, arena, model = self._load(blob, arena_bytes)
        outputs = []
        for one in inputs:
            assert one.size == model.input_bytes
            ctypes.memmove(model.input, np.ascontiguousarray(one).ctypes.data, one.size)
            assert self._lib.engine_run(ctypes.byref(model), None, None)
            outputs.append(np.frombuffer(ctypes.string_at(model.output, model.output_bytes), np.int8))
        return np.stack(outputs)

    def names(self, blob: bytes, arena_bytes: int) -> list[str]:
        """What the engine calls a plan's operators on the wire."""
        plan, arena, model = self._load(blob, arena_bytes)
        return [self._lib.engine_op_name(ctypes.byref(model), i).decode() for i in range(model.op_count)]

    def _load(self, blob: bytes, arena_bytes: int) -> tuple[np.ndarray, np.ndarray, Model]:
        """What the model stands in lives as long as the arrays."""
        plan, arena, model = aligned(len(blob)), aligned(arena_bytes), Model()
        plan[:] = np.frombuffer(blob, np.uint8)
        arena[:] = 0xA5
        fault = self._lib.engine_load(ctypes.byref(model), plan.ctypes.data, len(blob), arena.ctypes.data, arena_bytes)
        if fault.reason is not None:
            raise Refused(f"operator {fault.op}: {fault.reason.decode()}")
        return plan, arena, model


def engine_sources(boards_dir: Path) -> list[Path]:
    """The engine and its lists of kernels, without CMSIS-NN's own sources."""
    source = boards_dir / "src"
    return [source / "crc32.c", *sorted((source / "engine").glob("*.c")), *sorted((source / "kernels").glob("*/*.c"))]


def build_engine(folder: Path, boards_dir: Path, build_dir: Path, *flags: str) -> Engine:
    third_party = find_third_party()
    library = folder / "engine.so"
    sources = [*engine_sources(boards_dir), *sorted(third_party.cmsis_nn.rglob("Source/**/*.c"))]
    includes = [f"-I{boards_dir / 'include'}", f"-I{third_party.cmsis_nn / 'Include'}"]
    command = ["gcc", "-O1", "-shared", "-fPIC", *PORTABLE, *flags, *includes, *map(str, sources), "-o", str(library)]
    subprocess.run(command, check=True)
    return Engine(library)


def random_inputs(rng: np.random.Generator, count: int, shape: Sequence[int]) -> np.ndarray:
    return rng.integers(-128, 128, (count, *shape)).astype(np.int8)


def random_weights(network: Network, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """Kernels as `to_tflite` takes them, of a size that keeps activations alive."""
    weights: list[tuple[np.ndarray, np.ndarray] | None] = []
    for operator in network.operators():
        layer, source = operator.layer, operator.inputs[0]
        shape = {
            "conv": (*layer.kernel, source[2], layer.out_channels),
            "depthwise": (*layer.kernel, source[2], 1),
            "fully_connected": (int(np.prod(source)), layer.out_channels),
        }.get(layer.kind)
        if shape is None:
            weights.append(None)
            continue
        fan_in = np.prod(shape[:2]) if layer.kind == "depthwise" else np.prod(shape[:-1])
        weights.append((rng.normal(0, (2 / fan_in) ** 0.5, shape), rng.normal(0, 0.1, operator.output[2])))
    return weights


def random_network(seed: int) -> Network:
    """A branched network of all kinds; adds and concatenations join whatever shapes fit."""
    rng = random.Random(seed)
    shape = (rng.randint(5, 30), rng.randint(3, 12), rng.choice([1, 3, 4]))
    layers: list[Layer] = []
    length = rng.randint(3, 14)
    while len(layers) < length:
        layer = _random_layer(rng, shape, layers)
        layers += [layer] if layer else []
    layers.append(Layer("fully_connected", (len(layers) - 1,), 12))
    if rng.random() < 0.3:
        layers.append(Layer("softmax", (len(layers) - 1,)))
    return alive(Network(shape, tuple(layers)))


def _random_layer(rng: random.Random, shape: tuple[int, int, int], layers: list[Layer]) -> Layer | None:
    known = Network(shape, tuple(layers)).shapes if layers else ()
    shapes = {INPUT: shape, **dict(enumerate(known))}
    source = rng.choice([INPUT, *range(len(layers))][-4:])
    height, width, channels = shapes[source]
    padding = rng.choice(["same", "same", "valid"])
    kernel = (rng.randint(1, min(5, height)), rng.randint(1, min(3, width)))
    stride = rng.choice([(1, 1), (1, 1), (2, 2), (3, 3)])
    reach = min(height // kernel[0], width // kernel[1])
    dilation = (rng.randint(1, min(2, reach)),) * 2 if stride == (1, 1) else (1, 1)
    relu, out = rng.random() < 0.5, rng.randint(1, 20)
    mates = [i for i, x in shapes.items() if x[:2] == (height, width) and i != source]
    kind = rng.choice(["conv", "conv", "depthwise", "average_pool", "max_pool", "add", "concatenation", "reshape"])
    if kind == "conv":
        strides = rng.choice([stride, (stride[0], 1)])
        return Layer("conv", (source,), out, kernel, strides, dilation, padding, relu)  # type: ignore[arg-type]
    if kind == "depthwise":
        return Layer("depthwise", (source,), 0, kernel, stride, dilation, padding, relu)  # type: ignore[arg-type]
    if kind in ("average_pool", "max_pool"):
        return Layer(kind, (source,), 0, kernel, stride, (1, 1), padding)  # type: ignore[arg-type]
    if kind == "reshape":
        return Layer("reshape", (source,), shape=(height * width, 1, channels))
    if kind == "concatenation" and mates:
        return Layer("concatenation", (source, rng.choice(mates)))
    twins = [i for i in mates if shapes[i] == shapes[source]]
    return Layer("add", (source, rng.choice(twins)), relu=relu) if kind == "add" and twins else None


def alive(network: Network) -> Network:
    """Without layers that do not lead to the output."""
    needed = {len(network.layers) - 1}
    for index in reversed(range(len(network.layers))):
        needed |= {i for i in network.layers[index].inputs if index in needed}
    renumbered = {INPUT: INPUT}
    layers: list[Layer] = []
    for index in sorted(needed - {INPUT}):
        renumbered[index] = len(layers)
        layers.append(replace(network.layers[index], inputs=tuple(renumbered[i] for i in network.layers[index].inputs)))
    return Network(network.input_shape, tuple(layers))


def ds_cnn(frames: int = 49, coefficients: int = 10, channels: int = 64, blocks: int = 4) -> Network:
    """MLPerf Tiny's DS-CNN, from its published description."""
    layers = [Layer("conv", (INPUT,), channels, (10, 4), (2, 2), relu=True)]
    for _ in range(blocks):
        layers.append(Layer("depthwise", (len(layers) - 1,), kernel=(3, 3), relu=True))
        layers.append(Layer("conv", (len(layers) - 1,), channels, relu=True))
    window = (-(-frames // 2), -(-coefficients // 2))
    layers.append(Layer("average_pool", (len(layers) - 1,), kernel=window, stride=window, padding="valid"))
    layers.append(Layer("fully_connected", (len(layers) - 1,), 12))
    return Network((frames, coefficients, 1), tuple(layers))


def cell_network(seed: int) -> Network:
    """DARTS-like cells: separable and dilated convolutions, pools and skips summed in nodes, joined at the end."""
    rng = random.Random(seed)
    layers: list[Layer] = []

    def add(layer: Layer) -> int:
        layers.append(layer)
        return len(layers) - 1

    def edge(source: int, channels: int) -> int:
        kind, size = rng.choice(["separable", "dilated", "max_pool", "average_pool", "skip"]), rng.choice([3, 5])
        if kind == "skip":
            return source
        if kind in ("max_pool", "average_pool"):
            return add(Layer(kind, (source,), kernel=(3, 3)))  # type: ignore[arg-type]
        dilation = (2, 2) if kind == "dilated" else (1, 1)
        depthwise = add(Layer("depthwise", (source,), kernel=(size, size), dilation=dilation))
        return add(Layer("conv", (depthwise,), channels, relu=True))

    channels = rng.choice([8, 12])
    before = last = add(Layer("conv", (INPUT,), channels, (3, 3), (2, 2), relu=True))
    for _ in range(rng.randint(1, 2)):
        nodes = [add(Layer("conv", (x,), channels, relu=True)) for x in (before, last)]
        for _ in range(rng.randint(2, 3)):
            one, other = rng.sample(nodes, 2)
            nodes.append(add(Layer("add", (edge(one, channels), edge(other, channels)))))
        before, last = last, add(Layer("concatenation", tuple(nodes[2:])))
    height, width = Network((30, 10, 1), tuple(layers)).output_shape[:2]
    pooled = add(Layer("average_pool", (last,), kernel=(height, width), stride=(height, width), padding="valid"))
    add(Layer("fully_connected", (pooled,), 12))
    return alive(Network((30, 10, 1), tuple(layers)))
