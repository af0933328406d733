"""Cycles of operators, networks and front ends that were not measured, from those that were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from hil_nas.errors import InputError, OutOfRangeError
from hil_nas.front_ends import FrontEnd
from hil_nas.kernels.kernel import Counts
from hil_nas.latency.kernel_work import is_executed, kernel_work, stage_path
from hil_nas.latency.measurements import Measurements
from hil_nas.latency.provenance import Provenance
from hil_nas.latency.regressor import CyclesRegressor, Floats
from hil_nas.latency.store import Store
from hil_nas.network import Network, Operator

MEASURE = "measure it: `hil_nas profile` adds rows to the latency model"
FOLDS = 5
SPREAD_QUANTILE = 0.9
SLACK = 1.25  # cycles are straight lines in loop counts: a quarter beyond what was measured is no extrapolation
_Group = tuple[list[Counts], list[float], list[Hashable]]  # rows of a path, and what to hold out together


@dataclass(frozen=True)
class PathModel:
    """One kernel path: its regressor, the names of its features and how far off it is on unseen networks.

    Attributes:
        spread: the relative error that 9 of 10 held-out operators stay below; infinite where too few
            networks hold the path for anything to be held out.
    """

    names: tuple[str, ...]
    regressor: CyclesRegressor
    spread: float

    @property
    def coefficients_cycles(self) -> dict[str, float]:
        """Cycles per turn of each loop."""
        return dict(zip(self.names, self.regressor.coef_.tolist(), strict=True))

    def outside(self, counts: Counts) -> str | None:
        """Why counts lie outside what was measured, in words; None where they lie inside.

        A loop must not turn more often than measured, and the whole not take fewer cycles than measured.
        """
        fitted, values = self.regressor, _matrix([counts])
        beyond = np.flatnonzero(values[0] > SLACK * fitted.x_max_)
        if len(beyond):
            first = beyond[np.argmin(fitted.x_max_[beyond] > 0)]  # the clearest reason is a loop that never ran
            name, low, high = self.names[first], fitted.x_min_[first], fitted.x_max_[first]
            return f"{name} is {counts[name]:.0f}, measured were {low:.0f} to {high:.0f}"
        cycles = float(fitted.predict(values)[0])
        if cycles * SLACK < fitted.y_min_:
            return f"it takes about {cycles:.0f} cycles, measured were {fitted.y_min_:.0f} and more"
        return None


class LatencyModel:
    """Cycles on one board, with one non-negative linear model per kernel path and per stage of front ends.

    Build one with `fit` or `load`.
    """

    def __init__(
        self,
        paths: dict[str, PathModel],
        overhead_cycles: float,
        provenance: Provenance | None = None,
        stage_overhead: float = 0.0,
    ) -> None:
        self.paths = paths
        self.overhead_cycles = overhead_cycles  # of every network, beside its operators
        self.stage_overhead = stage_overhead  # of every front end, beside its stages', as a share of these
        self.provenance = provenance

    @classmethod
    def fit(cls, rows: Measurements, provenance: Provenance | None = None) -> Self:
        """Fit to measured rows; deterministic, well below a second for the rows of a plan.

        Raises:
            InputError: where there are no rows.
        """
        if not rows.operators and not rows.front_ends:
            raise InputError("there is nothing to fit a latency model to", hint="run `hil_nas profile` first")
        groups: dict[str, _Group] = defaultdict(lambda: ([], [], []))
        for row in rows.operators:
            work = kernel_work(row.operator)
            _add(groups[work.path], work.counts, row.median_cycles, row.network)
        for end in rows.front_ends:
            counts = end.config.work()
            for stage, cycles in end.stages:
                _add(groups[stage_path(stage)], counts[stage], cycles, end.config)
        paths = {path: _fit_path(*group) for path, group in sorted(groups.items())}
        return cls(paths, _fit_overhead(rows), provenance, _fit_stage_overhead(rows))

    @classmethod
    def load(cls, folder: Path, expected: Provenance | None = None) -> Self:
        """Fit to the rows in a folder.

        Args:
            folder: `latency_models/<BOARD@HOST>`.
            expected: what the model is for; None takes whatever the folder holds.

        Raises:
            InputError: where the folder holds no rows, damaged rows or rows of another provenance.
        """
        store = Store(folder)
        provenance = store.provenance()
        if expected is not None:
            expected.require(provenance, store.folder)
        return cls.fit(store.read(), provenance)

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats:
        """Cycles of each operator, (operators,); a reshape takes none.

        Raises:
            OutOfRangeError: where one lies outside what was measured.
            UnsupportedError: where no kernel runs one.
        """
        for operator in operators:
            if (reason := self.outside(operator)) is not None:
                raise OutOfRangeError(reason, hint=MEASURE)
        return self.extrapolated_cycles(operators)

    def extrapolated_cycles(self, operators: Sequence[Operator]) -> Floats:
        """As `operator_cycles`, outside the measured range too: to choose what to measure, not to promise.

        Raises:
            OutOfRangeError: where a kernel path was never measured.
        """
        cycles = np.zeros(len(operators))
        by_path: dict[str, list[int]] = defaultdict(list)
        for index, operator in enumerate(operators):
            if is_executed(operator):
                by_path[kernel_work(operator).path].append(index)
        for path, indices in by_path.items():
            counts = [kernel_work(operators[i]).counts for i in indices]
            cycles[indices] = self._path(path).regressor.predict(_matrix(counts))
        return cycles

    def outside(self, operator: Operator) -> str | None:
        """Why an operator lies outside what was measured; None where it lies inside."""
        if not is_executed(operator):
            return None
        work = kernel_work(operator)
        if work.path not in self.paths:
            return f"no {work.path} was measured"
        reason = self.paths[work.path].outside(work.counts)
        return f"{work.path} of {operator.inputs} to {operator.output}: {reason}" if reason else None

    def network_cycles(self, network: Network) -> float:
        """Cycles of a whole network, without its front end.

        Raises:
            OutOfRangeError: where an operator lies outside what was measured.
        """
        operators = [x for x in network.operators() if is_executed(x)]
        return self.whole_cycles(self.operator_cycles(operators))

    def whole_cycles(self, operator_cycles: Floats) -> float:
        """Cycles of a network from those of its operators, (operators,)."""
        return float(operator_cycles.sum()) + self.overhead_cycles

    def network_spread(self, network: Network) -> float:
        """The relative error to expect of `network_cycles`, if the operators' errors all fell on one side.

        Raises:
            OutOfRangeError: where an operator lies outside what was measured.
        """
        operators = [x for x in network.operators() if is_executed(x)]
        cycles = self.operator_cycles(operators)
        spreads = np.array([self._path(kernel_work(x).path).spread for x in operators])
        return float(np.sum(cycles * spreads) / self.whole_cycles(cycles))

    def front_end_cycles(self, config: FrontEnd) -> float:
        """Cycles of the front end over one clip.

        Raises:
            OutOfRangeError: where the configuration lies outside what was measured.
        """
        for stage, counts in config.work().items():
            if (reason := self._path(stage_path(stage)).outside(counts)) is not None:
                raise OutOfRangeError(f"front end {config}, {stage}: {reason}", hint=MEASURE)
        return self.extrapolated_front_end_cycles(config)

    def extrapolated_front_end_cycles(self, config: FrontEnd) -> float:
        """As `front_end_cycles`, outside the measured range too.

        Raises:
            OutOfRangeError: where no front end with such stages was measured.
        """
        return sum(self.stage_cycles(config).values()) * (1 + self.stage_overhead)

    def stage_cycles(self, config: FrontEnd) -> dict[str, float]:
        """Cycles of each stage of a front end over one clip, outside the measured range too.

        Raises:
            OutOfRangeError: where no front end with such stages was measured.
        """
        work = config.work().items()
        return {name: float(self._path(stage_path(name)).regressor.predict(_matrix([x]))[0]) for name, x in work}

    def _path(self, path: str) -> PathModel:
        if path not in self.paths:
            raise OutOfRangeError(f"no {path} was measured", hint=MEASURE)
        return self.paths[path]


def relative_errors(predicted: Floats, measured: Floats) -> Floats:
    """(predicted - measured) / measured."""
    errors: Floats = (predicted - measured) / measured
    return errors


def _add(group: _Group, counts: Counts, cycles: float, name: Hashable) -> None:
    group[0].append(counts)
    group[1].append(cycles)
    group[2].append(name)


def _fit_path(counts: list[Counts], cycles: list[float], names: list[Hashable]) -> PathModel:
    features, target = _matrix(counts), np.array(cycles)
    spread = _held_out_spread(features, target, names)
    return PathModel(tuple(counts[0]), CyclesRegressor().fit(features, target), spread)


def _held_out_spread(features: Floats, target: Floats, names: list[Hashable]) -> float:
    groups = np.unique([str(x) for x in names], return_inverse=True)[1]
    folds = min(FOLDS, len(set(groups.tolist())))
    if folds < 2:
        return float("inf")
    errors = np.empty(len(target))
    for train, test in GroupKFold(folds).split(features, target, groups):
        fitted = CyclesRegressor().fit(features[train], target[train])
        errors[test] = relative_errors(fitted.predict(features[test]), target[test])
    return float(np.quantile(np.abs(errors), SPREAD_QUANTILE))


def _fit_overhead(rows: Measurements) -> float:
    """What a network's total has beyond its operators' counts; below 0 where the counters cost more than that."""
    sums: dict[str, float] = defaultdict(float)
    for row in rows.operators:
        sums[row.network] += row.median_cycles
    rest = [x.median_cycles - sums[x.network] for x in rows.networks]
    return float(np.median(rest)) if rest else 0.0


def _fit_stage_overhead(rows: Measurements) -> float:
    """What a front end's total has beyond its stages' counts, as a share of them; below 0, as counting takes cycles."""
    rest = [x.median_cycles / sum(cycles for _, cycles in x.stages) - 1 for x in rows.front_ends]
    return float(np.median(rest)) if rest else 0.0


def _matrix(counts: Sequence[Counts]) -> NDArray[np.float64]:
    return np.array([list(x.values()) for x in counts], dtype=np.float64)  # (rows, features)
