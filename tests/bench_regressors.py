"""Prints how regressors compare on the shipped rows, whole networks left out: the simplest that wins is the one in use.

    python tests/bench_regressors.py [BOARD@HOST ...]

All see the same counts of the same kernel path and predict an operator's cycles; those that are not linear learn
logarithms, where a relative error is an absolute one. Every network is predicted once, by fits to four fifths of the
others. Behind the board stands what a load of its model takes, which reads the rows and fits all of them.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from hil_nas.latency.kernel_work import kernel_work
from hil_nas.latency.measurements import Measurements
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.regressor import CyclesRegressor
from hil_nas.latency.store import Store

MODELS = Path(__file__).resolve().parent.parent / "latency_models"
FOLDS = 5


def of_logarithms(estimator: Any) -> Any:
    """Counts and cycles as logarithms."""
    counts = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), estimator)
    return TransformedTargetRegressor(counts, func=np.log, inverse_func=np.exp)


REGRESSORS = {
    "non-negative, relative error": CyclesRegressor(),
    "the same without its ridge": CyclesRegressor(alpha=0.0),
    "least squares, absolute error": LinearRegression(),
    "gradient boosting, 100 trees": of_logarithms(HistGradientBoostingRegressor(random_state=0)),
    "gradient boosting, 1000 trees": of_logarithms(
        HistGradientBoostingRegressor(max_iter=1000, learning_rate=0.05, min_samples_leaf=5, random_state=0)
    ),
    "random forest, 300 trees": of_logarithms(RandomForestRegressor(300, random_state=0)),
    "nearest neighbours, 3": of_logarithms(KNeighborsRegressor(3, weights="distance")),
}


def common(rows: Measurements) -> Measurements:
    """Without the networks that alone, or nearly so, take some kernel path: it has nothing to be learnt from."""
    networks: dict[str, set[Any]] = defaultdict(set)
    for row in rows.operators:
        networks[kernel_work(row.operator).path].add(row.network)
    rare = set().union(*(x for x in networks.values() if len(x) < 2 * FOLDS))
    return replace(
        rows,
        networks=tuple(x for x in rows.networks if x.network not in rare),
        operators=tuple(x for x in rows.operators if x.network not in rare),
    )


def held_out(rows: Measurements, regressor: Any) -> np.ndarray:
    """Cycles of every operator, (operators,), by fits that did not see its network."""
    paths: dict[str, list[int]] = defaultdict(list)
    works = [kernel_work(x.operator) for x in rows.operators]
    for index, work in enumerate(works):
        paths[work.path].append(index)
    number = {x.network: i % FOLDS for i, x in enumerate(rows.networks)}
    fold = np.array([number[x.network] for x in rows.operators])
    cycles = np.array([x.median_cycles for x in rows.operators])
    predicted = np.empty(len(cycles))
    for members in map(np.array, paths.values()):
        counts = np.array([list(works[i].counts.values()) for i in members])  # (operators of the path, features)
        for train, test in GroupKFold(FOLDS).split(counts, cycles[members], fold[members]):
            fitted = clone(regressor).fit(counts[train], cycles[members[train]])
            predicted[members[test]] = fitted.predict(counts[test])
    return predicted


def line(rows: Measurements, name: str, regressor: Any) -> str:
    start_s = time.process_time()
    predicted = held_out(rows, regressor)
    taken_s = time.process_time() - start_s
    measured = np.array([x.median_cycles for x in rows.operators])
    overhead = {x.network: x.median_cycles for x in rows.networks}
    totals: dict[str, float] = defaultdict(float)
    for row, value in zip(rows.operators, predicted, strict=True):
        overhead[row.network] -= row.median_cycles
        totals[row.network] += float(value)
    rest = float(np.median(list(overhead.values())))
    whole = 100 * np.array([abs((totals[x.network] + rest) / x.median_cycles - 1) for x in rows.networks])
    own = 100 * np.abs(predicted / measured - 1)
    return f"{name:32}{whole.mean():9.2f}{whole.max():9.2f}{own.mean():11.2f}{taken_s:8.1f}"


def main() -> None:
    for board in sys.argv[1:] or sorted(x.name for x in MODELS.iterdir() if x.is_dir()):
        rows = common(Store(MODELS / board).read())
        start_s = time.process_time()
        LatencyModel.load(MODELS / board)
        loaded = f"loaded in {time.process_time() - start_s:.2f} CPU s"
        print(f"\n{board}: {len(rows.networks)} networks, {len(rows.operators)} operators, {loaded}; errors in percent")
        print(f"{'':32}{'networks':>9}{'worst':>9}{'operators':>11}{'CPU s':>8}")
        for name, regressor in REGRESSORS.items():
            print(line(rows, name, regressor), flush=True)


if __name__ == "__main__":
    main()
