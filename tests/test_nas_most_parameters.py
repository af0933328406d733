"""The networks with most parameters that fill the limits, against trying every network."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hil_nas.candidates.sampling import Candidates
from hil_nas.cost.macs import parameters
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.grid_search import without_search
from hil_nas.nas.protocols import View
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.most_parameters import MostParameters
from hil_nas.nas.tiny.space import Choice
from tests.test_candidates_sampling import _possible
from tests.test_nas_measured import board
from tests.test_nas_search import SPACE, cost_table  # noqa: F401  (cost_table is a fixture)


def every(config: int) -> list[Choice]:
    steps = list(product(range(len(SPACE.operations)), range(len(SPACE.widths))))
    stems = list(product(range(len(SPACE.stems)), range(len(SPACE.widths))))
    chains = [x for x in product(steps, steps)]
    return [Choice(config, x, chain) for x in stems for chain in chains if _possible(x, chain)]


def size(choice: Choice) -> int:
    genotype, config = SPACE.at(choice)
    return parameters(genotype.build(config))


@pytest.mark.parametrize("limits", [Limits(cycles=9e4), Limits(cycles=1.2e5, flash_bytes=1100), Limits(ram_bytes=900)])
def test_no_network_within_the_limits_has_more(cost_table: CostTable, limits: Limits) -> None:  # noqa: F811
    deriving, gammas = MostParameters(cost_table, limits), []
    for config in range(len(SPACE.configs)):
        held = [size(x) for x in every(config) if limits.held_by(cost_table.cost(x))]
        found = deriving.derive(1.0, limits, View(config))
        assert limits.held_by(cost_table.cost(found)) and size(found) == max(held)
        assert cost_table.network_parameters(found) == size(found)
        gammas.append(max(held))
    np.testing.assert_allclose(deriving.gammas(), np.array(gammas) / sum(gammas))
    assert size(deriving.derive(1.0, limits)) == max(gammas)


def test_candidates_have_nearly_as_many_and_hold_the_limits_as_measured(cost_table: CostTable) -> None:  # noqa: F811
    limits = Limits(cycles=1.2e5, ram_bytes=900)
    result = without_search(MostParameters(cost_table, limits), limits, seed=0, measure=board(1.1, []))
    sampled = Candidates(result).sampled(6)
    assert result.supernet is None and result.history == () and len({x.network for x in sampled}) == 6
    for one in (result, *sampled):
        measured = board(1.1, [])(one.network, one.config) + one.config.frames * 1e3
        assert measured == pytest.approx(one.cost.cycles) and limits.held_by(one.cost)
    random = [size(x) for x in every(SPACE.configs.index(result.config)) if limits.held_by(cost_table.cost(x))]
    assert min(parameters(x.network) for x in sampled) > np.mean(random)
    again = without_search(MostParameters(cost_table, limits), limits, seed=0, measure=board(1.1, []))
    assert Candidates(again).sampled(6) == sampled
