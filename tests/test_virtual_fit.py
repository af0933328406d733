"""The fit of the virtual board's penalties gives the published numbers, and refuses what is not its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil_nas.device.boards import load_board
from hil_nas.device.timing_fit import PENALISED, FitReport, fit_timing, read_silicon
from hil_nas.errors import InputError


@pytest.fixture(scope="module")
def silicon_csv(boards_dir: Path) -> Path:
    return boards_dir / "nucleo_l4r5" / "silicon.csv"


def percent(report: FitReport) -> tuple[float, float, float]:
    return tuple(round(100 * x, 1) for x in (report.mean, report.left_out_mean, report.left_out_worst))  # type: ignore[return-value]


def test_the_penalties_and_errors_are_the_stated_ones(silicon_csv: Path, boards_dir: Path) -> None:
    report = fit_timing(silicon_csv)
    timing = report.timing
    found = (timing.branch_cycles, timing.instruction_miss_cycles)
    found += (timing.data_sector_miss_cycles, timing.data_line_miss_cycles)
    assert found == pytest.approx((0, 9.44, 7.50, 3.89), abs=0.005)
    assert percent(report) == (1.0, 1.6, 3.9)
    assert len(report.fitted) == 8 and len(report.beside) == 4
    board = load_board("nucleo_l4r5", boards_dir).timing
    assert board is not None
    in_use = (board.branch_cycles, board.instruction_miss_cycles)
    assert in_use + (board.data_sector_miss_cycles, board.data_line_miss_cycles) == pytest.approx(found, abs=0.005)


def test_without_the_line_penalty_too(silicon_csv: Path) -> None:
    report = fit_timing(silicon_csv, PENALISED[:3])
    assert report.timing.instruction_miss_cycles == pytest.approx(10.85, abs=0.005)
    assert report.timing.data_sector_miss_cycles == pytest.approx(8.75, abs=0.005)
    assert percent(report) == (1.6, 2.1, 4.5)


def test_rows_beside_the_fit_are_reported(silicon_csv: Path) -> None:
    beside = {x.row.model: 100 * x.error for x in fit_timing(silicon_csv).beside}
    assert beside == pytest.approx({"ic": 1.9, "ad": 0.85, "kws": -10.0, "vww": -16.2}, abs=0.06)


def test_no_other_penalties_fit_better(silicon_csv: Path) -> None:
    rows = [x for x in read_silicon(silicon_csv) if x.fitted]
    counts = np.array([[getattr(x, n) / x.silicon_cycles for n in PENALISED] for x in rows])
    base = np.array([x.base_cycles / x.silicon_cycles for x in rows])
    timing = fit_timing(silicon_csv).timing
    best = np.array([0, timing.instruction_miss_cycles, timing.data_sector_miss_cycles, timing.data_line_miss_cycles])

    def squares(penalties: np.ndarray) -> float:
        return float(((base + counts @ penalties - 1) ** 2).sum())

    rng = np.random.default_rng(5)
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(300):
            other = np.maximum(best + rng.normal(0, scale, 4), 0)
            assert squares(other) >= squares(best) - 1e-12


def test_the_report_reads_well(silicon_csv: Path) -> None:
    lines = fit_timing(silicon_csv).lines()
    assert "instruction_miss_cycles = 9.44" in lines
    assert "leaving one out: mean 1.6%, worst 3.9%" in lines
    assert sum(x.startswith("fit") for x in lines) == 8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.replace("base_cycles", "cycles"), "has the columns"),
        (lambda x: x.replace("961000", "many"), "line 2: counts are whole numbers"),
        (lambda x: x.replace("961000", "-1"), "line 2: counts are whole numbers"),
        (lambda x: x.replace("961000", "0"), "line 2: counts are whole numbers"),
        (lambda x: x.replace(",961000", ""), "line 2: counts are whole numbers"),
        (lambda x: "\n".join(x.splitlines()[:4]) + "\n", "rows to fit"),
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
