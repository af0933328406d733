"""Costs against the lowering, against CMSIS-NN's own sources compiled here, and against published numbers."""

from __future__ import annotations

import random

import pytest

from hil_nas.cost import arena, arena_bytes, network_macs, operator_macs, parameters, plan_buffers, plan_bytes
from hil_nas.cost.arena import Buffer
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.network import INPUT, Layer, Network


def ds_cnn(frames: int = 49, coefficients: int = 10, channels: int = 64, blocks: int = 4) -> Network:
    """MLPerf Tiny's DS-CNN, from its published description."""
    layers = [Layer("conv", (INPUT,), channels, (10, 4), (2, 2), relu=True)]
    for _ in range(blocks):
        layers.append(Layer("depthwise", (len(layers) - 1,), kernel=(3, 3), relu=True))
        layers.append(Layer("conv", (len(layers) - 1,), channels, relu=True))
    height, width = -(-frames // 2), -(-coefficients // 2)
    window = (height, width)
    layers.append(Layer("avg_pool", (len(layers) - 1,), kernel=window, stride=window, padding="valid"))
    layers.append(Layer("dense", (len(layers) - 1,), 12))
    return Network((frames, coefficients, 1), tuple(layers))


def random_network(seed: int) -> Network:
    """A branched network of all kinds; adds and concatenations join whatever shapes fit."""
    rng = random.Random(seed)
    shape = (rng.randint(5, 30), rng.randint(3, 12), rng.choice([1, 3, 4]))
    layers: list[Layer] = []
    while len(layers) < rng.randint(3, 14):
        network = Network(shape, tuple(layers)) if layers else None
        shapes = {INPUT: shape, **dict(enumerate(network.shapes if network else ()))}
        source = rng.choice([INPUT, *range(len(layers))][-4:])
        height, width, channels = shapes[source]
        kernel = (rng.randint(1, 5), rng.randint(1, 3))
        stride = (rng.randint(1, 2), rng.randint(1, 2))
        dilation = (rng.randint(1, 2), 1) if stride == (1, 1) else (1, 1)
        kind = rng.choice(["conv", "conv", "depthwise", "avg_pool", "max_pool", "add", "concat", "reshape"])
        relu = rng.random() < 0.5
        mates = [i for i, x in shapes.items() if x[:2] == (height, width) and i != source]
        if kind == "conv":
            layers.append(Layer("conv", (source,), rng.randint(1, 20), kernel, stride, dilation, relu=relu))
        elif kind == "depthwise":
            layers.append(Layer("depthwise", (source,), 0, kernel, stride, dilation, relu=relu))
        elif kind in ("avg_pool", "max_pool"):
            layers.append(Layer(kind, (source,), 0, kernel, stride))  # type: ignore[arg-type]
        elif kind == "reshape":
            layers.append(Layer("reshape", (source,), shape=(height * width, 1, channels)))
        elif kind == "concat" and mates:
            layers.append(Layer("concat", (source, rng.choice(mates))))
        elif kind == "add" and any(shapes[i] == shapes[source] for i in mates):
            layers.append(Layer("add", (source, next(i for i in mates if shapes[i] == shapes[source])), relu=relu))
    layers.append(Layer("dense", (len(layers) - 1,), 12))
    if rng.random() < 0.3:
        layers.append(Layer("softmax", (len(layers) - 1,)))
    return Network(shape, tuple(layers))


@pytest.mark.parametrize("seed", range(60))
def test_a_networks_arena_and_blob_are_those_of_its_plan(seed: int) -> None:
    network = random_network(seed)
    plan = lower(random_graph(network, seed))
    assert arena_bytes(network) == plan.arena_bytes
    assert plan_bytes(network) == len(plan.to_bytes())


def test_the_reference_network_costs_what_is_published() -> None:
    network = ds_cnn()
    assert network_macs(network) == 2_656_768  # MLPerf Tiny's keyword spotting model
    assert parameters(network) == 22_604
    assert arena_bytes(network) == 8_000 + 8_000 + 1_152  # two maps of 25 x 5 x 64 and the depthwise column


def test_only_multiplying_kinds_have_macs() -> None:
    operators = {x.layer.kind: operator_macs(x) for x in ds_cnn().operators()}
    assert operators["avg_pool"] == 0
    assert operators["depthwise"] == 25 * 5 * 64 * 9
    assert operators["dense"] == 64 * 12


@pytest.mark.parametrize("seed", range(40))
def test_buffers_that_live_together_never_overlap(seed: int) -> None:
    rng = random.Random(seed)
    buffers = []
    for _ in range(rng.randint(1, 40)):
        first = rng.randint(0, 20)
        buffers.append(Buffer(rng.randint(1, 5000), first, first + rng.choice([0, 1, 1, 2, 7])))
    layout = plan_buffers(buffers)
    spans = [(o, o + arena.aligned(b.size_bytes)) for o, b in zip(layout.offsets, buffers, strict=True)]
    assert layout.peak_bytes == max(end for _, end in spans)
    assert all(start % 16 == 0 for start, _ in spans)
    for i, one in enumerate(buffers):
        for j, other in enumerate(buffers[:i]):
            if one.first <= other.last and other.first <= one.last:
                assert spans[i][1] <= spans[j][0] or spans[j][1] <= spans[i][0]
    assert plan_buffers(buffers) == layout


@pytest.mark.parametrize("seed", range(20))
def test_a_chain_takes_no_more_than_its_largest_step(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randint(1, 9000) for _ in range(rng.randint(2, 12))]
    scratch = [rng.choice([0, 100, 1000]) for _ in sizes[1:]]
    steps = [arena.Step((i,), i + 1, x) for i, x in enumerate(scratch)]
    plan = arena.plan_steps(dict(enumerate(sizes)), steps, 0, len(sizes) - 1)
    needed = (sum(map(arena.aligned, (a, b, s))) for a, b, s in zip(sizes[:-1], sizes[1:], scratch, strict=True))
    assert plan.arena_bytes == max(needed)
