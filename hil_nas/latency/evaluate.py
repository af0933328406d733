"""How far predictions lie from measurements that the model has not seen, beside what it has to beat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from hil_nas.latency.baselines import LookUp, MacsLinear
from hil_nas.latency.features import kernel_path
from hil_nas.latency.model import FOLDS, LatencyModel, relative_errors
from hil_nas.latency.regressor import Floats
from hil_nas.latency.store import FrontEndRow, Measurements
from hil_nas.mfcc import MfccConfig
from hil_nas.network import Operator

Report = dict[str, float]


class Predictor(Protocol):
    """What the model and its baselines have in common."""

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats: ...

    def front_end_cycles(self, config: MfccConfig) -> float: ...


class _Extrapolating:
    """The model without its refusals, so that every row is counted in its error."""

    def __init__(self, model: LatencyModel) -> None:
        self._model = model

    def operator_cycles(self, operators: Sequence[Operator]) -> Floats:
        return self._model.extrapolated_cycles(operators)

    def front_end_cycles(self, config: MfccConfig) -> float:
        return self._model.extrapolated_front_end_cycles(config)


class _Errors:
    """Relative errors of one predictor, gathered over folds."""

    def __init__(self) -> None:
        self.networks: list[float] = []
        self.operators: list[float] = []
        self.front_ends: list[float] = []

    def add(self, predictor: Predictor, rows: Measurements, overhead_cycles: float) -> None:
        by_network: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows.operators):
            by_network[row.network].append(index)
        predicted = predictor.operator_cycles([x.operator for x in rows.operators])
        measured = np.array([x.median_cycles for x in rows.operators])
        self.operators += relative_errors(predicted, measured).tolist()
        for network in rows.networks:
            total = predicted[by_network[network.network]].sum() + overhead_cycles
            self.networks.append(total / network.median_cycles - 1)
        for end in rows.front_ends:
            self.front_ends.append(predictor.front_end_cycles(end.config) / end.median_cycles - 1)

    def report(self, prefix: str) -> Report:
        return {
            f"{prefix}network_mean_error_percent": _percent(self.networks),
            f"{prefix}network_worst_error_percent": _percent(self.networks, worst=True),
            f"{prefix}operator_mean_error_percent": _percent(self.operators),
            f"{prefix}front_end_mean_error_percent": _percent(self.front_ends),
        }


def held_out_errors(rows: Measurements, folds: int = FOLDS) -> Report:
    """Errors on whole networks and front ends that were left out of the fit, each once.

    Args:
        rows: of at least `folds` networks.

    Returns:
        Percentages of the model, and of its baselines with the prefixes `macs_linear_` and `look_up_`: the mean
        and the worst absolute error of networks, the means of operators and front ends. NaN where there is
        nothing to hold out.
    """
    return _errors(_folds(rows, folds))


def fresh_errors(known: Measurements, fresh: Measurements) -> Report:
    """As `held_out_errors`, of a model fitted to all of `known`, on rows measured after it."""
    return _errors(iter([(known, fresh)]))


def _errors(splits: Iterator[tuple[Measurements, Measurements]]) -> Report:
    gathered = {"": _Errors(), "macs_linear_": _Errors(), "look_up_": _Errors()}
    for train, test in splits:
        model = LatencyModel.fit(train)
        test = _on_known_paths(test, model)
        overhead = model.overhead_cycles
        gathered[""].add(_Extrapolating(model), test, overhead)
        gathered["macs_linear_"].add(MacsLinear.fit(train), test, overhead)
        gathered["look_up_"].add(LookUp.fit(train), test, overhead)
    report: Report = {}
    for prefix, errors in gathered.items():
        report |= errors.report(prefix)
    return report


def _on_known_paths(rows: Measurements, model: LatencyModel) -> Measurements:
    """Without the networks that hold a kernel path which only they have: nothing can predict those."""
    unknown = {x.network for x in rows.operators if kernel_path(x.operator) not in model.paths}
    return rows.of_networks({x.network for x in rows.networks} - unknown)


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


def _percent(errors: list[float], *, worst: bool = False) -> float:
    if not errors:
        return float("nan")
    return float(100 * (np.max if worst else np.mean)(np.abs(errors)))
