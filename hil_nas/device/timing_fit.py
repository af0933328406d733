"""Fit the virtual board's penalties of flash to published silicon, and say how well the cycle model then does.

A row of `silicon.csv` is one network on a NUCLEO-L4R5ZI at 120 MHz: counts of the same generated code in the emulator,
in one of two layouts, and the cycles that its submitters published. The base and the taken branches are the core's and
fixed; non-negative least squares on the relative error, over both layouts of each network, gives the rest:

    silicon_cycles = base + 2 * taken_branches + b * icache_sector_misses
                     + c * dcache_sector_misses + d * dcache_line_misses

Rows built under Zephyr by the other compiler stay out of the fit, and so do other people's programs, of other memories
(`silicon_held_out.csv`); both are reported beside it (`timing.md`).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hil_nas.device.boards import Timing
from hil_nas.errors import InputError

BRANCH_CYCLES = 2.0  # DDI 0439, 3.3.1: a refill takes 1 to 3; by regression on pqm4's rows 2.2 (timing.md)
PENALISED = ("icache_sector_misses", "dcache_sector_misses", "dcache_line_misses")
HELD_OUT = "silicon_held_out.csv"
# What base and branches of the old rules, a load behind a store pipelined and so on, make of pqm4's rows: for the rows
# of programs that were counted by those rules alone. pqm4's own rows are counted by the rules in use.
APPROXIMATE_BASE, APPROXIMATE_BRANCH_CYCLES = 1.026, 2.18
_BESIDE = "ONNC+CMSIS-NN (Zephyr"
Values = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class SiliconRow:
    """One published result: what ran, the emulator's counts, and the cycles on silicon.

    Attributes:
        layout_bytes: how far all functions were moved in memory against their alignment: 0 or 2.
    """

    stack: str
    model: str
    layout_bytes: int
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

    @property
    def core_cycles(self) -> float:
        """What the core takes with a memory that never waits."""
        return self.base_cycles + BRANCH_CYCLES * self.taken_branches


@dataclass(frozen=True)
class HeldOutRow:
    """A published result that no fit has seen.

    Attributes:
        set: whose programs; `workload` is the program.
        chip: a Cortex-M4; `memory` says where its code lay.
        counted_by: `rules`, those of the model; `approximation` from counts by older rules.
        layout_bytes: as in SiliconRow.
    """

    set: str
    workload: str
    chip: str
    memory: str
    counted_by: str
    layout_bytes: int
    instructions: int
    base_cycles: int
    taken_branches: int
    silicon_cycles: int

    @property
    def error(self) -> float:
        """Cycles of the core over the published ones, less one; these programs ran from memory without wait states."""
        if self.counted_by == "rules":
            cycles = self.base_cycles + BRANCH_CYCLES * self.taken_branches
        else:
            cycles = APPROXIMATE_BASE * self.base_cycles + APPROXIMATE_BRANCH_CYCLES * self.taken_branches
        return cycles / self.silicon_cycles - 1


@dataclass(frozen=True)
class SetError:
    """A set of held-out rows of one way of counting and one layout."""

    set: str
    chips: tuple[str, ...]
    counted_by: str
    layout_bytes: int
    rows: int
    mean: float
    worst: float


@dataclass(frozen=True)
class NetworkError:
    """Modelled over published cycles, less one, in each layout: of the fit, and of the fit without this network."""

    rows: tuple[SiliconRow, ...]
    errors: tuple[float, ...]
    left_out_errors: tuple[float, ...]

    @property
    def error(self) -> float:
        """The mean over the layouts: which of them the submitters' binary resembles is not known."""
        return float(np.mean(self.errors))

    @property
    def left_out_error(self) -> float:
        """The same of the fit without this network."""
        return float(np.mean(self.left_out_errors))


@dataclass(frozen=True)
class FitReport:
    """Penalties in cycles, and errors as fractions.

    Attributes:
        timing: what `board.toml` holds in [timing].
        fitted: the networks of the fit.
        beside: those that are not; their two errors are the same.
        held_out: the sets of other programs.
        one_cpi: the mean error of instructions times one constant, for comparison.
    """

    timing: Timing
    fitted: tuple[NetworkError, ...]
    beside: tuple[NetworkError, ...]
    held_out: tuple[SetError, ...]
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
        """The mean error of each network under the fit without it."""
        return float(np.mean([abs(x.left_out_error) for x in self.fitted]))

    @property
    def left_out_worst(self) -> float:
        """The largest error of a network under the fit without it."""
        return max(abs(x.left_out_error) for x in self.fitted)

    def lines(self) -> list[str]:
        """The report as text."""
        head = [f"{x.name} = {getattr(self.timing, x.name):.2f}" for x in fields(self.timing)]
        left_out = f"leaving one out: mean {self.left_out_mean:.1%}, worst {self.left_out_worst:.1%}"
        fit = f"fitted: {len(self.fitted)} networks, mean error {self.mean:.1%}, worst {self.worst:.1%}; {left_out}"
        named = (("fit", self.fitted), ("beside", self.beside))
        rows = [_line(kind, x) for kind, networks in named for x in networks]
        one_cpi = f"instructions times one CPI: mean {self.one_cpi:.1%}"
        title = "held out: set, rows, mean and worst error, how its cycles were counted"
        return [*head, fit, one_cpi, *rows, title, *map(_set_line, self.held_out)]


def _line(kind: str, network: NetworkError) -> str:
    first = network.rows[0]
    layouts = ", ".join(f"{x:+.1%}" for x in network.errors)
    return f"{kind:6} {first.model:4} {network.error:+6.1%} (by layout {layouts})  {first.stack}"


def _set_line(error: SetError) -> str:
    how = "by the rules" if error.counted_by == "rules" else "approximated by base x 1.026 + 2.18 a branch"
    moved = f", code moved by {error.layout_bytes} bytes" if error.layout_bytes else ""
    errors = f"mean {error.mean:5.1%}, worst {error.worst:5.1%}"
    return f"{error.set:18} {error.rows:3}  {errors}  {how}{moved}  ({', '.join(error.chips)})"


def read_silicon(path: Path) -> tuple[SiliconRow, ...]:
    """Read `boards/<board>/silicon.csv`.

    Raises:
        InputError: for a file that is missing, or has other columns or values.
    """
    return _read(path, SiliconRow, ("stack", "model"))


def read_held_out(path: Path) -> tuple[HeldOutRow, ...]:
    """Read `boards/<board>/silicon_held_out.csv`; raises as `read_silicon`."""
    rows = _read(path, HeldOutRow, ("set", "workload", "chip", "memory", "counted_by"))
    for row in rows:
        if row.counted_by not in ("rules", "approximation"):
            raise InputError(f"{path}: counted_by is rules or approximation, found '{row.counted_by}'")
    return rows


def _read(path: Path, kind: type[T], texts: Sequence[str]) -> tuple[T, ...]:
    names = [x.name for x in fields(kind)]  # type: ignore[arg-type]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != names:
                raise InputError(f"{path} has the columns {reader.fieldnames}, expected {names}")
            return tuple(kind(**_cells(path, reader.line_num, x, texts)) for x in reader)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="give the boards folder") from None


def _cells(path: Path, line: int, cells: dict[str, str], texts: Sequence[str]) -> dict[str, str | int]:
    counts = {name: value for name, value in cells.items() if name not in texts}
    bad = {name: x for name, x in counts.items() if not isinstance(x, str) or not x.isdigit()}
    if bad or int(counts["silicon_cycles"]) == 0:
        raise InputError(f"{path}, line {line}: counts are whole numbers, found {bad or counts}")
    return {name: value if name in texts else int(value) for name, value in cells.items()}


def fit_timing(path: Path, penalised: Sequence[str] = PENALISED) -> FitReport:
    """Fit the penalties to `silicon.csv`.

    Args:
        path: the file; `silicon_held_out.csv` is read from beside it where it is there.
        penalised: the counts that get a penalty; the others' is 0.

    Raises:
        InputError: as `read_silicon`, and where fewer networks than penalties are left to fit.
    """
    networks = _by_network(read_silicon(path))
    fitted = [x for x in networks if x[0].fitted]
    if len(fitted) <= len(penalised):
        message = f"{path} has {len(fitted)} networks to fit, expected more than {len(penalised)}"
        raise InputError(message, hint="each penalty needs a network, and leaving one out another")
    penalties = _solve(fitted, penalised)
    inside = [_error(x, penalties, _solve([y for y in fitted if y is not x], penalised)) for x in fitted]
    beside = [_error(x, penalties, penalties) for x in networks if not x[0].fitted]
    held_out = read_held_out(path.with_name(HELD_OUT)) if path.with_name(HELD_OUT).is_file() else ()
    instruction, data_sector, data_line = penalties
    timing = Timing(BRANCH_CYCLES, instruction, data_sector, data_line, _error_percent(inside))
    return FitReport(timing, tuple(inside), tuple(beside), _by_set(held_out), _one_cpi([y for x in fitted for y in x]))


def _by_network(rows: Sequence[SiliconRow]) -> list[tuple[SiliconRow, ...]]:
    """The layouts of each network, in the order of the file."""
    layouts: dict[tuple[str, str], list[SiliconRow]] = {}
    for row in rows:
        layouts.setdefault((row.stack, row.model), []).append(row)
    return [tuple(x) for x in layouts.values()]


def _solve(networks: Sequence[Sequence[SiliconRow]], penalised: Sequence[str]) -> list[float]:
    """Penalties in the order of `PENALISED`, none below zero, that make the relative errors small."""
    from scipy.optimize import nnls

    rows = [y for x in networks for y in x]
    cycles = _column(rows, "silicon_cycles")
    wanted = 1 - _column(rows, "core_cycles") / cycles
    counts = np.stack([_column(rows, x) / cycles for x in penalised], axis=1)  # (rows, penalties)
    solution, _ = nnls(counts, wanted)
    penalties = dict(zip(penalised, map(float, solution), strict=True))
    return [penalties.get(x, 0.0) for x in PENALISED]


def _column(rows: Sequence[SiliconRow], name: str) -> Values:
    return np.array([getattr(x, name) for x in rows], dtype=np.float64)


def _error(rows: Sequence[SiliconRow], penalties: Sequence[float], left_out: Sequence[float]) -> NetworkError:
    def relative(row: SiliconRow, values: Sequence[float]) -> float:
        added: float = sum(getattr(row, name) * x for name, x in zip(PENALISED, values, strict=True))
        return (row.core_cycles + added) / row.silicon_cycles - 1

    errors, left_out_errors = (tuple(relative(x, values) for x in rows) for values in (penalties, left_out))
    return NetworkError(tuple(rows), errors, left_out_errors)


def _error_percent(networks: Sequence[NetworkError]) -> float:
    """What to expect of a network that the fit has not seen, in whichever layout: the worst of those left out."""
    return float(math.ceil(100 * max(abs(y) for x in networks for y in x.left_out_errors)))


def _by_set(rows: Sequence[HeldOutRow]) -> tuple[SetError, ...]:
    sets: dict[tuple[str, str, int], list[HeldOutRow]] = {}
    for row in rows:
        sets.setdefault((row.set, row.counted_by, row.layout_bytes), []).append(row)
    return tuple(_set_error(x) for x in sets.values())


def _set_error(rows: Sequence[HeldOutRow]) -> SetError:
    first, errors = rows[0], [abs(x.error) for x in rows]
    chips = tuple(dict.fromkeys(x.chip for x in rows))
    return SetError(
        first.set, chips, first.counted_by, first.layout_bytes, len(rows), float(np.mean(errors)), max(errors)
    )


def _one_cpi(rows: Sequence[SiliconRow]) -> float:
    """The mean relative error of the best single number of cycles per instruction."""
    share = _column(rows, "instructions") / _column(rows, "silicon_cycles")
    cpi = share.sum() / (share**2).sum()  # least squares on relative error
    return float(np.mean(np.abs(share * cpi - 1)))
