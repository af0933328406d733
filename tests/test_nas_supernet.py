"""The supernet: that every network in it is the network that would be built, and that its costs have true gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.blocks.banded import averaging, depthwise, dilated_averaging, dilated_depthwise
from hil_nas.nas.blocks.shared_weights import SharedConvolution, mixed_convolution, window
from hil_nas.nas.front_ends.alignment import decided
from hil_nas.nas.input_space import Operation
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.supernet import TinySupernet
from hil_nas.network import Pair, same_padding
from hil_nas.training.network_module import Convolution, Dense, NetworkModule
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


def test_dilated_depthwise_is_the_weighted_sum_of_dilated_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(4, 2, 7, 30, generator=generator), torch.randn(4, 5, 3, generator=generator)
    scales, weights = ((1, 1), (2, 1), (2, 2), (4, 8)), torch.tensor([0.1, 0.2, 0.3, 0.4])
    expected = torch.zeros_like(x)
    for scale, share in zip(scales, weights, strict=True):
        padding = (2 * scale[0], 1 * scale[1])
        y = F.conv2d(x.permute(1, 0, 3, 2), weight[:, None], padding=padding, dilation=scale, groups=4)
        expected += share * y.permute(1, 0, 3, 2)
    torch.testing.assert_close(dilated_depthwise(x, weight, scales, weights), expected, atol=1e-4, rtol=1e-4)


def test_averaging_counts_only_frames_inside() -> None:
    x = torch.arange(5.0)[None]
    assert (x @ averaging(5, 2, 2, x.device)).tolist() == [[0.5, 2.5, 4.0]]
    assert (x @ dilated_averaging(5, 2, 2, x.device)).tolist() == [[1.0, 2.0, 3.0, 3.0, 4.0]]


@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_a_mixed_convolution_is_the_mixture_of_convolutions(stride: Pair) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 16, generator=generator), torch.randn(4, 2, 10, 4, generator=generator)
    kernels, shares = [(3, 3), (5, 3), (10, 4)], torch.tensor([0.2, 0.5, 0.3])
    expected = torch.zeros(())
    for kernel, share in zip(kernels, shares, strict=True):
        time, frequency = (same_padding(s, k, t) for s, k, t in zip((16, 9), kernel, stride, strict=True))
        padded = F.pad(x.permute(1, 0, 3, 2), (*frequency, *time))
        expected = expected + share * F.conv2d(padded, window(weight, kernel), stride=stride).permute(1, 0, 3, 2)
    actual = mixed_convolution(x, weight, kernels, stride, shares)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


# the network that is searched is the network that is built


def trained_module(net: TinySupernet, choice: Choice) -> NetworkModule:
    """The derived network as the training builds it, with the supernet's weights."""
    genotype, config = net.space.at(choice)
    module = NetworkModule(genotype.build(config)).train()
    convolutions = [x for x in module.layers if isinstance(x, Convolution)]
    dense = next(x for x in module.layers if isinstance(x, Dense))

    def fill(target: Convolution, weight: Tensor, source: SharedConvolution | None) -> None:
        channels = weight.shape[0]
        target.weight.data = weight.reshape(target.weight.shape).detach().clone()
        if source is not None:
            target.norm.weight.data = source.scale[:channels].detach().clone()
            target.norm.bias.data = source.shift[:channels].detach().clone()

    if genotype.align is not None:
        target, kernel = convolutions.pop(0), net.alignment.kernels[str(choice.config)]
        target.norm = torch.nn.Identity()  # the supernet has none here: it would be folded into what follows
        fill(target, kernel, None)
    width = genotype.stem.width
    stem = convolutions.pop(0)
    channels = net.space.aligned_shape(config)[2]
    fill(stem, window(net.stem.weight[:width, :channels], genotype.stem.operation.kernel), net.stem)
    kept = [i for i, (o, _) in enumerate(choice.chain) if _does_something(net.space, choice, i)]
    for position, step in zip(kept, genotype.chain, strict=True):
        if step.operation.kind == "separable":
            source = net.depthwise[position]
            fill(convolutions.pop(0), window(source.weight[:width], step.operation.kernel), source)
        if step.operation.kind != "pool":
            source = net.pointwise[position]
            fill(convolutions.pop(0), source.weight[: step.width, :width], source)
        width = step.width
    assert not convolutions
    dense.weight.data, dense.bias.data = net.head.weight[:, :width].detach(), net.head.bias.detach()
    return module


def _does_something(space: TinySpace, choice: Choice, position: int) -> bool:
    scale = space.stems[choice.stem[0]].stride
    for index, _ in choice.chain[:position]:
        scale = space.scale_after(scale, space.operations[index])
    operation = space.operations[choice.chain[position][0]]
    return operation.kind != "skip" and (operation.kind != "pool" or space.allowed(scale, operation))


@pytest.mark.parametrize("name", SPACES)
def test_the_searched_network_is_the_built_network(name: str) -> None:
    space = SPACES[name]
    net, inputs, rng = supernet(space), features(space), np.random.default_rng(0)
    for _ in range(12):
        choice = random_choice(space, rng)
        searched = net.path(net.alignment.aligned(choice.config, inputs[choice.config]), choice)
        # (coefficients, batch, frames) -> (batch, frames, coefficients, 1)
        built = trained_module(net, choice)(inputs[choice.config].permute(1, 2, 0)[..., None])
        torch.testing.assert_close(searched, built, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("name", SPACES)
def test_a_one_hot_mixture_is_the_path_where_nothing_strides(name: str) -> None:
    space = SPACES[name]
    net, inputs, rng = supernet(space), features(space), np.random.default_rng(0)
    stems = [i for i, x in enumerate(space.stems) if x.stride == net.base]
    straight = [i for i, x in enumerate(space.operations) if x.stride == (1, 1)]
    x = net.alignment(inputs)
    for _ in range(12):
        chain = tuple((int(rng.choice(straight)), int(rng.integers(2))) for _ in range(space.positions))
        choice = Choice(0, (int(rng.choice(stems)), int(rng.integers(2))), chain)
        mixed = net.mixture(x, net.architecture.draw_of(choice))
        torch.testing.assert_close(mixed, net.path(x, choice), atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize(("frames", "phase"), [(53, 0), (40, 1)])
def test_full_rate_with_dilation_holds_the_strided_values(frames: int, phase: int) -> None:
    """What `mixture` rests on: every second value of the dilated chain is the strided chain's, borders included."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 1, frames, generator=generator)
    first, second = torch.randn(3, 9, 1, generator=generator), torch.randn(3, 5, 1, generator=generator)
    one = torch.ones(1)
    strided = depthwise(depthwise(x, first, (2, 1)), second, (1, 1))
    full = dilated_depthwise(dilated_depthwise(x, first, [(1, 1)], one), second, [(2, 1)], one)
    torch.testing.assert_close(full[..., phase::2], strided, atol=1e-4, rtol=1e-4)
    pooled = x @ dilated_averaging(frames, 2, 1, x.device)
    torch.testing.assert_close(pooled[..., ::2], x @ averaging(frames, 2, 2, x.device))


def test_masked_channels_change_nothing() -> None:
    space = SPACES["channels"]
    net, inputs = supernet(space), features(space)
    x, draw = net.alignment(inputs), net.architecture.draw_of(Choice(0, (0, 0), ((3, 0), (4, 1), (2, 0), (3, 0))))
    before = net.mixture(x, draw)
    with torch.no_grad():
        for layer in net.pointwise:
            layer.weight[:, 12:] += 5.0  # reads channels that no position has
            layer.weight[12:] += 5.0
        net.head.weight[:, 8:] += 5.0
    torch.testing.assert_close(net.mixture(x, draw), before)


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


def test_every_alpha_and_gamma_gets_a_gradient_from_the_loss_alone() -> None:
    space = SPACES["channels"]
    net = supernet(space)
    draw = net.architecture.draw(torch.Generator().manual_seed(0), 2.0)
    loss = F.cross_entropy(net.mixture(net.alignment(features(space)), draw), torch.arange(6) % 5)
    gradients = torch.autograd.grad(loss, list(net.architecture_parameters().values()))
    for gradient in gradients:
        assert torch.isfinite(gradient).all() and (gradient != 0).float().mean() > 0.9


def test_draws_cool_from_mixtures_to_networks_and_follow_the_probabilities() -> None:
    architecture = supernet(SPACES["channels"]).architecture
    generator = torch.Generator().manual_seed(0)
    hot = architecture.draw(generator, 10.0)
    assert float(hot.kernel.detach().max()) < 0.6
    assert hot.widths.detach().unique().tolist() == [0.0, 1.0]  # a mixture of widths has every channel
    (gradient,) = torch.autograd.grad((hot.widths**2).sum(), [architecture.widths])
    assert float(gradient.abs().min()) > 0
    cold = [architecture.draw(generator, 0.01) for _ in range(400)]
    actual = torch.stack([architecture.operations_of(x, 0) for x in cold]).mean(0)
    expected = torch.softmax(architecture.operations[0], 0)
    assert (actual - expected).abs().max() < 0.08
    assert float(actual.detach().sum()) == pytest.approx(1.0, abs=1e-3)


def test_equal_gammas_favour_no_configuration() -> None:
    """The same clip under every configuration gives every gamma the same say before anything is learned."""
    space = TinySpace(configs=tuple(Mfcc(640, 320, mel, 10) for mel in (20, 40, 80)), classes=4, positions=2)
    net = supernet(space)
    same = features(space)[0]
    x = net.alignment([same, same, same])
    torch.testing.assert_close(x, net.alignment.aligned(0, same))
    draw = net.architecture.draw(torch.Generator().manual_seed(0), 1.0)
    loss = F.cross_entropy(net.mixture(x, draw), torch.arange(6) % 4)
    (gradient,) = torch.autograd.grad(loss, [net.alignment.gamma])
    assert gradient.abs().max() < 1e-6
    assert net.alignment.weights().tolist() == pytest.approx([1 / 3] * 3)


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
    assert net.alignment.configs == (0, 2)
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
