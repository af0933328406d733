"""The supernet: that every network in it is the network that would be built, and that its costs have true gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hil_nas.mfcc import MfccConfig, paper_grid
from hil_nas.nas.alignment import decided
from hil_nas.nas.architecture import Probabilities
from hil_nas.nas.banded import averaging, depthwise, dilated_averaging, dilated_depthwise
from hil_nas.nas.expected import Expectation, ExpectedCost, Multipliers
from hil_nas.nas.layers import SharedConvolution, mixed_convolution, window
from hil_nas.nas.prices import Limits, price
from hil_nas.nas.space import Choice, Operation, TinySpace
from hil_nas.nas.supernet import TinySupernet
from hil_nas.network import Pair, same_padding
from hil_nas.training.module import Convolution, Dense, NetworkModule
from tests.test_nas_space import random_choice, toy_cycles

GRID = (MfccConfig(640, 320, 40, 10), MfccConfig(400, 200, 40, 10), MfccConfig(400, 100, 40, 10))
FEWER = (MfccConfig(400, 200, 40, 6), *GRID[1:])  # the first is a part of the second
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
    found = mixed_convolution(x, weight, kernels, stride, shares)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


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
    assert float(architecture.draw(generator, 10.0).widths.detach().max()) < 0.6
    cold = [architecture.draw(generator, 0.01) for _ in range(400)]
    found = torch.stack([architecture.operations_of(x, 0) for x in cold]).mean(0)
    expected = torch.softmax(architecture.operations[0], 0)
    assert (found - expected).abs().max() < 0.08
    assert float(found.detach().sum()) == pytest.approx(1.0, abs=1e-3)


def test_equal_gammas_favour_no_configuration() -> None:
    """The same clip under every configuration gives every gamma the same say before anything is learned."""
    space = TinySpace(configs=tuple(MfccConfig(640, 320, mel, 10) for mel in (20, 40, 80)), classes=4, positions=2)
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


def test_a_barred_configuration_is_never_mixed_in() -> None:
    net = TinySupernet(SPACES["channels"], torch.Generator(), allowed=(0, 2))
    assert net.alignment.configs == (0, 2)
    assert net.alignment.weights().tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_the_data_search_ends_at_twice_the_second() -> None:
    assert decided(torch.tensor([0.5, 0.3, 0.2]), 2.0) is None
    assert decided(torch.tensor([0.2, 0.6, 0.2]), 2.0) == 1
    assert decided(torch.tensor([0.30, 0.60, 0.1]), 2.0) == 1


# expected cost


def soft(space: TinySpace, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(len(space.configs),), (len(space.stems),)]
    shapes += [(1 + space.positions, len(space.widths)), (space.positions, len(space.operations))]
    return [torch.randn(*x, generator=generator, dtype=torch.float64, requires_grad=True) for x in shapes]


def probabilities(logits: list[Tensor]) -> Probabilities:
    return Probabilities(*(torch.softmax(x, -1) for x in logits))


def expectation(space: TinySpace) -> tuple[ExpectedCost, Callable[[Choice], tuple[float, float, float]]]:
    table = price(space, toy_cycles, lambda config: config.frames * 2e4, overhead_cycles=500.0)
    return ExpectedCost(table, torch.float64), lambda choice: table.cost(choice).values()


@pytest.mark.parametrize("name", SPACES)
def test_one_hot_expectation_is_the_networks_cost(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(0)
    expected, cost = expectation(space)
    for _ in range(20):
        choice = random_choice(space, rng)
        rows = [choice.config, choice.stem[0], [choice.stem[1], *(w for _, w in choice.chain)]]
        rows.append([o for o, _ in choice.chain])
        sizes = (len(space.configs), len(space.stems), len(space.widths), len(space.operations))
        hot = [F.one_hot(torch.tensor(r), n).double() for r, n in zip(rows, sizes, strict=True)]
        found = expected(Probabilities(*hot))
        cycles, ram, flash = cost(choice)
        assert float(found.cycles) == pytest.approx(cycles)
        assert float(found.flash_bytes) == pytest.approx(flash)
        assert 0.5 * ram <= float(found.ram_bytes) <= ram * 1.001  # smooth: never above the largest


def test_expected_cost_is_the_mean_over_drawn_networks() -> None:
    space = SPACES["channels"]
    expected, cost = expectation(space)
    logits = soft(space, 0)
    found = expected(probabilities(logits))
    rng, shares = np.random.default_rng(0), [torch.softmax(x, -1).detach().numpy() for x in logits]
    drawn = []
    for _ in range(3000):
        config, stem = (int(rng.choice(len(x), p=x)) for x in shares[:2])
        widths, operations = ([int(rng.choice(len(x), p=x)) for x in rows] for rows in shares[2:])
        drawn.append(cost(Choice(config, (stem, widths[0]), tuple(zip(operations, widths[1:], strict=True)))))
    cycles, _, flash = np.mean(drawn, 0)
    spread = np.std(drawn, 0) / np.sqrt(len(drawn))
    assert abs(float(found.cycles.detach()) - cycles) < 4 * spread[0]
    assert abs(float(found.flash_bytes.detach()) - flash) < 4 * spread[2]


@pytest.mark.parametrize("name", ["channels", "plane"])
@pytest.mark.parametrize("resource", ["cycles", "ram_bytes", "flash_bytes"])
def test_gradients_of_expected_cost_are_its_finite_differences(name: str, resource: str) -> None:
    space = SPACES[name]
    expected, _ = expectation(space)

    def scaled(*logits: Tensor) -> Tensor:
        value: Tensor = getattr(expected(probabilities(list(logits))), resource)
        return value / 1e4

    if resource == "ram_bytes":  # the smooth maximum's weights are scaled by a constant taken from the largest
        logits = soft(space, 1)
        gradients = torch.autograd.grad(scaled(*logits), logits)
        step = -1e-4
        moved = [x.detach() + step * g for x, g in zip(logits, gradients, strict=True)]
        assert float(scaled(*moved)) < float(scaled(*logits).detach())
        return
    assert torch.autograd.gradcheck(scaled, soft(space, 1), eps=1e-5, atol=1e-5)


# multipliers


def held_after(limits: Limits, floor: float, steps: int = 500) -> tuple[float, float]:
    """Gradient descent with dual ascent on a toy where more cycles always help; expected cycles before and after."""
    space = TinySpace(configs=GRID[:2], classes=4, positions=3, widths=(8, 16, 24))
    table = price(space, toy_cycles, lambda config: 2e4)
    expected = ExpectedCost(table)
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(x.shape, generator=generator).requires_grad_() for x in soft(space, 0)]
    optimizer = torch.optim.Adam(logits, 0.05)
    start = expected(probabilities(logits))
    multipliers = Multipliers(limits, floor, float(start.cycles.detach()), 0.05)
    taste = [torch.randn(x.shape, generator=generator) for x in logits]
    for _ in range(steps):
        chosen = probabilities(logits)
        found: Expectation = expected(chosen)
        rows = (chosen.configs, chosen.stem, chosen.widths, chosen.operations)
        loss = sum(((x * t).sum() for x, t in zip(rows, taste, strict=True)), torch.zeros(()))
        optimizer.zero_grad()
        (loss + multipliers.penalty(found)).backward()
        optimizer.step()
        multipliers.ascend(found)
    return float(start.cycles.detach()), float(expected(probabilities(logits)).cycles.detach())


def test_dual_ascent_holds_the_band() -> None:
    start, free = held_after(Limits(), 0.0)
    assert free > 0.3 * start
    _, held = held_after(Limits(cycles=0.6 * free), 0.0)
    assert held <= 0.6 * free * 1.02
    _, lifted = held_after(Limits(cycles=1.6 * free), 0.9)
    assert lifted >= min(start, 0.9 * 1.6 * free) * 0.97


def test_the_floor_pulls_at_the_network_and_not_at_the_front_end() -> None:
    space = TinySpace(configs=GRID[:2], classes=4, positions=3, widths=(8, 16, 24))
    expected = ExpectedCost(price(space, toy_cycles, lambda config: config.frames * 1e5))
    logits = [x.detach().float().requires_grad_() for x in soft(space, 0)]
    found = expected(probabilities(logits))
    multipliers = Multipliers(Limits(cycles=1e12), 0.5, 1e12, 1.0)
    multipliers.ascend(found)
    assert multipliers.state[:3] == [0.0, 0.0, 0.0] and multipliers.state[3] > 0
    gradients = torch.autograd.grad(multipliers.penalty(found), logits, allow_unused=True)
    assert gradients[0] is None or float(gradients[0].abs().max()) == 0.0
    assert all(float(g.abs().max()) > 0 for g in gradients[1:] if g is not None)


def test_a_stem_reads_what_alignment_gives() -> None:
    for space in (TinySpace(), TinySpace(align="pad"), TinySpace(configs=paper_grid(10), arrangement="plane")):
        shapes = {space.aligned_shape(x)[2] for x in space.configs}
        assert len(shapes) == 1
    grid = TinySpace()
    frames = [grid.aligned_shape(x)[0] for x in grid.configs]
    assert frames == [53, 53, 79, 79, 49, 49, 49, 49]
    assert grid.align_operation(grid.configs[0]) == Operation("conv", (5, 1), (3, 1))
    assert grid.align_operation(grid.configs[-1]) is None
