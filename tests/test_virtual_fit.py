"""The fit of the virtual board's penalties gives the published numbers, and refuses what is not its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil_nas.device.boards import load_board
from hil_nas.device.timing_fit import (
    BRANCH_CYCLES,
    HELD_OUT,
    PENALISED,
    FitReport,
    fit_timing,
    read_held_out,
    read_silicon,
)
from hil_nas.errors import InputError


@pytest.fixture(scope="module")
def silicon_csv(boards_dir: Path) -> Path:
    return boards_dir / "nucleo_l4r5" / "silicon.csv"


def percent(report: FitReport) -> tuple[float, float, float]:
    return tuple(round(100 * x, 1) for x in (report.mean, report.left_out_mean, report.left_out_worst))  # type: ignore[return-value]


PENALTIES = ("instruction_miss_cycles", "data_sector_miss_cycles", "data_line_miss_cycles")


def test_the_penalties_and_errors_are_the_stated_ones(silicon_csv: Path, boards_dir: Path) -> None:
    report = fit_timing(silicon_csv)
    actual = [getattr(report.timing, x) for x in PENALTIES]
    assert actual == pytest.approx((3.45, 5.17, 0.31), abs=0.005)
    assert percent(report) == (1.4, 2.0, 3.0) and round(100 * report.worst, 1) == 2.1
    assert len(report.fitted) == 8 and len(report.beside) == 4
    board = load_board("nucleo_l4r5", boards_dir).timing
    assert board is not None
    assert [getattr(board, x) for x in PENALTIES] == pytest.approx(actual, abs=0.005)
    assert (board.branch_cycles, board.error_percent) == (BRANCH_CYCLES, report.timing.error_percent)


def test_the_stated_error_holds_for_every_network_left_out_in_either_layout(silicon_csv: Path) -> None:
    report = fit_timing(silicon_csv)
    errors = [100 * abs(y) for x in report.fitted for y in x.left_out_errors]
    assert len(errors) == 16 and report.timing.error_percent - 1 < max(errors) <= report.timing.error_percent == 5


def test_without_the_line_penalty_too(silicon_csv: Path) -> None:
    report = fit_timing(silicon_csv, PENALISED[:2])
    assert report.timing.instruction_miss_cycles == pytest.approx(3.57, abs=0.005)
    assert report.timing.data_sector_miss_cycles == pytest.approx(5.27, abs=0.005)
    assert percent(report) == (1.4, 1.9, 3.0)


def test_rows_beside_the_fit_are_reported(silicon_csv: Path) -> None:
    beside = {x.rows[0].model: 100 * x.error for x in fit_timing(silicon_csv).beside}
    assert beside == pytest.approx({"ic": 3.5, "ad": 0.35, "kws": -9.8, "vww": -9.5}, abs=0.06)


def test_held_out_programs_are_reported_by_set(silicon_csv: Path) -> None:
    actual = {(x.set, x.counted_by, x.layout_bytes): x for x in fit_timing(silicon_csv).held_out}
    linked, moved = actual["pqm4", "rules", 0], actual["pqm4", "rules", 2]
    assert (linked.rows, linked.chips) == (17, ("STM32L4R5ZI",))
    assert [round(100 * x, 1) for x in (linked.mean, linked.worst)] == [1.0, 1.8]
    assert [round(100 * x, 1) for x in (moved.mean, moved.worst)] == [1.5, 5.6]
    fft = actual["float FFT", "rules", 0]
    assert fft.rows == 16 and fft.mean <= 0.03 and round(100 * fft.worst, 1) == 3.0
    assert actual["Embench 0.5", "approximation", 0].rows == 38


def test_an_approximated_row_is_the_old_base_scaled(silicon_csv: Path) -> None:
    rows = read_held_out(silicon_csv.with_name(HELD_OUT))
    row = next(x for x in rows if x.counted_by == "approximation")
    modelled = 1.026 * row.base_cycles + 2.18 * row.taken_branches
    assert row.error == pytest.approx(modelled / row.silicon_cycles - 1, rel=1e-12)


def test_the_share_of_base_and_branches_is_what_pqm4_asks_for(silicon_csv: Path) -> None:
    """A share of the base and a cost of branches that are fitted to pqm4 alone come out near the rules' 1 and 2."""
    rows = [x for x in read_held_out(silicon_csv.with_name(HELD_OUT)) if (x.set, x.layout_bytes) == ("pqm4", 0)]
    cycles = np.array([x.silicon_cycles for x in rows])
    counts = np.array([[x.base_cycles, x.taken_branches] for x in rows]) / cycles[:, None]
    base, branch = np.linalg.lstsq(counts, np.ones(len(rows)), rcond=None)[0]
    assert base == pytest.approx(1, abs=0.02) and branch == pytest.approx(2, abs=0.3)


def test_no_other_penalties_fit_better(silicon_csv: Path) -> None:
    rows = [x for x in read_silicon(silicon_csv) if x.fitted]
    counts = np.array([[getattr(x, n) / x.silicon_cycles for n in PENALISED] for x in rows])
    base = np.array([(x.base_cycles + 2 * x.taken_branches) / x.silicon_cycles for x in rows])
    timing = fit_timing(silicon_csv).timing
    best = np.array([getattr(timing, x) for x in PENALTIES])

    def squares(penalties: np.ndarray) -> float:
        return float(((base + counts @ penalties - 1) ** 2).sum())

    rng = np.random.default_rng(5)
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(300):
            other = np.maximum(best + rng.normal(0, scale, 3), 0)
            assert squares(other) >= squares(best) - 1e-12


def test_the_report_reads_well(silicon_csv: Path) -> None:
    lines = fit_timing(silicon_csv).lines()
    assert "instruction_miss_cycles = 3.45" in lines
    assert any(x.endswith("worst 2.1%; leaving one out: mean 2.0%, worst 3.0%") for x in lines)
    assert sum(x.startswith("fit ") for x in lines) == 8 and sum(x.startswith("beside") for x in lines) == 4
    assert sum("approximated by base x 1.026 + 2.18 a branch" in x for x in lines) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.replace("base_cycles", "cycles"), "has the columns"),
        (lambda x: x.replace("961000", "many"), "line 2: counts are whole numbers"),
        (lambda x: x.replace("961000", "-1"), "line 2: counts are whole numbers"),
        (lambda x: x.replace("961000", "0"), "line 2: counts are whole numbers"),
        (lambda x: x.replace(",961000", ""), "line 2: counts are whole numbers"),
        (lambda x: "\n".join(x.splitlines()[:9]) + "\n", "networks to fit"),
        (lambda x: "", "has the columns"),
    ],
)
def test_another_table_is_refused(change: object, says: str, silicon_csv: Path, tmp_path: Path) -> None:
    assert callable(change)
    path = tmp_path / "silicon.csv"
    path.write_text(change(silicon_csv.read_text()))
    with pytest.raises(InputError, match=says):
        fit_timing(path)


def test_a_missing_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        fit_timing(tmp_path / "none.csv")
