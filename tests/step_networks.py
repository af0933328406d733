"""Random networks that take one step of a stream: chains, branches and cells along time, with delay lines in them."""

from __future__ import annotations

import random

from hil_nas.network import INPUT, Layer, Network

_CHANNELS = (1, 3, 4, 8, 12, 16, 20, 33)


def step_network(seed: int) -> Network:
    """(frames, coefficients, 1) of new frames through convolutions along time, each behind a delay line, to classes."""
    rng = random.Random(seed)
    new, columns = rng.choice([1, 1, 2, 3, 4, 6]), rng.choice([1, 5, 10, 13, 40])
    layers = [Layer("reshape", (INPUT,), shape=(new, 1, columns))]
    rows, channels = new, columns
    for _ in range(rng.randint(1, 4)):
        source = len(layers) - 1
        stride = rng.choice([x for x in (1, 1, 2, 3) if rows % x == 0])
        kernel = stride + rng.randint(0, 6)
        if kernel > stride:
            rows += kernel - stride
            layers.append(Layer("delay", (source,), shape=(rows, 1, channels)))
        window = {"kernel": (kernel, 1), "stride": (stride, 1), "padding": "valid", "relu": rng.random() < 0.5}
        wide = rng.choice(_CHANNELS)
        if rng.random() < 0.5:
            layers.append(Layer("depthwise", (len(layers) - 1,), **window))
            layers.append(Layer("conv", (len(layers) - 1,), wide, relu=rng.random() < 0.8))
        else:
            layers.append(Layer("conv", (len(layers) - 1,), wide, **window))
        rows, channels = (rows - kernel) // stride + 1, wide
        if rng.random() < 0.3:  # a branch that waits for what goes through the other one's delay line
            layers += _branch(len(layers) - 1, rows, channels, rng)
    kept = rows + rng.randint(1, 20)
    layers.append(Layer("delay", (len(layers) - 1,), shape=(kept, 1, channels)))
    layers.append(Layer("average_pool", (len(layers) - 1,), kernel=(kept, 1), stride=(kept, 1), padding="valid"))
    layers.append(Layer("fully_connected", (len(layers) - 1,), rng.randint(2, 12)))
    return Network((new, columns, 1), tuple(layers))


def _branch(source: int, rows: int, channels: int, rng: random.Random) -> list[Layer]:
    """A window of 3 beside its own delay line, added to the new rows."""
    return [
        Layer("delay", (source,), shape=(rows + 2, 1, channels)),
        Layer("depthwise", (source + 1,), kernel=(3, 1), padding="valid", relu=rng.random() < 0.5),
        Layer("add", (source + 2, source)),
    ]
