"""The supernet: that every network in it is the network that would be built, and that its costs have true gradients."""

from __future__ import annotations

from itertools import product
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.blocks.banded import averaging, depthwise
from hil_nas.nas.front_ends.alignment import decided
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.architecture import Architecture
from hil_nas.nas.tiny.band import Chains
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.supernet import TinySupernet
from hil_nas.network import Pair, same_padding
from hil_nas.training.network_module import Convolution, NetworkModule
from tests.supernet_weights import take_over
from tests.test_nas_space import random_choice

GRID = (Mfcc(640, 320, 40, 10), Mfcc(400, 200, 40, 10), Mfcc(400, 100, 40, 10))
FEWER = (Mfcc(400, 200, 40, 6), *GRID[1:])  # the first is a part of the second
SPACES = {
    "channels": TinySpace(configs=GRID, classes=5, positions=4, widths=(8, 12, 20)),
    "pad": TinySpace(configs=GRID, classes=5, positions=3, widths=(8, 12), align="pad"),
    "plane": TinySpace(configs=GRID, classes=5, positions=3, widths=(8, 12, 20), arrangement="plane"),
    "coefficients": TinySpace(configs=FEWER, classes=5, positions=3, widths=(8, 12)),
    "plane coefficients": TinySpace(configs=FEWER, classes=5, positions=2, widths=(8, 12), arrangement="plane"),
}


def supernet(space: TinySpace, seed: int = 0) -> TinySupernet:
    net = TinySupernet(space, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # batch norms that do something
        for name, parameter in net.named_parameters():
            if name.endswith(("scale", "shift")):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return net


def features(space: TinySpace, batch: int = 6, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(x.coefficients, batch, x.frames, generator=generator) for x in space.configs]


# torch's own convolution as the oracle for the banded products


@pytest.mark.parametrize("kernel", [(9, 1), (3, 3), (5, 3), (10, 4)])
@pytest.mark.parametrize(("bands", "frames", "stride"), [(1, 53, (2, 1)), (20, 49, (2, 2)), (5, 40, (1, 1))])
def test_depthwise_is_a_convolution_with_tflites_padding(kernel: Pair, bands: int, frames: int, stride: Pair) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, bands, frames, generator=generator)
    weight = torch.randn(6, *kernel, generator=generator)
    time, frequency = (same_padding(s, k, t) for s, k, t in zip((frames, bands), kernel, stride, strict=True))
    padded = F.pad(x.permute(1, 0, 3, 2), (*frequency, *time))
    expected = F.conv2d(padded, weight[:, None], stride=stride, groups=6).permute(1, 0, 3, 2)
    torch.testing.assert_close(depthwise(x, weight, stride), expected, atol=1e-4, rtol=1e-4)


def test_averaging_counts_only_frames_inside() -> None:
    x = torch.arange(5.0)[None]
    assert (x @ averaging(5, 2, 2, "same", x.device)).tolist() == [[0.5, 2.5, 4.0]]


# the network that is searched is the network that is built


@pytest.mark.parametrize("name", SPACES)
def test_the_searched_network_is_the_built_network(name: str) -> None:
    """The oracle is the module that trains the built network, with the supernet's weights for it."""
    space = SPACES[name]
    net, inputs, rng = supernet(space), features(space), np.random.default_rng(0)
    for _ in range(12):
        choice = random_choice(space, rng)
        genotype, config = space.at(choice)
        module = NetworkModule(genotype.build(config)).train()
        spread = torch.rand(config.columns, generator=torch.Generator().manual_seed(2)) + 0.5
        if space.arrangement == "plane":  # frequency is no channel there: the stem cannot take the spread over
            spread = torch.ones(config.columns)
        take_over(module, net, choice, spread)
        if genotype.align is not None:
            aligned = next(x for x in module.layers if isinstance(x, Convolution))
            aligned.norm = torch.nn.Identity()  # the supernet has none here: it would be folded into what follows
            spread = torch.ones(config.columns)
        x = inputs[choice.config]
        searched = net(x, choice)
        # (coefficients, batch, frames) -> (batch, frames, coefficients, 1)
        built = module((x * spread[:, None, None]).permute(1, 2, 0)[..., None])
        torch.testing.assert_close(searched, built, atol=2e-4, rtol=2e-3)


def test_one_network_has_one_set_of_weights_wherever_its_convolutions_stand() -> None:
    space = SPACES["channels"]
    net, x = supernet(space), features(space)[0]
    skip, strided = space.operations.index(Operation("skip")), space.operations.index(Operation("separable", (3, 1)))
    pointwise = space.operations.index(Operation("pointwise"))
    chains = [[strided, pointwise, skip, skip], [skip, strided, skip, pointwise], [skip, skip, strided, pointwise]]
    logits = [net(x, Choice(0, (1, 1), tuple((o, 1) for o in chain))) for chain in chains]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])
    other = net(x, Choice(0, (1, 1), tuple((o, 1) for o in (pointwise, strided, skip, skip))))
    assert not torch.allclose(logits[0], other)


def test_a_step_touches_the_weights_of_the_network_that_was_drawn_alone() -> None:
    """Its own stem, and so many convolutions as it has; the depthwise ones of this size and of rows so far apart."""
    space = SPACES["channels"]
    net, x = supernet(space), features(space)[1]
    stem = next(i for i, x in enumerate(space.stems) if x.stride == (2, 1))
    separable = space.operations.index(Operation("separable", (5, 1)))
    loss = net(x, Choice(1, (stem, 0), ((separable, 1), (0, 0), (0, 0), (0, 0)))).square().sum()
    names, parameters = zip(*net.weight_parameters().items(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    touched = {name.rpartition(".")[0] for name, x in zip(names, gradients, strict=True) if x is not None}
    kernel = "x".join(map(str, space.stems[stem].kernel))
    assert touched == {f"stems.1.{kernel}", "depthwise.0.5x1_400x1", "pointwise.0", "head"}


def test_depthwise_weights_go_by_how_far_rows_lie_apart_in_time() -> None:
    """Rows of a hop of 640 samples are those of one of 320 behind a stride; an alignment strides too."""
    configs = tuple(Mfcc(480, hop, 24, 13, fft_points=256) for hop in (320, 480, 640, 100))
    space = TinySpace(configs=configs, positions=2, widths=(8,))
    net = TinySupernet(space, torch.Generator().manual_seed(0), feasible=(0, 1, 2, 3))
    assert [space.align_operation(x) is None for x in configs] == [True, True, True, False]
    spans = {"320x1", "640x1", "1280x1", "480x1", "960x1", "1920x1", "2560x1", "300x1", "600x1", "1200x1"}
    names = {name for x in net.depthwise for name in cast(torch.nn.ModuleDict, x)}
    assert names == {f"{kernel}x1_{span}" for kernel in (3, 5, 9, 15) for span in spans}


# alpha and gamma


def test_architecture_and_weights_are_disjoint_and_complete() -> None:
    net = supernet(SPACES["channels"])
    architecture, weights = net.architecture_parameters(), net.weight_parameters()
    assert set(architecture) == {
        "alignment.gamma", "architecture.stem", "architecture.widths", "architecture.operations",
    }  # fmt: skip
    assert not set(architecture) & set(weights)
    assert set(architecture) | set(weights) == {name for name, _ in net.named_parameters()}
    assert set(net.state_dict()) >= set(architecture)  # a checkpoint holds them


def test_draws_follow_the_probabilities() -> None:
    architecture = supernet(SPACES["channels"]).architecture
    with torch.no_grad():
        for x in architecture.parameters():
            x.copy_(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    now = architecture.probabilities(torch.ones(1))
    drawn = now.drawn(20_000, torch.Generator().manual_seed(0))
    for rows, indices in ((now.stem[None], drawn.stem[:, None]), (now.widths, drawn.widths),
                          (now.operations, drawn.operations)):  # fmt: skip
        for row, column in zip(rows.detach().numpy(), indices.T, strict=True):
            np.testing.assert_allclose(np.bincount(column, minlength=len(row)) / len(column), row, atol=0.02)


def test_the_probability_of_a_network_is_that_of_drawing_it() -> None:
    """The oracle sums over all chains of a small space; the widths of skips and pools say nothing."""
    space = TinySpace(configs=GRID[:1], positions=2, widths=(4, 8), stems=(Operation("conv", (3, 1)),),
                      operations=(Operation("skip"), Operation("pointwise")))  # fmt: skip
    architecture = Architecture(space)
    with torch.no_grad():
        for x in architecture.parameters():
            x.copy_(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    networks = {
        (stem, tuple((o, w if o else 0) for o, w in chain))
        for stem in range(2) for chain in product(product(range(2), range(2)), repeat=2)
    }  # fmt: skip
    logs = architecture.log_probabilities(Chains.of([Choice(0, (0, stem), chain) for stem, chain in networks]))
    assert float(logs.detach().exp().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", ["coefficients", "plane coefficients"])
def test_fewer_coefficients_are_mixed_in_at_their_places(name: str) -> None:
    net = supernet(SPACES[name])
    with torch.no_grad():
        net.alignment.gamma.copy_(torch.tensor([2.0, 1.0, -torch.inf]))
    more = features(SPACES[name])[1]
    mixed = net.alignment([more[:6], more, torch.zeros(10, 6, 157)])
    alone = net.alignment.aligned(1, more)
    weights = net.alignment.weights()
    axis = 0 if name == "coefficients" else 2
    first, last = (x.narrow(axis, 0, 6) for x in (mixed, alone))
    torch.testing.assert_close(first[..., :79], last)
    first, last = (x.narrow(axis, 6, 4) for x in (mixed, alone))
    torch.testing.assert_close(first[..., :79], weights[1] * last)


def test_a_masked_configuration_is_never_mixed_in() -> None:
    net = TinySupernet(SPACES["channels"], torch.Generator(), feasible=(0, 2))
    assert net.alignment.configs == (0, 2) and set(net.stems) == {"0", "2"}
    assert net.alignment.weights().tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_the_data_search_ends_at_twice_the_second() -> None:
    assert decided(torch.tensor([0.5, 0.3, 0.2]), 2.0) is None
    assert decided(torch.tensor([0.2, 0.6, 0.2]), 2.0) == 1
    assert decided(torch.tensor([0.30, 0.60, 0.1]), 2.0) == 1


def test_a_stem_reads_what_alignment_gives() -> None:
    for space in (TinySpace(), TinySpace(align="pad"), TinySpace(configs=paper_grid(10), arrangement="plane")):
        shapes = {space.aligned_shape(x)[2] for x in space.configs}
        assert len(shapes) == 1
    grid = TinySpace()
    frames = [grid.aligned_shape(x)[0] for x in grid.configs]
    assert frames == [53, 53, 79, 79, 49, 49, 49, 49]
    assert grid.align_operation(grid.configs[0]) == Operation("conv", (5, 1), (3, 1))
    assert grid.align_operation(grid.configs[-1]) is None
