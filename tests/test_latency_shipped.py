"""The rows that come with the project: honest errors on networks left out, and rows of the firmware as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hil_nas.baselines import ds_cnn
from hil_nas.device.boards import load_board
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.front_ends import paper_grid
from hil_nas.latency.kernel_work import kernel_work
from hil_nas.latency.measurements import Measurements
from hil_nas.latency.model import FOLDS, SPREAD_QUANTILE, LatencyModel
from hil_nas.latency.prediction_errors import Report, held_out_errors
from hil_nas.latency.regressor import Floats
from hil_nas.latency.store import Store
from hil_nas.nas.darts.cost_table import tabulate_darts
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.input_space import Align, Arrangement
from hil_nas.nas.tiny.cost_table import cost_requests
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.network import Operator

MODELS = Path(__file__).resolve().parent.parent / "latency_models"


@pytest.fixture(scope="module", params=["nucleo-l4r5@virtual", "mps2-an386@qemu"])
def folder(request: pytest.FixtureRequest) -> Path:
    return MODELS / str(request.param)


@pytest.fixture(scope="module")
def rows(folder: Path) -> Measurements:
    return Store(folder).read()


@pytest.fixture(scope="module")
def report(rows: Measurements) -> Report:
    return held_out_errors(rows)


@pytest.fixture(scope="module")
def model(folder: Path) -> LatencyModel:
    return LatencyModel.load(folder)


def test_the_header_counts_the_rows(folder: Path, rows: Measurements) -> None:
    """So that a file that was cut is told from fewer measurements."""
    counted = json.loads((folder / "provenance.json").read_text())["rows"]
    assert counted == {"networks": len(rows.networks), "front_ends": len(rows.front_ends)}


def test_held_out_networks_operators_and_front_ends(report: Report) -> None:
    assert report["network_mean_error_percent"] <= 2
    assert report["network_worst_error_percent"] <= 6
    assert report["operator_mean_error_percent"] <= 3
    assert report["front_end_mean_error_percent"] <= 1


def test_networks_left_out_lie_within_their_stated_spread(rows: Measurements) -> None:
    """As often as a spread promises of each operator: one network alone may lie outside."""
    names, within = [x.network for x in rows.networks], []
    for fold in range(FOLDS):
        left = rows.of_networks(names[fold::FOLDS])
        fitted = LatencyModel.fit(rows.of_networks(set(names) - set(names[fold::FOLDS])))
        for network in left.networks:
            operators = [x.operator for x in left.operators if x.network == network.network]
            if any(fitted.outside(x) for x in operators):
                continue
            cycles = fitted.operator_cycles(operators)
            spreads = np.array([fitted.paths[kernel_work(x).path].spread for x in operators])
            error_cycles = abs(fitted.whole_cycles(cycles) - network.median_cycles)
            within.append(error_cycles <= cycles @ spreads)
    assert len(within) >= 100 and np.mean(within) >= SPREAD_QUANTILE


@pytest.mark.parametrize("baseline", ["macs_linear_", "look_up_"])
def test_baselines_are_beaten_by_far(report: Report, baseline: str) -> None:
    for name in ("network_mean", "network_worst", "operator_mean", "front_end_mean"):
        assert 3 * report[f"{name}_error_percent"] < report[f"{baseline}{name}_error_percent"], name


def test_misses_of_flash_cost_what_the_board_says(boards_dir: Path) -> None:
    """The model is fitted to totals alone; that it finds the board's own penalties says that its loops are real."""
    timing = load_board("nucleo_l4r5", boards_dir).timing
    assert timing is not None
    fitted = LatencyModel.load(MODELS / "nucleo-l4r5@virtual").paths["depthwise_generic"].coefficients_cycles
    assert fitted["flash_sectors"] == pytest.approx(timing.data_sector_miss_cycles, rel=0.1)
    assert fitted["flash_lines"] == pytest.approx(timing.data_line_miss_cycles, abs=0.5)


class Requested(Exception):
    """Carries the operators whose costs a search asks for, once it has asked."""


@cache
def requested_of_chains(arrangement: Arrangement, align: Align) -> frozenset[Operator]:
    spaces = [TinySpace(paper_grid(x), classes, arrangement, align) for x, classes in ((10, 2), (40, 35))]
    requests = [cost_requests(space, x) for space in spaces for x in range(len(space.configs))]
    return frozenset(y for x in requests for part in x.parts for y in part.operators())


@cache
def requested_of_cells(channels: int, align: Align) -> frozenset[Operator]:
    """Of three sizes; 8 cells of 4 nodes are the paper's."""
    requested: set[Operator] = set()

    def ask(operators: Sequence[Operator]) -> Floats:
        raise Requested(operators)

    for coefficients, classes, cells, nodes in ((10, 2, 3, 2), (20, 12, 5, 3), (40, 35, 8, 4)):
        space = DartsSpace(paper_grid(coefficients), classes, align, cells, nodes, channels)
        with pytest.raises(Requested) as caught:
            tabulate_darts(space, ask, lambda _: 1.0)
        assert len(caught.value.args[0]) > 100
        requested.update(caught.value.args[0])
    return frozenset(requested)


@pytest.mark.parametrize("align", ["conv", "pad"])
@pytest.mark.parametrize("arrangement", ["channels", "plane"])
def test_tiny_spaces_lie_inside_the_measured_range(
    model: LatencyModel, arrangement: Arrangement, align: Align
) -> None:
    assert [x for x in map(model.outside, requested_of_chains(arrangement, align)) if x is not None] == []
    assert all(model.front_end_cycles(x) > 0 for count in (10, 40) for x in paper_grid(count))


@pytest.mark.parametrize("align", ["conv", "pad"])
@pytest.mark.parametrize("channels", [4, 16, 24])
def test_darts_spaces_lie_inside_the_measured_range(model: LatencyModel, channels: int, align: Align) -> None:
    assert [x for x in map(model.outside, requested_of_cells(channels, align)) if x is not None] == []


def test_every_front_end_of_the_grid_was_measured(rows: Measurements) -> None:
    assert set(paper_grid()) <= {x.config for x in rows.front_ends}


def test_the_published_network_is_predicted(model: LatencyModel, rows: Measurements) -> None:
    own = next(x for x in rows.networks if x.network == rows.operators[0].network)
    assert model.network_cycles(ds_cnn()) == pytest.approx(own.median_cycles, rel=0.03)
    assert all(model.front_end_cycles(x.config) == pytest.approx(x.median_cycles, rel=0.03) for x in rows.front_ends)


def test_rows_hold_for_the_firmware_as_it_is(
    folder: Path, model: LatencyModel, boards_dir: Path, build_dir: Path
) -> None:
    assert model.provenance is not None
    firmware = build_firmware(model.provenance.board, boards_dir, build_dir, find_third_party())
    assert model.provenance.kernels == firmware.kernels_id, (
        f"the measured code has changed: run `hil_nas profile --board {folder.name}` on an empty folder"
    )
