"""What a campaign measures: networks that between them cover the kernels, and MFCC configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, product

import numpy as np

from hil_nas.baselines import ds_cnn, micronet_kws_s
from hil_nas.latency.choose import farthest_networks, spanning_networks
from hil_nas.latency.model import SLACK
from hil_nas.mfcc import MfccConfig, paper_grid
from hil_nas.nas.genotype import Arrangement, Step, TinyGenotype
from hil_nas.nas.space import Align, TinySpace
from hil_nas.network import INPUT, Layer, Network, Pair, Shape

WIDTHS = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 84, 96, 112, 128, 160, 196)
COEFFICIENTS = (10, 13, 20, 40)
CLASSES = (3, 12, 35)
ARRANGEMENTS: tuple[Arrangement, ...] = ("channels", "plane")
ALIGNMENTS: tuple[Align, ...] = ("conv", "pad")
CANDIDATES = 600  # drawn before any is chosen: the most that a campaign can measure


def front_end_configs() -> tuple[MfccConfig, ...]:
    """The paper's grid, and around it every FFT size, few and many coefficients, mel bins of every parity."""
    few = [replace(x, coefficients=y) for y in (10, 13) for x in paper_grid()]
    most = [replace(x, coefficients=x.mel_bins) for x in paper_grid() if x.mel_bins == 80]
    windows = ((128, 128), (240, 80), (256, 160), (320, 200), (480, 320), (512, 256), (800, 400), (1024, 500))
    around = _configs(windows, ((20, 13), (40, 10), (64, 64)))
    longer = _configs(((1200, 400), (2048, 1000)), ((40, 20), (80, 80)))
    # the DCT halves the mel bins while they are even; what is left decides how it goes on
    left = _configs(((400, 160), (700, 120)), ((23, 13), (26, 26), (49, 49), (60, 20), (72, 40), (79, 30)))
    return tuple(dict.fromkeys([*paper_grid(), *few, *most, *around, *longer, *left]))


def _configs(windows: Sequence[Pair], cepstra: Sequence[Pair]) -> list[MfccConfig]:
    return [MfccConfig(*window, *cepstrum) for window, cepstrum in product(windows, cepstra)]


def networks(count: int, seed: int, fits: Callable[[Network], bool]) -> list[Network]:
    """Networks to measure: published ones, those that span the spaces, then what adds most to all before.

    The list depends on the seed and the board's memory alone and a shorter one is the beginning of a longer
    one, so that a campaign can be interrupted and prolonged.

    Args:
        count: how many, at most `CANDIDATES`.
        fits: whether the board has the memory for a network.
    """
    ends = [x for x in corners() if fits(x)]
    spanning = [ends[i] for i in spanning_networks(ends, SLACK)]
    first = list(dict.fromkeys([*(x for x in published() if fits(x)), *spanning]))
    drawn = islice((x for x in draw(np.random.default_rng(seed)) if fits(x)), CANDIDATES)
    candidates = [x for x in dict.fromkeys([*ends, *drawn]) if x not in first]
    measured = [operator for network in first for operator in network.operators()]
    order = farthest_networks(candidates, count - len(first), measured)
    return [*first, *(candidates[i] for i in order)][:count]


def published() -> list[Network]:
    """Networks that everybody compares with."""
    return [ds_cnn(), micronet_kws_s(), ds_cnn((98, 40, 1))]


def every_kernel() -> list[Network]:
    """Small networks that between them run every kernel path, with channels in fours and with some left over."""
    return [_kernels(16), _kernels(7)]


def _kernels(width: int) -> Network:
    shape: Shape = (10, 8, 1)
    layers = (
        Layer("conv", (INPUT,), width, (3, 3), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3)),
        Layer("conv", (1,), width, relu=True),
        Layer("depthwise", (2,), kernel=(5, 5)),
        Layer("depthwise", (3,), kernel=(3, 3), dilation=(2, 2)),
        Layer("add", (2, 4)),
        Layer("max_pool", (5,), kernel=(3, 3)),
        Layer("concat", (5, 6)),
        Layer("avg_pool", (7,), kernel=shape[:2], stride=shape[:2], padding="valid"),
        Layer("dense", (8,), 12),
        Layer("softmax", (9,)),
    )
    return Network(shape, layers)


def corners() -> list[Network]:
    """Short chains of the spaces' own operations at their narrowest and widest on the shortest and longest maps."""
    found = []
    for arrangement, align in product(ARRANGEMENTS, ALIGNMENTS):
        space = TinySpace(arrangement=arrangement, align=align)
        ragged = max(x for x in space.widths if x % 16)  # a kernel's widest loop takes 16 channels
        lowest, highest = space.widths[0], space.widths[-1]
        configs = sorted(space.configs, key=lambda x: x.frames)
        operations = [x for x in space.operations if x.kind != "skip"]
        for config, widths in product(
            (configs[0], configs[-1]), ((lowest, lowest), (highest, highest), (highest, ragged))
        ):
            for first in range(max(len(space.stems), len(operations))):
                found.append(_corner(space, first, widths).build(config))
    return list(dict.fromkeys(found))


def _corner(space: TinySpace, first: int, widths: tuple[int, int]) -> TinyGenotype:
    """A stem and two operations, counted from `first` on, the widths taking turns."""
    operations = [x for x in space.operations if x.kind != "skip"]
    stem = space.stems[first % len(space.stems)]
    steps, scale = [Step(stem, widths[0])], stem.stride
    for number, operation in enumerate(
        (operations[first % len(operations)], operations[(first + 1) % len(operations)])
    ):
        if space.allowed(scale, operation):
            width = steps[-1].width if operation.keeps_width else widths[(number + 1) % 2]
            steps.append(Step(operation, width))
            scale = space.scale_after(scale, operation)
    return space.genotype(space.configs[0], steps[0], steps[1:])


def draw(rng: np.random.Generator) -> Iterator[Network]:
    """Networks without end, two of three from the search space and one with what that space lacks."""
    while True:
        coefficients = int(rng.choice(COEFFICIENTS))
        config = paper_grid(coefficients)[rng.integers(8)]
        if rng.integers(3) == 0:
            yield mixed_network(rng, (config.frames, coefficients, 1))
            continue
        first = int(rng.integers(len(WIDTHS) - 7))
        space = TinySpace(
            configs=paper_grid(coefficients),
            classes=int(rng.choice(CLASSES)),
            arrangement=ARRANGEMENTS[rng.integers(2)],
            align=ALIGNMENTS[rng.integers(2)],
            widths=WIDTHS[first : first + 8],
        )
        yield space.sample(rng, config)


def mixed_network(rng: np.random.Generator, shape: Shape) -> Network:
    """A stem and some cells with additions, concatenations, dilations and pools, on a map of `shape`."""
    width = 4 * int(rng.integers(2, 17)) if rng.integers(4) else int(rng.integers(6, 40))
    stem: Pair = (3, 3) if rng.integers(2) else (10, 4)
    layers = [Layer("conv", (INPUT,), width, stem, (2, 2), relu=True)]
    for _ in range(int(rng.integers(1, 4))):
        layers += _cell(rng, len(layers) - 1, width)
        width = Network(shape, tuple(layers)).output_shape[2]
    height, breadth, _ = Network(shape, tuple(layers)).output_shape
    last = len(layers) - 1
    pool = Layer("avg_pool", (last,), kernel=(height, breadth), stride=(height, breadth), padding="valid")
    head = [pool, Layer("dense", (last + 1,), int(rng.choice(CLASSES)))]
    return Network(shape, (*layers, *head, *([Layer("softmax", (last + 2,))] if rng.integers(6) == 0 else [])))


def _cell(rng: np.random.Generator, source: int, width: int) -> list[Layer]:
    """Two branches from one map, joined; what the paper's cells are made of."""
    stride: Pair = ((1, 1), (1, 1), (2, 2))[rng.integers(3)]
    first = _branch(rng, source, source + 1, width, stride)
    second = _branch(rng, source, source + 1 + len(first), width, stride)
    ends = (source + len(first), source + len(first) + len(second))
    return [*first, *second, Layer("add" if rng.integers(2) else "concat", ends)]


def _branch(rng: np.random.Generator, source: int, start: int, width: int, stride: Pair) -> list[Layer]:
    """Layers numbered from `start` that keep the width and apply the stride once."""
    size = int(rng.choice((3, 5)))
    choice = int(rng.integers(6))
    if choice < 2:  # separable, plain or dilated as in the paper's cells
        depthwise = Layer("depthwise", (source,), kernel=(size, size), stride=stride, dilation=((1, 1), (2, 2))[choice])
        return [depthwise, Layer("conv", (start,), width, relu=bool(rng.integers(2)))]
    if choice < 4:
        return [Layer("max_pool" if choice == 2 else "avg_pool", (source,), kernel=(3, 3), stride=stride)]
    kernel: Pair = ((1, 1), (3, 3))[choice - 4]
    return [Layer("conv", (source,), width, kernel, stride, relu=True)]
