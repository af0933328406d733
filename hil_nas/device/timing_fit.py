"""Fit the virtual board's penalties to published silicon, and say how well the model then reproduces it.

Each row is one network on a NUCLEO-L4R5ZI at 120 MHz: counts from the same generated code in the emulator, and
the cycles that its submitters published. Non-negative least squares on the relative error:

    silicon_cycles = base + a * taken_branches + b * icache_sector_misses
                     + c * dcache_sector_misses + d * dcache_line_misses

Rows built under Zephyr by the other compiler stay out of the fit and are reported beside it (`timing.md`).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil_nas.device.boards import Timing
from hil_nas.errors import InputError

PENALISED = ("taken_branches", "icache_sector_misses", "dcache_sector_misses", "dcache_line_misses")
_BESIDE = "ONNC+CMSIS-NN (Zephyr"
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SiliconRow:
    """One published result: what ran, the emulator's counts, and the cycles on silicon."""

    stack: str
    model: str
    instructions: int
    base_cycles: int
    taken_branches: int
    icache_sector_misses: int
    icache_line_misses: int
    dcache_sector_misses: int
    dcache_line_misses: int
    silicon_cycles: int

    @property
    def fitted(self) -> bool:
        """Whether the row belongs to the fit; else it is reported beside it."""
        return not self.stack.startswith(_BESIDE)


@dataclass(frozen=True)
class RowError:
    """Modelled over published cycles, less one: of the fit on all rows, and of the fit without this row."""

    row: SiliconRow
    error: float
    left_out_error: float


@dataclass(frozen=True)
class FitReport:
    """Penalties in cycles, and errors as fractions.

    Attributes:
        timing: what `board.toml` holds in [timing].
        fitted: the rows of the fit.
        beside: the rows that are not; their two errors are the same.
        one_cpi: the mean error of instructions times one constant, for comparison.
    """

    timing: Timing
    fitted: tuple[RowError, ...]
    beside: tuple[RowError, ...]
    one_cpi: float

    @property
    def mean(self) -> float:
        """The mean error of the fit."""
        return float(np.mean([abs(x.error) for x in self.fitted]))

    @property
    def worst(self) -> float:
        """The largest error of the fit."""
        return max(abs(x.error) for x in self.fitted)

    @property
    def left_out_mean(self) -> float:
        """The mean error of each row under the fit without it."""
        return float(np.mean([abs(x.left_out_error) for x in self.fitted]))

    @property
    def left_out_worst(self) -> float:
        """The largest error of a row under the fit without it."""
        return max(abs(x.left_out_error) for x in self.fitted)

    def lines(self) -> list[str]:
        """The report as text."""
        head = [f"{x.name} = {getattr(self.timing, x.name):.2f}" for x in fields(self.timing)]
        shares = f"mean error {self.mean:.1%}, worst {self.worst:.1%}"
        left_out = f"leaving one out: mean {self.left_out_mean:.1%}, worst {self.left_out_worst:.1%}"
        named = (("fit", self.fitted), ("beside", self.beside))
        rows = [f"{kind:6} {x.row.model:4} {x.error:+6.1%}  {x.row.stack}" for kind, found in named for x in found]
        return [*head, shares, left_out, f"instructions times one CPI: mean {self.one_cpi:.1%}", *rows]


def read_silicon(path: Path) -> tuple[SiliconRow, ...]:
    """Read `boards/<board>/silicon.csv`.

    Raises:
        InputError: for a file that is missing, or has other columns or values.
    """
    names = [x.name for x in fields(SiliconRow)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != names:
                raise InputError(f"{path} has the columns {reader.fieldnames}, expected {names}")
            return tuple(_row(path, reader.line_num, x) for x in reader)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="give the boards folder") from None


def _row(path: Path, line: int, cells: dict[str, str]) -> SiliconRow:
    counts = {name: value for name, value in cells.items() if name not in ("stack", "model")}
    bad = {name: x for name, x in counts.items() if not isinstance(x, str) or not x.isdigit()}
    if bad or int(counts["silicon_cycles"]) == 0:
        raise InputError(f"{path}, line {line}: counts are whole numbers, found {bad or counts}")
    return SiliconRow(cells["stack"], cells["model"], **{name: int(x) for name, x in counts.items()})


def fit_timing(path: Path, penalised: Sequence[str] = PENALISED) -> FitReport:
    """Fit the penalties to `silicon.csv`.

    Args:
        path: the file.
        penalised: the counts that get a penalty; the others' is 0.

    Raises:
        InputError: as `read_silicon`, and where fewer rows than penalties are left to fit.
    """
    rows = read_silicon(path)
    fitted = [x for x in rows if x.fitted]
    if len(fitted) <= len(penalised):
        message = f"{path} has {len(fitted)} rows to fit, expected more than {len(penalised)}"
        raise InputError(message, hint="each penalty needs a row, and leaving one out another")
    penalties = _solve(fitted, penalised)
    inside = [_error(x, penalties, _solve([y for y in fitted if y is not x], penalised)) for x in fitted]
    beside = [_error(x, penalties, penalties) for x in rows if not x.fitted]
    return FitReport(Timing(*penalties), tuple(inside), tuple(beside), _one_cpi(fitted))


def _solve(rows: Sequence[SiliconRow], penalised: Sequence[str]) -> list[float]:
    """Penalties in the order of `PENALISED`, none below zero, that make the relative errors small."""
    from scipy.optimize import nnls

    cycles = _column(rows, "silicon_cycles")
    wanted = 1 - _column(rows, "base_cycles") / cycles
    counts = np.stack([_column(rows, x) / cycles for x in penalised], axis=1)  # (rows, penalties)
    solution, _ = nnls(counts, wanted)
    found = dict(zip(penalised, map(float, solution), strict=True))
    return [found.get(x, 0.0) for x in PENALISED]


def _column(rows: Sequence[SiliconRow], name: str) -> Values:
    return np.array([getattr(x, name) for x in rows], dtype=np.float64)


def _error(row: SiliconRow, penalties: Sequence[float], left_out: Sequence[float]) -> RowError:
    def relative(values: Sequence[float]) -> float:
        added: float = sum(getattr(row, name) * x for name, x in zip(PENALISED, values, strict=True))
        return (row.base_cycles + added) / row.silicon_cycles - 1

    return RowError(row, relative(penalties), relative(left_out))


def _one_cpi(rows: Sequence[SiliconRow]) -> float:
    """The mean relative error of the best single number of cycles per instruction."""
    share = _column(rows, "instructions") / _column(rows, "silicon_cycles")
    cpi = share.sum() / (share**2).sum()  # least squares on relative error
    return float(np.mean(np.abs(share * cpi - 1)))
