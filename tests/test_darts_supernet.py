"""The darts supernet: its parts, that its networks are the built ones, that its costs have true gradients."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.darts.cost_table import tabulate_darts
from hil_nas.nas.darts.expected import (
    DartsExpectedCost,
    edge_shares,
    operator_shares,
    skip_share,
)
from hil_nas.nas.darts.genotype import CHOICES, Cell, DartsGenotype, Edge
from hil_nas.nas.darts.space import CELL_KINDS, NONE, OPERATORS, SKIP, DartsSpace
from hil_nas.nas.darts.supernet import (
    DartsArchitecture,
    DartsProbabilities,
    DartsSupernet,
    Mixture,
    _Edge,
    _Separable,
    shuffled,
)
from hil_nas.training.network_module import Convolution, Dense, NetworkModule
from tests.test_darts_space import random_genotype
from tests.test_nas_space import toy_cycles

SMALL = DartsSpace((Mfcc(640, 320, 40, 10), Mfcc(400, 160, 40, 10)), classes=5, cells=3, nodes=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features(space: DartsSpace, batch: int) -> list[Tensor]:
    """Per configuration (coefficients, batch, frames)."""
    return [torch.randn(c.coefficients, batch, c.frames, generator=generator()) for c in space.configs]


def random_probabilities(space: DartsSpace, seed: int) -> DartsProbabilities:
    net = DartsArchitecture(space, generator(seed)).double()
    with torch.no_grad():
        net.alpha.normal_(generator=generator(seed))
        net.beta.normal_(generator=generator(seed + 1))
    gamma = torch.rand(len(space.configs), generator=generator(seed), dtype=torch.float64)
    return net.probabilities(gamma / gamma.sum())


@pytest.mark.parametrize("align", ["pad", "conv"])
def test_all_configurations_flow_alone_and_mixed(align: str) -> None:
    space = DartsSpace(paper_grid(), classes=35, align=align, cells=3, nodes=2)  # type: ignore[arg-type]
    net = DartsSupernet(space, generator())
    inputs = features(space, 2)
    loss = net(net.alignment(inputs), net.architecture.mixture()).square().sum()
    loss.backward()
    assert net.alignment.gamma.grad is not None and net.alignment.gamma.grad.abs().min() > 0
    assert all(x.grad is not None for x in net.parameters())
    for config, x in enumerate(inputs):
        net.alignment.chosen = config
        assert net(net.alignment([x]), net.architecture.draw(generator(config), 1)).shape == (2, 35)


def mixture_of(genotype: DartsGenotype, space: DartsSpace) -> Mixture:
    """The two edges of every node at weight 1, each with its operator alone."""
    shape = (len(CELL_KINDS), len(space.edges))
    operators, edges = torch.zeros(*shape, len(OPERATORS)), torch.zeros(shape)
    run: list[list[tuple[int, ...]]] = [[()] * len(space.edges) for _ in CELL_KINDS]
    for k, kind in enumerate(CELL_KINDS):
        for node, pair in enumerate(genotype.cell(kind).nodes):
            for edge in pair:
                edge_index, index = space.edges_of(node)[edge.source], OPERATORS.index(edge.operator)
                operators[k, edge_index, index] = edges[k, edge_index] = 1.0
                run[k][edge_index] = (index,)
    return Mixture(operators, edges, tuple(tuple(x) for x in run))


def weights_of(net: DartsSupernet, genotype: DartsGenotype, config: int) -> list[Tensor]:
    """The weights that a network has in the supernet, in the order of its layers."""
    weights = []
    if genotype.align is not None:
        weights.append(net.alignment.kernels[str(config)][:, None])  # (1, 1, time, frequency)
    weights.append(net.stem.weight)
    for cell in net.cells:
        weights += [x.weight for x in cell.entries]
        for node, pair in enumerate(genotype.cell(CELL_KINDS[cell.kind]).nodes):
            for edge in pair:
                edge_index = net.space.edges_of(node)[edge.source]
                weights += cell.edges[edge_index].operators[str(OPERATORS.index(edge.operator))].parameters()
    return [x.detach() for x in weights]


@pytest.mark.parametrize("seed", range(6))
def test_one_operator_an_edge_on_all_channels_is_the_built_network(seed: int) -> None:
    space = DartsSpace(align="conv", cells=3 + seed % 3, nodes=2 + seed % 2, classes=5)
    config = (seed * 3) % len(space.configs)
    genotype = random_genotype(space, space.configs[config], np.random.default_rng(seed))
    net = DartsSupernet(space, generator(seed), parts=1)
    built = NetworkModule(genotype.build(space.configs[config]))
    weighted = [x for x in built.layers if isinstance(x, Convolution)]
    taken = weights_of(net, genotype, config)
    with torch.no_grad():
        for layer, weight in zip(weighted, taken, strict=True):
            layer.weight.copy_(weight)
            if not layer.layer.relu:  # behind a depthwise convolution or the alignment: left to the next layer
                layer.norm.eval()
                assert layer.norm.running_var is not None
                layer.norm.running_var.fill_(1 - layer.norm.eps)
        head = built.layers[-1]
        assert isinstance(head, Dense)
        head.weight.copy_(net.head.weight)
        head.bias.copy_(net.head.bias)
    x = features(space, 3)[config]
    net.alignment.chosen = config
    expected = built(x.permute(1, 2, 0)[..., None])  # (B, frames, coefficients, 1)
    logits = net(net.alignment([x]), mixture_of(genotype, space))
    torch.testing.assert_close(logits, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_other_channels_pass_exactly(stride: int) -> None:
    edge, x = _Edge(16, stride, 4, generator()), torch.randn(2, 16, 7, 5, generator=generator())
    weights = torch.softmax(torch.randn(8, generator=generator()), 0)
    out = edge(x, weights, tuple(range(1, 8)))
    rest = (
        x[:, 4:] if stride == 1 else nn.functional.max_pool2d(nn.functional.pad(x[:, 4:], (0, 1, 0, 1), value=-9e9), 2)
    )
    # shuffled: the first of every part in turn, then the second
    parts = out.reshape(2, 4, 4, *out.shape[2:]).transpose(1, 2).reshape(out.shape)
    assert torch.equal(parts[:, 4:], rest)
    mixed = sum(weights[i] * edge.operators[str(i)](x[:, :4]) for i in range(1, 8))
    torch.testing.assert_close(parts[:, :4], mixed)
    nothing = edge(x, weights, ())  # `none` was drawn
    assert nothing.shape == out.shape
    assert not nothing[:, ::4].any()  # the mixed part, spread by the shuffle


def test_a_shuffle_deals_channels_in_turn() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1, 1)
    assert shuffled(x, 4).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert torch.equal(shuffled(shuffled(x, 4), 2), x)


def test_edge_weights_of_every_node_sum_to_1() -> None:
    space = DartsSpace(nodes=4)
    net = DartsArchitecture(space, generator())
    with torch.no_grad():
        net.beta.normal_(generator=generator())
    weights = net.edge_weights()
    for k, node in product(range(2), range(4)):
        incoming = list(space.edges_of(node))
        torch.testing.assert_close(weights[k, incoming], torch.softmax(net.beta[k, incoming], 0))
        assert float(weights[k, incoming].detach().sum()) == pytest.approx(1.0)
    assert sorted(i for node in range(4) for i in space.edges_of(node)) == list(range(len(space.edges)))


def test_alpha_beta_and_gamma_are_apart_from_the_weights() -> None:
    net = DartsSupernet(SMALL, generator())
    decide, weigh = net.architecture_parameters(), net.weight_parameters()
    assert set(decide) == {"architecture.alpha", "architecture.beta", "alignment.gamma"}
    assert not set(decide) & set(weigh) and len(decide) + len(weigh) == len(list(net.parameters()))
    assert set(decide) <= set(net.state_dict())  # a checkpoint has them


def test_drawn_operators_have_the_full_mixtures_gradient_on_average() -> None:
    net = DartsArchitecture(SMALL, generator())
    with torch.no_grad():
        net.alpha.normal_(generator=generator(1))
    gains = torch.randn(net.alpha.shape, generator=generator(2))  # what a loss would make of each operator
    (exact,) = torch.autograd.grad((net.mixture().operators * gains).sum(), net.alpha)
    random, total, count = generator(3), torch.zeros_like(exact), 4000
    for _ in range(count):
        drawn = net.draw(random, 1)
        assert torch.equal(drawn.operators.detach().sum(-1), torch.ones(2, len(SMALL.edges)))
        total += torch.autograd.grad((drawn.operators * gains).sum(), net.alpha)[0]
    assert float((total / count - exact).norm() / exact.norm()) < 0.1
    several = net.draw(random, 3)
    assert torch.allclose(several.operators.sum(-1), torch.ones(()))
    for k, e in product(range(2), range(len(SMALL.edges))):
        there = set(np.flatnonzero(several.operators[k, e].detach().numpy()).tolist())
        assert len(there) == 3 and set(several.run[k][e]) == there - {NONE}


def test_expected_cost_is_the_mean_of_drawn_networks() -> None:
    """Every pair of edges in every order and every operator, node by node: costs of nodes add up."""
    table = tabulate_darts(SMALL, toy_cycles, lambda config: config.frames * 500.0)
    chosen = random_probabilities(SMALL, 0)
    expectation = DartsExpectedCost(table, torch.float64)(chosen)
    beta, alpha = (x.detach().numpy() for x in (chosen.beta, chosen.alpha))
    for which, tables in ((0, table.cycles), (2, table.flash)):
        for g in range(2):
            total = tables.front_end[g] + tables.fixed[g]
            for k, node in product(range(2), range(SMALL.nodes)):
                incoming = SMALL.edges_of(node)
                for one, other in permutations(incoming, 2):
                    chance = beta[k, one] * beta[k, other] / (1 - beta[k, one])
                    for e in (one, other):
                        own = alpha[k, e, 1:] / alpha[k, e, 1:].sum()
                        total += chance * own @ tables.edges[g, k, e, 1:]
            assert float(expectation.by_config[which][g].detach()) == pytest.approx(total)


def test_expected_cost_has_true_gradients() -> None:
    table = tabulate_darts(SMALL, toy_cycles, lambda config: config.frames * 500.0)
    expected = DartsExpectedCost(table, torch.float64)
    net = DartsArchitecture(SMALL, generator()).double()
    logits = [torch.randn(x, generator=generator(i), dtype=torch.float64) for i, x in enumerate(
        (net.alpha.shape, net.beta.shape, (2,))
    )]  # fmt: skip

    def costs(alpha: Tensor, beta: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        sizes = [len(SMALL.edges_of(n)) for n in range(SMALL.nodes)]
        edges = torch.cat([torch.softmax(x, -1) for x in torch.split(beta, sizes, 1)], 1)
        chosen = DartsProbabilities(torch.softmax(gamma, 0), torch.softmax(alpha, -1), edges)
        expectation = expected(chosen)
        return tuple(x.log() for x in (expectation.cycles, expectation.flash_bytes))

    inputs = [x.requires_grad_() for x in logits]
    assert torch.autograd.gradcheck(costs, inputs)
    for which in range(2):
        gradients = torch.autograd.grad(costs(*inputs)[which], inputs)
        assert all(x.abs().max() > 1e-5 for x in gradients)


def test_expected_ram_rises_with_fat_edges() -> None:
    table = tabulate_darts(SMALL, toy_cycles, lambda config: 0.0)
    expected, values = DartsExpectedCost(table, torch.float64), []
    for operator in ("max_pool_3x3", "dil_conv_3x3"):
        alpha = torch.full((2, len(SMALL.edges), 8), 1e-9, dtype=torch.float64)
        alpha[:, :, OPERATORS.index(operator)] = 1.0
        beta = random_probabilities(SMALL, 0).beta
        configs = torch.tensor([0.0, 1.0], dtype=torch.float64)
        ram = float(expected(DartsProbabilities(configs, alpha, beta)).ram_bytes.detach())
        pair = (Edge(0, operator), Edge(1, operator))
        cell = Cell((pair, pair))
        exact = DartsGenotype(cell, cell, 3, 8, SMALL.align_operation(SMALL.configs[1]), 5)
        values.append(ram)
        assert 0.6 < ram / table.cost(exact, 1).ram_bytes < 1.1
    assert values[1] > 1.1 * values[0]


def test_shares_are_probabilities() -> None:
    space = DartsSpace(nodes=4)
    chosen = random_probabilities(space, 3)
    shares, operators = edge_shares(space, chosen.beta), operator_shares(chosen.alpha)
    torch.testing.assert_close(shares[:, :2], torch.ones(2, 2, dtype=torch.float64))  # a node's only two edges
    for node in range(4):
        incoming = list(space.edges_of(node))
        torch.testing.assert_close(shares[:, incoming].sum(1), torch.full((2,), 2.0, dtype=torch.float64))
    assert shares.min() > 0 and shares.max() <= 1 + 1e-9
    torch.testing.assert_close(operators.sum(-1), torch.ones_like(shares))
    assert not operators[..., NONE].any()
    certain = torch.zeros_like(chosen.beta)
    for node in range(4):
        certain[:, space.edges_of(node)[0]] = 1.0
    assert torch.isfinite(edge_shares(space, certain)).all()


def test_skip_share_tells_a_collapse() -> None:
    chosen = random_probabilities(SMALL, 0)
    alike = torch.full_like(chosen.alpha, 1 / 8)
    assert skip_share(SMALL, DartsProbabilities(chosen.configs, alike, chosen.beta)) == pytest.approx(1 / len(CHOICES))
    collapsed = torch.zeros_like(alike)
    collapsed[..., SKIP] = 1.0
    assert skip_share(SMALL, DartsProbabilities(chosen.configs, collapsed, chosen.beta)) == pytest.approx(1.0)


def test_a_separable_convolution_strides_behind_its_dilation() -> None:
    layer, x = _Separable(4, 3, (1, 2), 2, generator()), torch.randn(2, 4, 9, 6, generator=generator())
    full = nn.functional.conv2d(x, layer.depthwise, padding=2, dilation=2, groups=4)
    mixed = nn.functional.conv2d(full[:, :, ::2, ::2], layer.pointwise)
    normal = nn.functional.batch_norm(mixed, None, None, training=True, eps=1e-3)
    torch.testing.assert_close(layer(x), torch.relu(normal))
