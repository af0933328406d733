"""How far predictions lie from measurements that the model has not seen, beside what it has to beat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from scipy.stats import spearmanr

from hil_nas.front_ends import FrontEnd
from hil_nas.latency.baseline_models import LookUp, MacsLinear
from hil_nas.latency.kernel_work import kernel_path, stage_path
from hil_nas.latency.measurements import FrontEndRow, Measurements
from hil_nas.latency.model import FOLDS, LatencyModel, relative_errors
from hil_nas.latency.regressor import Floats
from hil_nas.network import Operator

Report = dict[str, float]
MODEL, MACS_LINEAR, LOOK_UP = "", "macs_linear_", "look_up_"  # what predicts, as prefixes of names in a report


class Predictor(Protocol):
    """What the model and its baselines have in common."""

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats: ...

    def front_end_cycles(self, config: FrontEnd) -> float: ...


class _Extrapolating:
    """The model without its refusals, so that every row is counted in its error."""

    def __init__(self, model: LatencyModel) -> None:
        self._model = model

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats:
        return self._model.extrapolated_cycles(operators)

    def front_end_cycles(self, config: FrontEnd) -> float:
        return self._model.extrapolated_front_end_cycles(config)


@dataclass
class Pairs:
    """Cycles as measured and as predicted without having been seen, in the same order."""

    measured: list[float] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)

    def add(self, measured: float, predicted: float) -> None:
        self.measured.append(measured)
        self.predicted.append(predicted)

    @property
    def errors_percent(self) -> Floats:
        """(predicted - measured) / measured, (pairs,)."""
        return 100 * relative_errors(np.array(self.predicted), np.array(self.measured))

    @property
    def mean_percent(self) -> float:
        """The mean absolute error; NaN of nothing, as everything here."""
        return float(np.abs(self.errors_percent).mean()) if self.measured else float("nan")

    @property
    def worst_percent(self) -> float:
        return float(np.abs(self.errors_percent).max()) if self.measured else float("nan")

    def within_percent(self, limit: float) -> float:
        """The share of errors that are no larger, itself in percent."""
        return float(100 * np.mean(np.abs(self.errors_percent) <= limit)) if self.measured else float("nan")

    @property
    def rank_correlation(self) -> float:
        """Spearman's: 1 where the order of the predictions is that of the measurements."""
        several = len(set(self.measured)) > 1 and len(set(self.predicted)) > 1
        return float(spearmanr(self.measured, self.predicted).statistic) if several else float("nan")


@dataclass
class Predictions:
    """What one predictor said of networks, operators and front ends that it was not fitted to."""

    networks: Pairs = field(default_factory=Pairs)
    operators: Pairs = field(default_factory=Pairs)
    front_ends: Pairs = field(default_factory=Pairs)
    paths: list[str] = field(default_factory=list)  # of each operator
    kinds: list[str] = field(default_factory=list)  # of each front end

    def add(self, predictor: Predictor, rows: Measurements, overhead_cycles: float) -> None:
        by_network: dict[str, float] = defaultdict(float)
        for row, cycles in zip(
            rows.operators, predictor.operator_cycles([x.operator for x in rows.operators]), strict=True
        ):
            self.operators.add(row.median_cycles, float(cycles))
            self.paths.append(kernel_path(row.operator))
            by_network[row.network] += float(cycles)
        for network in rows.networks:
            self.networks.add(network.median_cycles, by_network[network.network] + overhead_cycles)
        for end in rows.front_ends:
            self.front_ends.add(end.median_cycles, predictor.front_end_cycles(end.config))
            self.kinds.append(end.config.kind)

    def by_path(self) -> dict[str, Pairs]:
        """The operators of each kernel path, then the front ends of each kind."""
        pairs_of: dict[str, Pairs] = {x: Pairs() for x in (*sorted(set(self.paths)), *sorted(set(self.kinds)))}
        for names, pairs in ((self.paths, self.operators), (self.kinds, self.front_ends)):
            for name, *pair in zip(names, pairs.measured, pairs.predicted, strict=True):
                pairs_of[name].add(*pair)
        return pairs_of

    def report(self, prefix: str) -> Report:
        return {
            f"{prefix}network_mean_error_percent": self.networks.mean_percent,
            f"{prefix}network_worst_error_percent": self.networks.worst_percent,
            f"{prefix}networks_within_5_percent": self.networks.within_percent(5),
            f"{prefix}networks_within_10_percent": self.networks.within_percent(10),
            f"{prefix}network_rank_correlation": self.networks.rank_correlation,
            f"{prefix}operator_mean_error_percent": self.operators.mean_percent,
            f"{prefix}front_end_mean_error_percent": self.front_ends.mean_percent,
        }


def held_out(rows: Measurements, folds: int = FOLDS) -> dict[str, Predictions]:
    """Whole networks and front ends, each predicted once by what was fitted without it; by `MODEL` and baselines.

    Args:
        rows: of at least `folds` networks.
    """
    return _predictions(_folds(rows, folds))


def of_fresh(known: Measurements, fresh: Measurements) -> dict[str, Predictions]:
    """As `held_out`, of a model fitted to all of `known`, on rows measured after it."""
    return _predictions(iter([(known, fresh)]))


def errors(predictions: dict[str, Predictions]) -> Report:
    """Figures of the model, and of its baselines under their prefixes.

    Returns:
        The mean and the worst absolute error of networks in percent, the shares of networks within 5 and 10 %, the
        rank correlation of networks, the mean errors of operators and front ends. NaN where nothing was predicted.
    """
    report: Report = {}
    for prefix, predicted in predictions.items():
        report |= predicted.report(prefix)
    return report


def held_out_errors(rows: Measurements, folds: int = FOLDS) -> Report:
    """`errors` of what is `held_out`."""
    return errors(held_out(rows, folds))


def _predictions(splits: Iterator[tuple[Measurements, Measurements]]) -> dict[str, Predictions]:
    gathered = {MODEL: Predictions(), MACS_LINEAR: Predictions(), LOOK_UP: Predictions()}
    for train, test in splits:
        model = LatencyModel.fit(train)
        test = _on_known_paths(test, model)
        overhead = model.overhead_cycles
        gathered[MODEL].add(_Extrapolating(model), test, overhead)
        gathered[MACS_LINEAR].add(MacsLinear.fit(train), test, overhead)
        gathered[LOOK_UP].add(LookUp.fit(train), test, overhead)
    return gathered


@dataclass(frozen=True)
class CurvePoint:
    """Errors of predictors fitted to the first networks of a plan.

    Attributes:
        networks: how many were fitted to.
        predicted: how many of those held out hold only kernel paths that were measured by then.
        mean_percent: absolute error over them, by predictor.
    """

    networks: int
    predicted: int
    mean_percent: dict[str, float]


def learning_curve(rows: Measurements, folds: int = FOLDS) -> list[CurvePoint]:
    """The error on one network of `folds`, refitted to ever more of the others, in the order they were measured."""
    held = {x.network for x in rows.networks[folds - 1 :: folds]}
    rest = [x.network for x in rows.networks if x.network not in held]
    chosen = rows.of_networks(held)
    test = Measurements(chosen.operators, chosen.networks)
    points = []
    for count in [*(x for x in (5, 10, 20, 40, 80, 160, 320) if x < len(rest)), len(rest)]:
        predictions = _predictions(iter([(rows.of_networks(set(rest[:count])), test)]))
        means = {prefix: x.networks.mean_percent for prefix, x in predictions.items()}
        points.append(CurvePoint(count, len(predictions[MODEL].networks.measured), means))
    return points


def _on_known_paths(rows: Measurements, model: LatencyModel) -> Measurements:
    """Rows that the model can predict: no networks of kernel paths and no front ends of kinds that it has not met."""
    unknown = {x.network for x in rows.operators if kernel_path(x.operator) not in model.paths}
    known = rows.of_networks({x.network for x in rows.networks} - unknown)
    ends = tuple(x for x in rows.front_ends if {stage_path(y) for y in x.config.stages} <= model.paths.keys())
    return replace(known, front_ends=ends)


def _folds(rows: Measurements, folds: int) -> Iterator[tuple[Measurements, Measurements]]:
    """Pairs of what is fitted and what is held out; networks and front ends are dealt out apart."""
    names = [x.network for x in rows.networks]
    network_parts = _parts(len(names), folds)
    front_end_parts = _parts(len(rows.front_ends), folds)
    for held_networks, held_ends in zip(network_parts, front_end_parts, strict=True):
        held = {names[i] for i in held_networks}
        yield (
            _select(rows, set(names) - held, [x for i, x in enumerate(rows.front_ends) if i not in held_ends]),
            _select(rows, held, [x for i, x in enumerate(rows.front_ends) if i in held_ends]),
        )


def _select(rows: Measurements, names: set[str], front_ends: list[FrontEndRow]) -> Measurements:
    chosen = rows.of_networks(names)
    return Measurements(chosen.operators, chosen.networks, tuple(front_ends))


def _parts(count: int, folds: int) -> list[set[int]]:
    return [set(range(start, count, folds)) for start in range(folds)]
