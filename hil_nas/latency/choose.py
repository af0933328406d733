"""Which network to measure next: first what lies farthest from everything measured, then what is least sure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from hil_nas.latency.features import is_executed, kernel_work
from hil_nas.latency.regressor import Floats
from hil_nas.network import Network, Operator

NEW_PATH_DISTANCE = 100.0  # in logarithms of loop counts: farther than any two operators of one path


def farthest_networks(
    candidates: Sequence[Network],
    count: int,
    measured: Sequence[Operator] = (),
    weights: Mapping[str, float] | None = None,
) -> list[int]:
    """Indices of `count` candidates, each the one that adds most to what is covered by then.

    A network adds, for every operator, the distance to the nearest covered operator on the same kernel path,
    in logarithms of loop counts.

    Args:
        candidates: networks to choose from.
        count: how many to choose; all where there are fewer.
        measured: operators that are covered already.
        weights: per kernel path, such as the model's spread, so that distance counts where it is least sure;
            1 where a path is not named.
    """
    places = [_places(list(x.operators())) for x in candidates]
    weight = dict(weights or {})
    nearest = [{path: np.full(len(x), NEW_PATH_DISTANCE) for path, x in place.items()} for place in places]
    for path, covered in _places(measured).items():
        _cover(nearest, places, path, covered)
    chosen: list[int] = []
    while len(chosen) < min(count, len(candidates)):
        gains = np.array([sum(weight.get(p, 1.0) * d.sum() for p, d in x.items()) for x in nearest])
        gains[chosen] = -np.inf
        best = int(gains.argmax())
        chosen.append(best)
        for path, covered in places[best].items():
            _cover(nearest, places, path, covered)
    return chosen


def _cover(nearest: list[dict[str, Floats]], places: list[dict[str, Floats]], path: str, covered: Floats) -> None:
    for distances, place in zip(nearest, places, strict=True):
        if path in place:
            apart = np.linalg.norm(place[path][:, None, :] - covered[None, :, :], axis=2)  # (own, covered)
            distances[path] = np.minimum(distances[path], apart.min(axis=1))


def _places(operators: Sequence[Operator]) -> dict[str, Floats]:
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for operator in operators:
        if is_executed(operator):
            work = kernel_work(operator)
            rows[work.path].append(list(work.counts.values()))
    return {path: np.log1p(np.array(x)) for path, x in rows.items()}  # (operators, features) each
