"""What a latency model has to beat: cycles from multiply-accumulates, and a look-up table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import prod
from typing import Self

import numpy as np
from sklearn.linear_model import LinearRegression

from hil_nas.cost.macs import operator_macs
from hil_nas.errors import OutOfRangeError
from hil_nas.front_ends import FrontEnd
from hil_nas.latency.kernel_work import is_executed
from hil_nas.latency.measurements import Measurements
from hil_nas.latency.regressor import Floats
from hil_nas.network import Operator

Point = tuple[float, ...]


class MacsLinear:
    """Cycles = a + b x multiply-accumulates per kind of operator; values written where a kind multiplies nothing.

    Each kind of front end is linear in frames x N log2 N of its FFT.
    """

    def __init__(self, lines: dict[str, tuple[float, float]]) -> None:
        self._lines = lines

    @classmethod
    def fit(cls, rows: Measurements) -> Self:
        """Least squares on the relative error, as the model they are compared with."""
        points: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row in rows.operators:
            points[row.operator.layer.kind].append((_work(row.operator), row.median_cycles))
        for end in rows.front_ends:
            points[end.config.kind].append((_fft_work(end.config), end.median_cycles))
        return cls({kind: _line(np.array(x)) for kind, x in points.items()})

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats:
        return np.array([self._cycles(x.layer.kind, _work(x)) if is_executed(x) else 0.0 for x in operators])

    def front_end_cycles(self, config: FrontEnd) -> float:
        return self._cycles(config.kind, _fft_work(config))

    def _cycles(self, kind: str, work: float) -> float:
        if kind not in self._lines:
            raise OutOfRangeError(f"no {kind} was measured")
        base, slope = self._lines[kind]
        return base + slope * work


class LookUp:
    """The cycles of the same operator where it was measured, else those of the nearest of its kind.

    Near is by the logarithms of shapes and kernel.
    """

    def __init__(self, table: dict[str, tuple[Floats, Floats]]) -> None:
        self._table = table

    @classmethod
    def fit(cls, rows: Measurements) -> Self:
        entries: dict[str, list[tuple[Point, float]]] = defaultdict(list)
        for row in rows.operators:
            entries[row.operator.layer.kind].append((_point(row.operator), row.median_cycles))
        for end in rows.front_ends:
            entries[end.config.kind].append((_front_end_point(end.config), end.median_cycles))
        return cls(
            {
                kind: (np.array([x for x, _ in cycles]), np.array([y for _, y in cycles]))
                for kind, cycles in entries.items()
            }
        )

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats:
        return np.array([self._nearest(x.layer.kind, _point(x)) if is_executed(x) else 0.0 for x in operators])

    def front_end_cycles(self, config: FrontEnd) -> float:
        return self._nearest(config.kind, _front_end_point(config))

    def _nearest(self, kind: str, point: Point) -> float:
        if kind not in self._table:
            raise OutOfRangeError(f"no {kind} was measured")
        points_of, cycles = self._table[kind]
        distances = np.square(points_of - np.array(point)).sum(axis=1)  # (rows,)
        return float(cycles[distances <= distances.min() + 1e-12].mean())


def _work(operator: Operator) -> float:
    return float(operator_macs(operator) or prod(operator.output))


def _fft_work(config: FrontEnd) -> float:
    return float(config.frames * config.fft_size * np.log2(config.fft_size))


def _line(points: Floats) -> tuple[float, float]:
    work, cycles = points[:, 0], points[:, 1]
    design = np.stack([1 / cycles, work / cycles], axis=1)  # (rows, 2); the target becomes 1
    linear = LinearRegression(positive=True, fit_intercept=False).fit(design, np.ones(len(cycles)))
    return float(linear.coef_[0]), float(linear.coef_[1])


def _point(operator: Operator) -> Point:
    layer, inputs = operator.layer, sum(x[2] for x in operator.inputs)
    sizes = (*operator.inputs[0][:2], inputs, *operator.output, *layer.kernel, *layer.stride, *layer.dilation)
    return tuple(float(np.log(x)) for x in sizes)


def _front_end_point(config: FrontEnd) -> Point:
    return tuple(float(np.log(x)) for x in (*config.values, config.fft_size))
