"""Candidates and neighbours of the derived network: all different, all within the limits, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import torch

from hil_nas.candidates.sampling import Candidates
from hil_nas.front_ends import parse_front_end
from hil_nas.nas.costs.calibrated import Calibrated
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.protocols import View
from hil_nas.nas.tiny.cost_table import CostTable, tabulate
from hil_nas.nas.tiny.space import Choice
from hil_nas.nas.tiny.strategy import TinyStrategy
from hil_nas.network import Network
from tests.test_nas_measured import board
from tests.test_nas_search import GRID, QUICK, SPACE, cost_table, run  # noqa: F401  (cost_table is a fixture)
from tests.test_nas_space import toy_cycles


def test_candidates_hold_the_limits_as_measured_and_are_all_different(cost_table: CostTable) -> None:  # noqa: F811
    limits, settings = Limits(cycles=1.2e5, ram_bytes=900), replace(QUICK, gamma_ratio=1e9)
    requests: list[Network] = []
    result = run(cost_table, limits=limits, settings=settings, measure=board(1.1, requests))
    sampled = Candidates(result).sampled(6)
    networks = [(result.config, result.network), *((x.config, x.network) for x in sampled)]
    assert len(sampled) == 6 and len(set(networks)) == 7
    assert {network for _, network in networks} <= set(requests)
    for one in sampled:
        measured = board(1.1, [])(one.network, one.config) + one.config.frames * 1e3
        assert measured == pytest.approx(one.cost.cycles) and limits.held_by(one.cost)
        assert SPACE.contains(one.genotype, one.config)
    assert len({config for config, _ in networks}) > 1  # undecided, so other configurations have a say
    again = run(cost_table, limits=limits, settings=settings, measure=board(1.1, []))
    assert Candidates(again).sampled(6) == sampled


def test_candidates_are_those_of_many_that_fill_the_limit_which_a_supernet_likes_best(cost_table: CostTable) -> None:  # noqa: F811
    """Whatever alpha prefers: the oracle sorts all that were drawn by the scores of a supernet that is made up, of each
    hop as many as gamma gives it, and one at least. Half of a hop's are regular."""
    limits = Limits(cycles=6e4)
    result = run(cost_table, limits=limits, settings=replace(QUICK, gamma_ratio=1e9))
    assert result.supernet is not None
    drawn, repeated = list[Choice](), [x for i in range(3) for x in result.supernet.regular(i)]

    def filling(config: int, rng: np.random.Generator) -> Choice:
        assert result.supernet is not None
        drawn.append(result.supernet.filling(config, rng))
        return drawn[-1]

    def score(point: Choice) -> float:
        return crc32(str(point).encode()) / 2**32

    supernet: Any = SimpleNamespace(
        filling=filling, regular=result.supernet.regular, scores=lambda points: list(map(score, points))
    )
    sampled = Candidates(replace(result, supernet=supernet, gammas=(0.15, 0.5, 0.35))).sampled(5)
    derived = (result.config, result.network)

    def by_network(points: Iterable[Choice]) -> dict[object, Choice]:
        networks: dict[object, Choice] = {}
        for point in points:
            genotype, config = cost_table.space.at(point)
            network = genotype.build(config)
            full = cost_table.network_cycles(point) >= 0.9 * (6e4 - cost_table.cycles.front_end[point.config])
            if full and limits.held_by(cost_table.cost(point)) and (config, network) != derived:
                networks[config, network] = point  # of equal networks the one drawn last
        return networks

    alike, even = ([x for _, x in sorted(by_network(y).items(), key=lambda x: score(x[1]))] for y in (repeated, drawn))
    assert len(even) > 15 and {x.config for x in even} == {0, 1, 2}
    own = [([x for x in alike if x.config == i], [x for x in even if x.config == i]) for i in range(3)]
    # so few are regular that all of them are drawn, and on one front end none
    assert {x.config for x in alike} == {0, 1}
    assert [x.point for x in sampled] == [own[1][0][0], own[1][1][0], own[2][1][0], own[2][1][1], own[0][0][0]]


def test_samples_stay_on_the_configuration_that_was_settled(cost_table: CostTable) -> None:  # noqa: F811
    """Where no supernet judges."""
    result = run(cost_table, settings=replace(QUICK, epochs=16))
    sampled = Candidates(replace(result, supernet=None)).sampled(4)
    assert result.history[-1]["phase"] == "network" and len(sampled) == 4
    assert {x.config for x in sampled} == {result.config}


def test_neighbours_differ_in_little_and_hold_the_limits(cost_table: CostTable) -> None:  # noqa: F811
    limits = Limits(cycles=1.2e5, ram_bytes=900)
    result = run(cost_table, limits=limits, measure=board(1.1, []))
    near = Candidates(result).neighbours(result, 5, np.random.default_rng(0))
    assert 3 <= len({x.network for x in near}) == len(near) <= 5 and result.network not in {x.network for x in near}
    for neighbour in near:
        assert neighbour.config == result.config and limits.held_by(neighbour.cost)
        measured = board(1.1, [])(neighbour.network, neighbour.config) + neighbour.config.frames * 1e3
        assert measured == pytest.approx(neighbour.cost.cycles)


def test_one_neighbour_in_three_is_on_a_configuration_of_the_same_window_and_hop() -> None:
    """Gamma knows little of them, so it has no say: that of the other window leads by far and is not taken."""
    grid = tuple(parse_front_end(x) for x in ("640/640/20/6", "640/640/20/4", "640/640/16/6", "640/480/20/6"))
    table = tabulate(replace(SPACE, configs=grid), toy_cycles, lambda config: config.frames * config.mel_bins * 50.0)
    limits, device = Limits(cycles=1.2e5), torch.device("cpu")
    strategy = TinyStrategy(table, QUICK, limits, torch.Generator().manual_seed(0), device)
    with torch.no_grad():
        strategy.net.alignment.gamma[3] = 9.0
    calibrated, rng = Calibrated(strategy, limits), np.random.default_rng(0)
    first = calibrated.described(strategy.derive(1.0, limits, View(0)), 1.0)
    result: Any = SimpleNamespace(calibrated=calibrated, supernet=None)
    candidates: Candidates[Choice] = Candidates(result)
    for _ in range(4):
        near = candidates.neighbours(first, 6, rng)
        points, chain = [x.point for x in near], first.point.chain
        moved = [x for x in points if x.config != first.point.config]
        assert len(near) == 6 and len(moved) == 2 and {x.config for x in moved} == {1, 2}
        assert all([o for o, _ in x.chain] == [o for o, _ in chain] for x in moved)
        assert all(x.stem[0] == first.point.stem[0] for x in moved)
        assert all(limits.held_by(table.cost(x)) for x in points)
    assert {x.config for x in candidates.neighbours(first, 2, rng)} == {first.config}


def test_a_view_around_a_point_keeps_its_operations_as_wide_as_the_limit_leaves_room(cost_table: CostTable) -> None:  # noqa: F811
    """Against trying every network: 4 for each operation that is changed, what parameters are worth, and alpha's even
    widths, one for each layer that has any."""
    strategy = TinyStrategy(cost_table, QUICK, Limits(), torch.Generator().manual_seed(0), torch.device("cpu"))
    rng, kept = np.random.default_rng(0), 0
    steps = list(product(range(len(SPACE.operations)), range(len(SPACE.widths))))
    stems = product(range(len(SPACE.stems)), range(len(SPACE.widths)))
    every = [Choice(0, x, chain) for x in stems for chain in product(steps, steps) if _possible(x, chain)]
    costs = np.array([cost_table.cost(x).cycles for x in every])
    for _ in range(6):
        point, limit = every[rng.integers(len(every))], float(np.quantile(costs, rng.uniform(0.05, 0.9)))

        def worth(x: Choice, point: Choice = point) -> float:
            operations = (x.stem[0], *(o for o, _ in x.chain)), (point.stem[0], *(o for o, _ in point.chain))
            layers = 1 + sum(not SPACE.operations[o].keeps_width for o, _ in x.chain)
            parameters = QUICK.worth / cost_table.most_parameters * cost_table.network_parameters(x)
            changed = sum(a != b for a, b in zip(*operations, strict=True))
            return parameters - layers * float(np.log(len(SPACE.widths))) - 4 * changed

        derived = strategy.derive(1.0, Limits(cycles=limit), View(0, around=point))
        assert cost_table.cost(derived).cycles <= limit
        assert worth(derived) == pytest.approx(max(worth(x) for x, c in zip(every, costs, strict=True) if c <= limit))
        kept += [o for o, _ in derived.chain] == [o for o, _ in point.chain]
    assert kept > 2


def _possible(stem: tuple[int, int], chain: tuple[tuple[int, int], ...]) -> bool:
    """Whether no stride passes the space's largest scale."""
    scale = SPACE.stems[stem[0]].stride
    for operation, _ in chain:
        if not SPACE.allowed(SPACE.configs[0], scale, SPACE.operations[operation]):
            return False
        scale = SPACE.scale_after(SPACE.configs[0], scale, SPACE.operations[operation])
    return True


def test_candidates_are_samples_of_the_networks_that_hold_the_limits(cost_table: CostTable) -> None:  # noqa: F811
    """Perturb and maximise: with every choice alike and no limit, each stem is drawn as often as any other."""
    strategy = TinyStrategy(cost_table, QUICK, Limits(), torch.Generator().manual_seed(0), torch.device("cpu"))
    rng = np.random.default_rng(0)
    stems = [strategy.derive(1.0, Limits(), View(0, rng)).stem[0] for _ in range(400)]
    counts = np.bincount(stems, minlength=len(SPACE.stems))
    assert counts.min() > 0.7 * counts.mean()  # 3.5 standard deviations for three stems


def test_candidates_are_shared_out_by_gamma_whatever_the_data_search_settled() -> None:
    """To each window and hop, all its configurations together, as many as by Sainte-Lague's method; of the four that
    lead each has one at least."""
    grid = tuple(parse_front_end(f"640/{x}") for x in ("640/20/6", "640/20/4", "480/20/6", "400/20/6", "640/20/5"))
    table = tabulate(replace(SPACE, configs=grid), toy_cycles, lambda config: config.frames * config.mel_bins * 50.0)
    limits = Limits(cycles=1.2e5)
    strategy = TinyStrategy(table, QUICK, limits, torch.Generator().manual_seed(0), torch.device("cpu"))
    strategy.net.alignment.chosen = 1
    calibrated = Calibrated(strategy, limits)
    first = calibrated.described(strategy.derive(1.0, limits, View(1)), 1.0)
    supernet: Any = SimpleNamespace(
        filling=strategy.filling, regular=strategy.regular,
        scores=lambda points: [crc32(str(x).encode()) for x in points],
    )  # fmt: skip

    def sampled(count: int, *gammas: float) -> list[int]:
        """Of the first two configurations together, of the third and the fourth."""
        result: Any = SimpleNamespace(
            calibrated=calibrated, supernet=supernet, point=first.point, next_seed=3, gammas=(*gammas, 1e-3)
        )
        configs = [x.point.config for x in Candidates(result).sampled(count)]
        assert len(configs) == count
        assert 4 not in configs  # of one window and hop the two that gamma likes best
        return [sum(x in own for x in configs) for own in ((0, 1), (2,), (3,))]

    assert strategy.feasible == (0, 1, 2, 3, 4)
    assert sampled(12, 0.3, 0.4, 0.1, 0.2) == [9, 1, 2]
    assert sampled(12, 0.5, 0.45, 0.01, 0.04) == [10, 1, 1]
    assert sampled(2, 0.3, 0.3, 0.1, 0.3) == [1, 0, 1]
    assert sampled(5, 0.2, 0.2, 0.0, 0.6) == [2, 0, 3]
    strategy.feasible = (0, 1, 2, 4)
    assert sampled(6, 0.1, 0.2, 0.3, 0.4) == [3, 3, 0]
