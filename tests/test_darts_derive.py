"""Prices of the darts space against the networks' own figures, and derivation against trying everything."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.errors import InfeasibleError, InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.darts.cost_table import DartsCostTable, tabulate_darts
from hil_nas.nas.darts.derive import (
    DartsPreference,
    answers,
    derive_darts,
    feasible_darts_configs,
    most_preferred,
)
from hil_nas.nas.darts.genotype import Cell, DartsGenotype, Edge
from hil_nas.nas.darts.space import OPERATORS as ALL
from hil_nas.nas.darts.space import DartsSpace
from tests.test_darts_space import random_genotype
from tests.test_nas_space import toy_cycles

GRID = (Mfcc(640, 320, 40, 10), Mfcc(400, 200, 40, 10))
SPACE = DartsSpace(GRID, classes=4, cells=3, nodes=2, channels=8)


@pytest.fixture(scope="module")
def cost_table() -> DartsCostTable:
    return tabulate_darts(
        SPACE, toy_cycles, lambda config: config.frames * 500.0, overhead_cycles=-77.0,
        front_end_ram_bytes=lambda config: 10 * config.frames, front_end_flash_bytes=lambda config: config.frames,
    )  # fmt: skip


def preference(seed: int, space: DartsSpace = SPACE) -> DartsPreference:
    rng = np.random.default_rng(seed)
    shapes = ((len(space.configs),), (2, len(space.edges), 8), (2, len(space.edges)))
    logs = [rng.normal(size=x) for x in shapes]
    return DartsPreference(*(np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True))) for x in logs))


@pytest.mark.parametrize("align", ["pad", "conv"])
def test_costs_are_the_networks_own(align: str) -> None:
    space = DartsSpace(align=align, cells=4, nodes=3)  # type: ignore[arg-type]
    table = tabulate_darts(space, toy_cycles, lambda config: config.frames * 2e4, overhead_cycles=5000.0)
    rng, merged = np.random.default_rng(0), 0
    for trial in range(24):
        config = trial % len(space.configs)
        genotype = random_genotype(space, space.configs[config], rng)
        network = genotype.build(space.configs[config])
        own = [x for x in network.operators() if x.layer.kind != "reshape"]
        cost = table.cost(genotype, config)
        assert cost.cycles == pytest.approx(toy_cycles(own).sum() + 5000 + space.configs[config].frames * 2e4)
        assert (cost.ram_bytes, cost.flash_bytes) == (arena_bytes(network), plan_bytes(network))
        sums = table.cycles.of(genotype, config, space), table.flash.of(genotype, config, space)
        exact = table.network_cycles(network), plan_bytes(network)
        if len(network.layers) == _unmerged_layers(genotype) + _fixed_layers(genotype):
            assert sums == pytest.approx(exact)
        else:
            merged += 1
            assert sums[0] > exact[0] and sums[1] > exact[1]
    assert merged < 16  # the others were compared exactly


def _unmerged_layers(genotype: DartsGenotype) -> int:
    """Layers of all edges, none shared."""
    count, incoming = 0, DartsSpace(cells=genotype.cells, nodes=3).reductions
    for index in range(genotype.cells):
        cell, stride = (genotype.reduction, 2) if index in incoming else (genotype.normal, 1)
        for edge in (x for node in cell.nodes for x in node):
            skip = 1 if stride == 2 and edge.source < 2 else 0
            count += {"sep": 4, "dil": 2, "ski": skip}.get(edge.operator[:3], 1)
    return count


def _fixed_layers(genotype: DartsGenotype) -> int:
    return (genotype.align is not None) + 1 + genotype.cells * (2 + 3 + 1) + 2


def test_without_limits_it_is_the_argmax_of_beta_times_alpha(cost_table: DartsCostTable) -> None:
    for seed in range(8):
        liked = preference(seed)
        genotype, config = derive_darts(cost_table, liked, Limits())
        assert config == int(liked.configs.argmax())
        for k, cell in enumerate((genotype.normal, genotype.reduction)):
            for node, edges in enumerate(cell.nodes):
                incoming = SPACE.edges_of(node)
                score = np.exp(liked.beta[k, incoming][:, None] + liked.alpha[k, incoming])[:, 1:]  # without none
                best = np.sort(np.argsort(score.max(1))[-2:])
                assert [x.source for x in edges] == best.tolist()
                assert [x.operator for x in edges] == [ALL[1 + int(score[s].argmax())] for s in best]


def worth(liked: DartsPreference, genotype: DartsGenotype, config: int) -> float:
    """The sum of log-probabilities over all edges that are kept."""
    total = float(liked.configs[config])
    for k, cell in enumerate((genotype.normal, genotype.reduction)):
        for node, edges in enumerate(cell.nodes):
            for edge in edges:
                edge_index = SPACE.edges_of(node)[edge.source]
                total += float(liked.beta[k, edge_index] + liked.alpha[k, edge_index, ALL.index(edge.operator)])
    return total


def best_sum(cost_table: DartsCostTable, liked: DartsPreference, config: int, cycles: float) -> float:
    """The highest preference whose sum of cycles holds: all normal cells against all reduction cells."""
    every = answers(cost_table, liked, config)
    halves = []
    for kind in (0, 1):
        nodes = [[x for x in every if (x.kind, x.node) == (kind, n)] for n in (0, 1)]
        halves.append(np.array([(a.value + b.value, a.cycles + b.cycles) for a, b in product(*nodes)]))
    one, other = halves
    other = other[np.argsort(other[:, 1])]
    left = cycles - float(cost_table.cycles.front_end[config] + cost_table.cycles.fixed[config])
    edge_index = np.searchsorted(other[:, 1], left - one[:, 1], side="right")
    best = np.concatenate([[-np.inf], np.maximum.accumulate(other[:, 0])])[edge_index]
    return float((one[:, 0] + best).max() + liked.configs[config])


def best_in_band(cost_table: DartsCostTable, liked: DartsPreference, config: int, low: float, high: float) -> float:
    """The highest preference whose sum of cycles lies between two, by trying every pair of cells."""
    every = answers(cost_table, liked, config)
    halves = []
    for kind in (0, 1):
        nodes = [[x for x in every if (x.kind, x.node) == (kind, n)] for n in (0, 1)]
        halves.append(np.array([(a.value + b.value, a.cycles + b.cycles) for a, b in product(*nodes)]))
    always = float(cost_table.cycles.front_end[config] + cost_table.cycles.fixed[config])
    best = -np.inf
    for value, cycles in halves[0]:
        sums = always + cycles + halves[1][:, 1]
        inside = halves[1][(low <= sums) & (sums <= high), 0]
        best = max(best, value + inside.max(initial=-np.inf))
    return float(best + liked.configs[config])


def test_cells_that_like_skips_use_the_budget_all_the_same() -> None:
    """Prices made skips likeliest; the network is the most preferred of those in the band below the limit."""
    space = DartsSpace(GRID[:1], classes=4, cells=3, nodes=2, channels=8)
    cost_table = tabulate_darts(space, toy_cycles, lambda config: 500.0)
    for seed in range(3):
        liked = preference(seed, space)
        liked.alpha[..., ALL.index("skip_connect")] += 3.0
        collapsed, _ = derive_darts(cost_table, liked, Limits())
        assert collapsed.skips == 8
        high = 2.0 * cost_table.cost(collapsed, 0).cycles
        genotype, _ = derive_darts(cost_table, liked, Limits(cycles=high), 0.85 * high)
        assert 0.9 * 0.85 * high <= cost_table.cost(genotype, 0).cycles <= high
        assert worth(liked, genotype, 0) >= best_in_band(cost_table, liked, 0, 0.85 * high, high) - 1e-9
        assert derive_darts(cost_table, liked, Limits(cycles=high), 1e12)[0] == collapsed  # no network needs as many


def test_derived_cells_are_the_most_preferred_whose_cycles_hold(cost_table: DartsCostTable) -> None:
    """On the first configuration by gamma that has any."""
    binding = 0
    for seed in range(6):
        liked = preference(seed)
        free, first = derive_darts(cost_table, liked, Limits())
        for share in (0.95, 0.8, 0.65):
            limits = Limits(cycles=share * cost_table.cost(free, first).cycles)
            most = float(limits.cycles or 0)
            held = [g for g in (first, 1 - first) if best_sum(cost_table, liked, g, most) > -np.inf]
            if not held:
                with pytest.raises(InfeasibleError):
                    derive_darts(cost_table, liked, limits)
                continue
            cells, chosen = derive_darts(cost_table, liked, limits)
            assert chosen == held[0] and limits.held_by(cost_table.cost(cells, chosen))
            assert worth(liked, cells, chosen) >= best_sum(cost_table, liked, chosen, float(limits.cycles or 0)) - 1e-9
            binding += chosen == first and cells != free
    assert binding > 10


def test_where_gammas_choice_cannot_hold_the_limits_the_next_is_taken(cost_table: DartsCostTable) -> None:
    least = [_least_cycles(cost_table, g) for g in (0, 1)]
    liked, between = preference(0), Limits(cycles=sum(least) / 2)
    cheap = int(np.argmin(least))
    for preferred in (0, 1):
        liked = DartsPreference(np.where(np.arange(2) == preferred, -0.1, -2.4), liked.alpha, liked.beta)
        assert derive_darts(cost_table, liked, between)[1] == cheap


def _least_cycles(cost_table: DartsCostTable, config: int) -> float:
    least: dict[tuple[int, int], float] = {}
    for x in answers(cost_table, DartsPreference.none(SPACE), config):
        least[x.kind, x.node] = min(x.cycles, least.get((x.kind, x.node), np.inf))
    return float(cost_table.cycles.front_end[config] + cost_table.cycles.fixed[config]) + sum(least.values())


def test_every_limit_is_held(cost_table: DartsCostTable) -> None:
    rng, held = np.random.default_rng(5), 0
    costs = [cost_table.cost(random_genotype(SPACE, GRID[g], rng), g) for g in (0, 1) for _ in range(20)]
    levels = [np.quantile([x.values()[i] for x in costs], (0.1, 0.3, 0.7)) for i in range(3)]
    for seed in range(12):
        cycles, ram, flash = (float(rng.choice(x)) for x in levels)
        limits = Limits(cycles, int(ram), int(flash))
        try:
            genotype, config = derive_darts(cost_table, preference(seed), limits)
        except InfeasibleError:
            continue
        held += 1
        assert limits.held_by(cost_table.cost(genotype, config))
    assert held >= 9


def test_ram_alone_decides_cells(cost_table: DartsCostTable) -> None:
    """Dilated convolutions keep a whole map while a reduction cell halves it: a smaller arena does without."""
    pair = (Edge(0, "dil_conv_3x3"), Edge(1, "dil_conv_3x3"))
    fat = DartsGenotype(Cell((pair,) * 2), Cell((pair,) * 2), 3, 8, SPACE.align_operation(GRID[0]), 4)
    alpha = np.zeros((2, len(SPACE.edges), 8))
    alpha[:, :, ALL.index("dil_conv_3x3")] = 3.0
    beta = np.tile(np.array([0.0, 0.0, 0.0, 0.0, -1.0]), (2, 1))
    liked = DartsPreference(np.array([0.0, -50.0]), alpha, beta)
    assert most_preferred(liked, SPACE, 0) == fat
    need = cost_table.cost(fat, 0).ram_bytes
    genotype, config = derive_darts(cost_table, liked, Limits(ram_bytes=need - 1))
    assert config == 0 and genotype != fat and cost_table.cost(genotype, 0).ram_bytes < need


def test_limits_out_of_reach_name_the_nearest(cost_table: DartsCostTable) -> None:
    least = min(cost_table.cycles.front_end + cost_table.cycles.fixed)
    with pytest.raises(
        InfeasibleError, match=r"cycles [\d,]+ cycles at least .*; RAM .* at least .*; flash .* at least"
    ):
        feasible_darts_configs(cost_table, Limits(least / 2, 100, 100))
    with pytest.raises(InfeasibleError, match=r"^no network holds the limits: latency [\d.]+us at least .* is 0.5us "):
        feasible_darts_configs(cost_table, Limits(60, latency_s=0.5e-6))
    assert feasible_darts_configs(cost_table, Limits()) == (0, 1)


def test_a_masked_configuration_is_never_derived(cost_table: DartsCostTable) -> None:
    liked = preference(0)
    for config in (0, 1):
        only = DartsPreference(np.where(np.arange(2) == config, 0.0, -np.inf), liked.alpha, liked.beta)
        assert derive_darts(cost_table, only, Limits())[1] == config


def test_a_measured_ratio_corrects_the_network_alone(cost_table: DartsCostTable) -> None:
    genotype = most_preferred(preference(0), SPACE, 1)
    front_end = GRID[1].frames * 500.0
    corrected = cost_table.corrected(1.5).corrected(1.25)
    before, after = (x.cost(genotype, 1).cycles - front_end for x in (cost_table, corrected))
    assert after == pytest.approx(1.25 * before)
    assert cost_table.corrected(1.25).cycles.of(genotype, 1, SPACE) == pytest.approx(after)


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_costs_that_are_no_numbers_are_refused(cost: float) -> None:
    with pytest.raises(InputError, match="a cost is"):
        tabulate_darts(SPACE, lambda operators: np.full(len(operators), cost), lambda config: 1.0)
