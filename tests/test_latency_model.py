"""The regressor's contract, and the model on rows whose true cost per loop turn is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from hil_nas.errors import InputError, OutOfRangeError
from hil_nas.front_ends import paper_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.latency.baseline_models import LookUp, MacsLinear
from hil_nas.latency.choose import farthest_networks
from hil_nas.latency.kernel_work import is_executed, kernel_work
from hil_nas.latency.measurements import FrontEndRow, Measurements, NetworkRow, OperatorRow, network_id
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.regressor import CyclesRegressor
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.network import INPUT, Layer, Network

OVERHEAD_CYCLES = 500


def cost_of(path: str, name: str) -> float:
    """A made-up cost in cycles, the same for a path's feature every time."""
    seed = sum(ord(x) * (i + 1) for i, x in enumerate(path + name))
    return float(np.random.default_rng(seed).uniform(1, 30)) * (50 if name == "calls" else 1)


def cycles_of(path: str, counts: dict[str, float]) -> int:
    return round(sum(cost_of(path, name) * count for name, count in counts.items()))


def networks(count: int, seed: int = 0) -> list[Network]:
    rng = np.random.default_rng(seed)
    spaces = [TinySpace(arrangement="channels"), TinySpace(arrangement="plane", widths=(8, 12, 20, 32, 40, 64))]
    grid = paper_grid()
    return [spaces[i % 2].sample(rng, grid[rng.integers(len(grid))]) for i in range(count)]


def synthetic_rows(drawn: list[Network], noise: float = 0.0, seed: int = 1) -> Measurements:
    rng = np.random.default_rng(seed)
    operators, totals = [], []
    for network in drawn:
        name, ran = network_id(network), [x for x in network.operators() if is_executed(x)]
        own = []
        for index, operator in enumerate(ran):
            work = kernel_work(operator)
            factor = 1 + noise * rng.standard_normal()
            own.append(OperatorRow(name, index, operator, (round(cycles_of(work.path, work.counts) * factor),)))
        operators += own
        total = sum(int(x.median_cycles) for x in own) + OVERHEAD_CYCLES
        totals.append(NetworkRow(name, 1000, (total,)))
    ends = [Mfcc(w, h, m, c) for w, h in ((400, 100), (400, 200), (640, 160), (640, 320))
            for m in (40, 80) for c in (10, 40)]  # fmt: skip
    return Measurements(tuple(operators), tuple(totals), tuple(map(made_up_front_end, ends)))


def made_up_front_end(config: Mfcc) -> FrontEndRow:
    stages = {name: cycles_of(name, counts) for name, counts in config.work().items()}
    return FrontEndRow(config, (sum(stages.values()),), tuple(stages.items()))


@pytest.fixture(scope="module")
def drawn() -> list[Network]:
    return networks(90)


@pytest.fixture(scope="module")
def rows(drawn: list[Network]) -> Measurements:
    return synthetic_rows(drawn)


@pytest.fixture(scope="module")
def model(rows: Measurements) -> LatencyModel:
    return LatencyModel.fit(rows)


@parametrize_with_checks([CyclesRegressor()])
def test_the_regressor_keeps_to_scikit_learns_contract(
    estimator: CyclesRegressor, check: Callable[[Any], None]
) -> None:
    check(estimator)


def test_the_regressor_recovers_known_costs() -> None:
    rng = np.random.default_rng(3)
    costs = np.array([120.0, 0.0, 3.5, 17.0])
    counts = rng.integers(0, 5000, (200, 4)).astype(float)
    counts[:, 0] = 1
    fitted = CyclesRegressor(alpha=0.0).fit(counts, counts @ costs)
    assert np.allclose(fitted.coef_, costs, rtol=1e-6, atol=1e-9)


def test_no_cost_is_negative_where_the_best_line_would_have_one() -> None:
    counts = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert np.all(CyclesRegressor().fit(counts, [30.0, 20.0, 10.0]).coef_ >= 0)


def test_zero_cycles_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        CyclesRegressor().fit([[1.0], [2.0]], [0.0, 5.0])


def test_unseen_networks_are_predicted(model: LatencyModel) -> None:
    fresh = networks(40, seed=9)
    errors = []
    for network, row in zip(fresh, synthetic_rows(fresh).networks, strict=True):
        try:
            errors.append(model.network_cycles(network) / row.median_cycles - 1)
        except OutOfRangeError:
            continue
    assert len(errors) > 20
    assert np.max(np.abs(errors)) < 0.01


def test_overhead_is_told_apart_from_the_operators(model: LatencyModel) -> None:
    assert model.overhead_cycles == pytest.approx(OVERHEAD_CYCLES, abs=1.0)


def test_operators_come_in_order_and_a_reshape_is_free(model: LatencyModel, drawn: list[Network]) -> None:
    network = next(x for x in drawn if x.layers[0].kind == "reshape")
    operators = list(network.operators())
    cycles = model.operator_cycles(operators)
    assert cycles.shape == (len(operators),) and cycles[0] == 0 and np.all(cycles[1:] > 0)
    assert model.operator_cycles(operators[::-1]).tolist() == cycles[::-1].tolist()
    assert model.network_cycles(network) == pytest.approx(model.whole_cycles(cycles[1:]))


def test_an_unmeasured_kernel_is_refused(model: LatencyModel) -> None:
    dilated = next(Network((20, 10, 7), (Layer("depthwise", (INPUT,), kernel=(3, 3), dilation=(2, 2)),)).operators())
    with pytest.raises(OutOfRangeError, match=r"depthwise_generic.*profile"):
        model.operator_cycles([dilated])
    with pytest.raises(OutOfRangeError):
        model.extrapolated_cycles([dilated])


def test_a_larger_operator_than_measured_is_refused_and_flagged(model: LatencyModel) -> None:
    wide = next(Network((157, 40, 512), (Layer("conv", (INPUT,), 512),)).operators())
    assert "dsp_1x1" in str(model.outside(wide))
    with pytest.raises(OutOfRangeError, match="measured were"):
        model.network_cycles(Network((157, 40, 512), (Layer("conv", (INPUT,), 512),)))
    assert model.extrapolated_cycles([wide])[0] > 0


def test_front_ends_inside_and_outside_the_range(model: LatencyModel) -> None:
    between = Mfcc(400, 160, 80, 24)
    expected = made_up_front_end(between)
    assert model.front_end_cycles(between) == pytest.approx(expected.median_cycles, rel=0.01)
    assert model.stage_cycles(between) == pytest.approx(dict(expected.stages), rel=0.05)
    with pytest.raises(OutOfRangeError, match="window: it takes about .* cycles, measured were"):
        model.front_end_cycles(Mfcc(256, 200, 40, 10))
    with pytest.raises(OutOfRangeError, match="fft: fft_256 is 156"):
        model.front_end_cycles(Mfcc(256, 101, 40, 10))


def test_the_spread_follows_the_noise(drawn: list[Network], model: LatencyModel) -> None:
    noisy = LatencyModel.fit(synthetic_rows(drawn, noise=0.05))
    assert model.paths["dsp_1x1"].spread < 0.005
    assert 0.04 < noisy.paths["dsp_1x1"].spread < 0.15
    assert model.network_spread(drawn[0]) < 0.01 < noisy.network_spread(drawn[0])


def test_fitting_is_deterministic(rows: Measurements, model: LatencyModel, drawn: list[Network]) -> None:
    again = LatencyModel.fit(rows)
    assert [again.network_cycles(x) for x in drawn] == [model.network_cycles(x) for x in drawn]


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to fit"):
        LatencyModel.fit(Measurements())


def test_macs_are_a_worse_guide_than_loops(rows: Measurements, model: LatencyModel) -> None:
    operators = [x.operator for x in rows.operators]
    measured = np.array([x.median_cycles for x in rows.operators])

    def mean_error(predicted: np.ndarray) -> float:
        return float(np.mean(np.abs(predicted / measured - 1)))

    assert mean_error(model.operator_cycles(operators)) < 0.1 * mean_error(
        MacsLinear.fit(rows).operator_cycles(operators)
    )


def test_look_up_returns_what_was_measured_and_the_nearest_elsewhere(rows: Measurements) -> None:
    table = LookUp.fit(rows)
    measured = {x.operator: x.median_cycles for x in rows.operators}
    operators = list(measured)
    assert np.allclose(table.operator_cycles(operators), [measured[x] for x in operators], rtol=0.3)
    wide = next(Network((157, 40, 512), (Layer("conv", (INPUT,), 512),)).operators())
    assert 0 < table.operator_cycles([wide])[0] <= max(measured.values())


def test_the_farthest_network_comes_first_and_none_twice(drawn: list[Network]) -> None:
    odd_one = Network((20, 10, 8), (Layer("depthwise", (INPUT,), kernel=(3, 3), dilation=(2, 2)),))
    candidates = [*drawn[:20], odd_one]
    measured = [y for x in drawn for y in x.operators()]
    chosen = farthest_networks(candidates, 5, measured)
    assert chosen[0] == 20 and len(set(chosen)) == 5
    assert sorted(farthest_networks(drawn[:4], 9)) == [0, 1, 2, 3]


def test_weights_move_the_choice_to_the_path_that_is_least_sure(drawn: list[Network]) -> None:
    pointwise = Network((20, 1, 8), (Layer("conv", (INPUT,), 12),))
    pool = Network((20, 1, 8), (Layer("average_pool", (INPUT,), kernel=(2, 1), stride=(2, 1)),))
    for path, expected in (("dsp_1x1", 0), ("dsp_average_pool", 1)):
        weights = {"dsp_1x1": 0.01, "dsp_average_pool": 0.01} | {path: 1.0}
        assert farthest_networks([pointwise, pool], 1, weights=weights) == [expected]
