"""What is drawn inside the band of the limits, and the gradient that follows from it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import Reading
from hil_nas.nas.tiny.band import Band, Chains
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.expected import average_cycles
from hil_nas.nas.tiny.space import Choice, TinySpace
from hil_nas.nas.tiny.strategy import TinyStrategy
from tests.test_nas_search import QUICK, SPACE
from tests.test_nas_space import toy_cycles

NOTHING = np.zeros(len(SPACE.configs))


@pytest.fixture(scope="module")
def cost_table() -> CostTable:
    return tabulate(
        SPACE, toy_cycles, lambda config: config.frames * 1e3, front_end_ram_bytes=lambda config: 100 * config.frames
    )


def every_chain(space: TinySpace = SPACE) -> Chains:
    stems, widths, operations = (range(len(x)) for x in (space.stems, space.widths, space.operations))
    count = space.positions
    rows = product(stems, product(widths, repeat=1 + count), product(operations, repeat=count))
    stem, width, operation = zip(*rows, strict=True)
    return Chains(np.array(stem), np.array(width), np.array(operation))


def test_many_chains_cost_what_each_costs_in_the_table(cost_table: CostTable) -> None:
    chains = every_chain()
    band = Band(cost_table, Limits(), 0.6, NOTHING)
    own = np.array([x.front_end[2] for x in (cost_table.cycles, cost_table.ram, cost_table.flash)])
    costs, there = band.costs(2, chains)
    for i in np.random.default_rng(0).choice(len(costs), 300, replace=False):
        choice = chains.choice(2, i)
        np.testing.assert_allclose(costs[i] + own, cost_table.cost(choice).values())
        assert there[i] == _strides_are_taken(choice)
    assert 0 < there.sum() < len(there)


def _strides_are_taken(choice: Choice) -> bool:
    scale = SPACE.stems[choice.stem[0]].stride[0]
    for operation, _ in choice.chain:
        scale *= SPACE.operations[operation].stride[0]
    return scale <= SPACE.max_scale[0]


@pytest.mark.parametrize("limits", [Limits(cycles=9e4), Limits(cycles=9e4, ram_bytes=3000), Limits(flash_bytes=900)])
def test_what_is_picked_lies_in_the_band(cost_table: CostTable, limits: Limits) -> None:
    band = Band(cost_table, limits, 0.6, average_cycles(cost_table))
    chains, rng, filled = every_chain(), np.random.default_rng(0), 0
    for config in range(len(SPACE.configs)):
        for _ in range(50):
            rows = rng.choice(len(chains.stem), 64, replace=False)
            drawn = Chains(chains.stem[rows], chains.widths[rows], chains.operations[rows])
            cost = cost_table.cost(drawn.choice(config, band.pick(config, drawn, rng.random())))
            held = [x for x in (drawn.choice(config, i) for i in range(64)) if _strides_are_taken(x)]
            assert limits.held_by(cost) == any(limits.held_by(cost_table.cost(x)) for x in held)
            if limits.held_by(cost) and limits.cycles is not None and limits.ram_bytes is None:
                own = cost.cycles - cost_table.cycles.front_end[config]
                left = limits.cycles - cost_table.cycles.front_end[config]
                assert own >= min(0.6 * left, average_cycles(cost_table)[config])
                filled += 1
    assert filled > 100 or limits.ram_bytes or limits.flash_bytes


def test_outside_the_band_the_fullest_is_picked_and_else_what_breaks_least(cost_table: CostTable) -> None:
    chains = every_chain()
    costs, there = Band(cost_table, Limits(), 0.6, NOTHING).costs(0, chains)
    front_end, order = cost_table.cycles.front_end[0], np.argsort(costs[:, 0], kind="stable")
    order = order[there[order]]
    few = Chains(*(x[order[[0, 5, 9]]] for x in (chains.stem, chains.widths, chains.operations)))
    high = np.full(len(SPACE.configs), np.inf)
    roomy, tight = (Limits(cycles=float(front_end + x * costs[order[9], 0])) for x in (3.0, 0.1))
    assert Band(cost_table, roomy, 0.6, high).pick(0, few, 0.5) == 2
    assert Band(cost_table, tight, 0.6, high).pick(0, few, 0.5) == 0


def test_networks_are_drawn_by_their_parameters_and_for_the_weights_evenly_over_depths(cost_table: CostTable) -> None:
    chains, limits, worth = every_chain(), Limits(cycles=9e4), 3e-3
    plain = Band(cost_table, limits, 0.6, average_cycles(cost_table))
    sizes, (costs, there) = plain.parameters(1, chains), plain.costs(1, chains)
    for i in (0, 17, 99):
        assert sizes[i] == cost_table.network_parameters(chains.choice(1, i))
    left = 9e4 - cost_table.cycles.front_end[1]
    floor = min(0.6 * left, average_cycles(cost_table)[1])
    inside = np.flatnonzero(there & (costs[:, 0] <= left) & (costs[:, 0] >= floor))
    weighted = np.array([not x.keeps_width for x in SPACE.operations])
    depth = weighted[chains.operations].sum(1)
    chances = (np.arange(4000) + 0.5) / 4000

    band = Band(cost_table, limits, 0.6, average_cycles(cost_table), worth)
    shares = np.exp(worth * sizes[inside])
    drawn = np.array([band.pick(1, chains, x) for x in chances])
    np.testing.assert_allclose(sizes[drawn].mean(), np.average(sizes[inside], weights=shares), rtol=0.01)
    even = depth[[band.pick(1, chains, x, depths=True) for x in chances]]
    there_are = np.unique(depth[inside])
    assert len(there_are) > 1
    for x in there_are:
        assert (even == x).mean() == pytest.approx(1 / len(there_are), abs=0.01)


def test_weights_are_drawn_evenly_and_decisions_by_what_is_preferred(cost_table: CostTable) -> None:
    """Alpha and gamma that prefer one network change nothing of what the weights are trained on."""
    limits, device = Limits(cycles=2e5), torch.device("cpu")
    undecided, decided = (
        TinyStrategy(cost_table, QUICK, limits, torch.Generator().manual_seed(0), device) for _ in range(2)
    )
    with torch.no_grad():
        decided.net.alignment.gamma[1] = 12.0
        for x in decided.net.architecture.parameters():
            x[..., 1] = 12.0
    reading = Reading((1,), [], torch.zeros(0), lambda: None)  # type: ignore[arg-type,return-value]
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    read: list[list[int]] = [[], []]
    chains: list[list[Choice]] = [[], []]
    for strategy, generator, configs, networks in zip((undecided, decided), generators, read, chains, strict=True):
        for _ in range(300):
            configs += strategy.reads("train", generator)
            networks.append(strategy.drawn(1, reading, generator))
    assert read[0] == read[1] and chains[0] == chains[1]
    shares = np.bincount(read[0], minlength=len(SPACE.configs)) / 300
    np.testing.assert_allclose(shares, 1 / len(SPACE.configs), atol=0.1)
    assert set(decided.reads("validation", generators[1])) == {1}
    preferred = [x for _ in range(13) for x in decided.chosen(1, reading, generators[1])[0]]
    assert sum(x.stem[0] == 1 for x in preferred) > 45 > sum(x.stem[0] == 1 for x in chains[1][:50])


def test_weights_go_on_under_all_front_ends_once_one_is_settled(cost_table: CostTable) -> None:
    """Half of their steps are its own."""
    generator = torch.Generator().manual_seed(0)
    strategy = TinyStrategy(cost_table, QUICK, Limits(cycles=2e5), generator, torch.device("cpu"))
    strategy.net.alignment.chosen = 1
    read = [x for _ in range(600) for x in strategy.reads("train", generator)]
    np.testing.assert_allclose(np.bincount(read) / 600, [1 / 6, 4 / 6, 1 / 6], atol=0.06)
    assert set(strategy.reads("validation", generator)) == {1}


def test_where_no_regular_chain_fills_the_limit_alpha_has_one_of_another_kind(cost_table: CostTable) -> None:
    """So in a space without separable convolutions."""
    space = replace(SPACE, operations=tuple(x for x in SPACE.operations if x.kind != "separable"))
    table, limits = tabulate(space, toy_cycles, lambda config: config.frames * 1e3), Limits(cycles=9e4)
    strategy = TinyStrategy(table, QUICK, limits, torch.Generator().manual_seed(0), torch.device("cpu"))
    reading = Reading((1,), [], torch.zeros(0), lambda: None)  # type: ignore[arg-type,return-value]
    networks, logs = strategy.chosen(1, reading, torch.Generator().manual_seed(1))
    assert len(set(networks)) == 1 and limits.held_by(table.cost(networks[0])) and not logs.any()
    for leading in range(len(space.configs)):
        with torch.no_grad():
            strategy.net.alignment.gamma.copy_(0.1 * (torch.arange(len(space.configs)) == leading))
        derived = strategy.derive(1.0, limits)
        assert derived.config == leading and limits.held_by(table.cost(derived))
