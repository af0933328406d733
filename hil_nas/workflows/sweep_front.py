"""Groups of runs compared: means with their spread over seeds, the Pareto front, and ratios to published networks."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_nas.errors import InfeasibleError

Outcome = dict[str, Any]
FIGURES = ("accuracy", "count", "latency_ms", "ram_bytes", "flash_bytes", "macs")
ENDED = ("complete", "missed")  # statuses of points that have figures


def row(folder: Path, result: dict[str, Any], within: Path) -> Outcome:
    """What is kept of a finished run beside others; a count is front end and network, of the clock it names.

    Args:
        folder: of the run; its name from the folder `within` on is kept.
    """
    measured, timeless = result["measured"], result["clock"]["kind"] == "host"
    differ = [] if result["bits_equal"] else ["int8 values differ from the host's"]
    return {
        "status": result["status"],
        "reason": "; ".join([*result["limits_missed"], *differ]),
        "run": folder.relative_to(within).as_posix(),
        "board": result["board"],
        "clock": result["clock"],
        "accuracy": result["accuracy_int8"],
        "accuracy_float": result["accuracy_float"],
        "test_clips": result["test_clips"],
        "count": None if timeless else measured["front_end_cycles"] + measured["network_cycles"],
        "latency_ms": measured["latency_ms"],
        "ram_bytes": measured["ram_bytes"],
        "flash_bytes": measured["flash_bytes"],
        "macs": result["macs"],
        "front_end": result["front_end"],
        "supernet_limits_ms": result.get("supernet_limits_ms"),
        "data_warnings": result["data"]["warnings"],
    }


def infeasible(error: InfeasibleError) -> Outcome:
    """What is kept of limits that no network holds."""
    return {"status": "infeasible", "reason": error.message}


def compared(points: Sequence[dict[str, Any]], baselines: Iterable[str]) -> dict[str, Any]:
    """What a sweep's result.json says beside its points.

    Args:
        points: lines of a sweep, each with `group`, `status` and, where it ended, its figures.
        baselines: groups that are published networks.

    Returns:
        `groups`, each with the mean and spread of every figure over the points that ended, how many of them held
        their limits, and whether it is on its board's front of accuracy against count and RAM; `beside`, each
        published network with the group that needs least of its count at no less accuracy, and with the most
        accurate at no more count. A group where one missed a limit is on no front and beside nothing.
    """
    named = set(baselines)
    by_group: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        by_group.setdefault(point["group"], []).append(point)
    groups = [_group(name, members, name in named) for name, members in by_group.items()]
    for same in map(_holding, _by_board(groups)):
        costs = [(-x["accuracy"]["mean"], x["count"]["mean"], x["ram_bytes"]["mean"]) for x in same]
        for group, on_front in zip(same, front(costs), strict=True):
            group["on_front"] = on_front
    beside = [_beside(x, same) for same in _by_board(groups) for x in same if x["baseline"]]
    return {"groups": groups, "beside": beside}


def front(costs: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other beats: as low in every cost, and lower in one.

    Args:
        costs: (points, costs), lower is better; equal points are all on the front.
    """
    if not costs:
        return []
    x: npt.NDArray[np.float64] = np.asarray(costs, float)
    no_worse = np.all(x[None] <= x[:, None], axis=2)  # (i, j): j is as low as i everywhere
    better = np.any(x[None] < x[:, None], axis=2)
    beaten: npt.NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return [not is_beaten for is_beaten in beaten.tolist()]


def _group(name: str, points: Sequence[dict[str, Any]], baseline: bool) -> dict[str, Any]:
    ended = [x for x in points if x["status"] in ENDED]
    group: dict[str, Any] = {
        "group": name,
        "baseline": baseline,
        "points": len(points),
        "ended": len(ended),
        "held": sum(x["status"] == "complete" for x in ended),
        "board": ended[0]["board"] if ended else None,
        "clock": ended[0]["clock"] if ended else None,
        "on_front": False,
    }
    return {**group, **{x: _spread([y[x] for y in ended]) for x in FIGURES}}


def _spread(values: Sequence[float | None]) -> dict[str, float | None] | None:
    """Mean and sample standard deviation; None where there is nothing, or no such figure on this clock."""
    known = [x for x in values if x is not None]
    if not known:
        return None
    return {"mean": statistics.fmean(known), "sd": statistics.stdev(known) if len(known) > 1 else None}


def _by_board(groups: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Groups that were measured on the same board by the same clock: only they compare. A host has no clock."""
    by_board: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for group in groups:
        if group["count"] is not None:
            by_board.setdefault((group["board"], group["clock"]["kind"]), []).append(group)
    return list(by_board.values())


def _holding(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [x for x in groups if x["held"] == x["ended"]]


def _beside(baseline: dict[str, Any], groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A published network and the best searches: at its accuracy, and at its count. None where none is as good."""
    accuracy, count = baseline["accuracy"]["mean"], baseline["count"]["mean"]
    searched = [x for x in _holding(groups) if not x["baseline"]]
    as_good = [x for x in searched if x["accuracy"]["mean"] >= accuracy]
    as_cheap = [x for x in searched if x["count"]["mean"] <= count]
    least = min(as_good, key=lambda x: x["count"]["mean"], default=None)
    best = max(as_cheap, key=lambda x: x["accuracy"]["mean"], default=None)
    return {
        "baseline": baseline["group"],
        "least": None if least is None else {"group": least["group"], "ratio": least["count"]["mean"] / count},
        "best": None if best is None else {"group": best["group"], "gain": best["accuracy"]["mean"] - accuracy},
    }
