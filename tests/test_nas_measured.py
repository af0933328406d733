"""A search of chains that a board measures: its costs follow what was measured, and what it finds holds there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from hil_nas.errors import InfeasibleError
from hil_nas.front_ends import FrontEnd
from hil_nas.nas.costs.calibrated import Calibrated
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.tiny.cost_table import CostTable
from hil_nas.nas.tiny.strategy import TinyStrategy
from hil_nas.network import Network
from tests.test_nas_search import CPU, QUICK, cost_table, run  # noqa: F401  (cost_table is a fixture)
from tests.test_nas_space import toy_cycles


def board(ratio: float, measured: list[Network]) -> Callable[[Network, FrontEnd], float]:
    """A board on which every network takes `ratio` times its cost."""

    def measure(network: Network, front_end: FrontEnd) -> float:
        measured.append(network)
        return ratio * float(toy_cycles([x for x in network.operators() if x.layer.kind != "reshape"]).sum())

    return measure


def test_measurements_correct_the_costs_and_the_limit_holds_as_measured(cost_table: CostTable) -> None:  # noqa: F811
    timed: list[Network] = []
    limits, settings = Limits(cycles=1.2e5), replace(QUICK, epochs=6, measure_every=2)
    result = run(cost_table, limits=limits, settings=settings, measure=board(1.4, timed))
    assert len(timed) == 2  # after epoch 4, and at the end; not in the warm-up
    assert result.calibration == pytest.approx(1.4)
    assert [x["calibration"] for x in result.history] == pytest.approx([1, 1, 1, 1.4, 1.4, 1.4])
    measured = board(1.4, [])(result.network, result.config) + result.config.frames * 1e3
    assert result.cost.cycles == pytest.approx(measured)
    assert measured <= 1.2e5


def test_a_network_too_slow_on_the_board_is_derived_again(cost_table: CostTable) -> None:  # noqa: F811
    settings, limits = replace(QUICK, epochs=4), Limits(cycles=8e4)
    first = run(cost_table, limits=limits, settings=settings)
    front_end = first.config.frames * 1e3
    ratio = 1.05 * (8e4 - front_end) / (first.cost.cycles - front_end)  # the first network just breaks the limit
    measured: list[Network] = []
    held = run(cost_table, limits=limits, settings=settings, measure=board(ratio, measured))
    assert measured[0] == first.network != held.network == measured[-1]
    assert held.cost.cycles == pytest.approx(board(ratio, [])(held.network, held.config) + held.config.frames * 1e3)
    assert held.cost.cycles <= 8e4
    with pytest.raises(InfeasibleError):
        run(cost_table, limits=limits, settings=settings, measure=board(1000.0, []))


@pytest.mark.parametrize("ratio", [1.3, 2.0])
def test_a_derivation_goes_by_the_measured_ratio(cost_table: CostTable, ratio: float) -> None:  # noqa: F811
    """What fills the limit by the cost table breaks it by the board's; what is derived at the ratio holds it there."""
    strategy = TinyStrategy(cost_table, QUICK, Limits(), torch.Generator().manual_seed(0), CPU)
    full = strategy.derive(1.0, Limits())
    limits = Limits(cycles=strategy.cost(full, 1.0).cycles)
    derived = strategy.derive(ratio, limits)
    assert limits.held_by(strategy.cost(derived, ratio)) and not limits.held_by(strategy.cost(full, ratio))
    calibrated = Calibrated(strategy, limits)
    calibrated.ratios = [ratio / 2, ratio * 2]  # whose geometric mean it is
    assert calibrated.derived() == derived
