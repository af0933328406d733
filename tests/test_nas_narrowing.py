"""Weights that go on to learn a few networks alone."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from hil_nas.candidates.sampling import Candidates
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.grid_search import SearchResult, Trained
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.space import Choice
from tests.test_nas_search import QUICK, cost_table, run  # noqa: F401  (cost_table is a fixture)


@pytest.fixture(scope="module")
def result(cost_table: CostTable) -> SearchResult[Choice]:  # noqa: F811
    return run(cost_table, (0, 1), Limits(cycles=9e4), settings=replace(QUICK, gamma_ratio=1e9))


def points_of(result: SearchResult[Choice], count: int) -> list[Choice]:
    assert result.supernet is not None
    rng = np.random.default_rng(0)
    drawn = [result.supernet.filling(int(rng.choice([0, 1])), rng) for _ in range(count)]
    return [x for x in drawn if x is not None]


def weights(trained: Trained[Choice]) -> dict[str, torch.Tensor]:
    return deepcopy(trained._strategy.net.state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[x], other[x]) for x in one)


def test_weights_learn_the_networks_that_are_asked_for_and_the_shared_ones_stay(result: SearchResult[Choice]) -> None:
    points, ended, shared = points_of(result, 6), list[tuple[int, int]](), result.supernet
    assert shared is not None
    before, losses = weights(shared), shared.losses(points)
    own = shared.narrowed(points, 1, lambda *x: ended.append(x))
    assert ended == [(1, 3), (2, 3), (3, 3)]
    gained = [a - b for a, b in zip(losses, own.losses(points), strict=True) if a is not None and b is not None]
    assert len(gained) == 6 and np.mean(gained) > 0.005
    assert same(before, weights(shared)) and not same(before, weights(own))
    decided = ("architecture.", "alignment.gamma")
    assert all(torch.equal(before[x], y) for x, y in weights(own).items() if x.startswith(decided))


def test_a_seed_decides_what_is_learned(result: SearchResult[Choice]) -> None:
    points, shared = points_of(result, 3), result.supernet
    assert shared is not None
    one, two, other = (weights(shared.narrowed(points, seed, lambda *x: None)) for seed in (1, 1, 2))
    assert same(one, two) and not same(one, other)


def test_neighbours_are_judged_by_weights_that_learned_what_races(
    result: SearchResult[Choice], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates, asked = Candidates(result), list[Trained[Choice]]()
    losses = Trained.losses
    monkeypatch.setattr(Trained, "losses", lambda self, x: asked.append(self) or losses(self, x))
    judge = candidates.judged([result.point, *points_of(result, 2)], lambda *x: None)
    assert judge is not None and judge is not result.supernet
    candidates.neighbours(result, 3, np.random.default_rng(0))
    assert asked and all(x is judge for x in asked)
