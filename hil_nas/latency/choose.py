"""Which networks to measure: those that span the loop counts, then what lies farthest from all measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hil_nas.latency.kernel_work import is_executed, kernel_work
from hil_nas.latency.regressor import Floats
from hil_nas.network import Network, Operator

NEW_PATH_DISTANCE = 100.0  # in logarithms of loop counts: farther than any two operators of one path


def farthest_networks(
    candidates: Sequence[Network],
    count: int,
    measured: Sequence[Operator] = (),
    weights: Mapping[str, float] | None = None,
    costs: Sequence[float] | None = None,
) -> list[int]:
    """Indices of `count` candidates, each the one that adds most to what is covered by then, for what it costs.

    A network adds, for every operator, the distance to the nearest covered operator on the same kernel path,
    in logarithms of loop counts; of operators that are alike one counts.

    Args:
        candidates: networks to choose from.
        count: how many to choose; all where there are fewer.
        measured: operators that are covered already.
        weights: per kernel path, such as the model's spread, so that distance counts where it is least sure;
            1 where a path is not named.
        costs: of measuring each candidate, in any unit; all alike where not given.
    """
    by_cost = np.ones(len(candidates)) if costs is None else np.array(costs)
    by_path, owners = _by_path([list(x.operators()) for x in candidates])
    nearest = {path: np.full(len(x), NEW_PATH_DISTANCE) for path, x in by_path.items()}
    for path, covered in _by_path([list(measured)])[0].items():
        _cover(nearest, by_path, path, covered)
    chosen: list[int] = []
    while len(chosen) < min(count, len(candidates)):
        gains = np.zeros(len(candidates))
        for path, distances in nearest.items():
            weight = (weights or {}).get(path, 1.0)
            gains += weight * np.bincount(owners[path], distances, len(candidates))
        gains /= by_cost
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        for path, owner in owners.items():
            _cover(nearest, by_path, path, by_path[path][owner == chosen[-1]])
    return chosen


def spanning_networks(candidates: Sequence[Network], slack: float) -> list[int]:
    """Indices of few candidates that reach, within `slack`, as far as all of them do in every loop count.

    What is measured on them holds for all the others: no loop turns more often there.
    """
    by_path, owners = _by_path([list(x.operators()) for x in candidates])
    reached = []  # per path: which operator reaches which count, (operators, features)
    for path, points in by_path.items():
        counts = np.expm1(points)
        far = (counts * slack >= counts.max(axis=0)) & (counts.max(axis=0) > 0)
        reach = np.zeros((len(candidates), counts.shape[1]), dtype=bool)
        np.logical_or.at(reach, owners[path], far)
        reached.append(reach)
    open_counts = np.concatenate(reached, axis=1)  # (candidates, counts of all paths)
    chosen: list[int] = []
    while open_counts.any():
        best = int(open_counts.sum(axis=1).argmax())
        chosen.append(best)
        open_counts = open_counts & ~open_counts[best]
    return chosen


def _cover(nearest: dict[str, Floats], by_path: dict[str, Floats], path: str, covered: Floats) -> None:
    for point in covered if path in by_path else ():
        apart = np.sqrt(np.square(by_path[path] - point).sum(axis=1))  # (operators,)
        nearest[path] = np.minimum(nearest[path], apart)


def _by_path(networks: Sequence[Sequence[Operator]]) -> tuple[dict[str, Floats], dict[str, NDArray[np.int64]]]:
    """Per kernel path the different operators of all networks as points (operators, features), and whose each is."""
    points: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    owners: dict[str, list[int]] = defaultdict(list)
    for index, operators in enumerate(networks):
        works = (kernel_work(x) for x in operators if is_executed(x))
        for path, counts in dict.fromkeys((x.path, tuple(x.counts.values())) for x in works):
            points[path].append(counts)
            owners[path].append(index)
    return {p: np.log1p(np.array(x)) for p, x in points.items()}, {p: np.array(x) for p, x in owners.items()}
