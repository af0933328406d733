"""The page of a sweep, or of a search with several limits: the Pareto front of accuracy against time and memory, and
every group with its spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from hil_nas.report.document import counts_of, render
from hil_nas.report.fronts import Marks, front_picture
from hil_nas.units import count_unit, format_bytes
from hil_nas.workflows.sweep_front import ENDED

Show = Callable[[float], str]


def sweep_page(result: dict[str, Any]) -> str:
    """A self-contained HTML page; it lies in the folder of the whole and links to the points' own pages.

    Args:
        result: what result.json says.
    """
    unfinished = [(x["point"], x["status"], x["reason"]) for x in result["points"] if x["status"] != "complete"]
    return render(
        "sweep.html",
        title="hil_nas: what accuracy costs",
        result=result,
        boards=[_board(result, *x) for x in boards_of(result)],
        shared=any(x.get("supernet_limits_ms") for x in result["points"]),
        beside=[_beside(x) for x in result["beside"]],
        unfinished=unfinished,
        points=[_point(x) for x in result["points"]],
        sections=[
            ("front", "what accuracy costs"), *([("beside", "beside published networks")] if result["beside"] else []),
            *([("unfinished", "what did not hold")] if unfinished else []), ("points", "every point"),
        ],
    )


def boards_of(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The boards and kinds of clock that the groups were measured on; each has a figure and a table of its own."""
    return list(dict.fromkeys((x["board"], x["clock"]["kind"]) for x in result["groups"] if x["ended"]))


def cells(group: dict[str, Any]) -> list[str]:
    """A group's row of the tables: its name and its figures, those without a value as a dash."""
    held = f"{group['held']} of {group['points']}"
    count = shown(group["count"], lambda x: f"{x / 1e6:.3f} M")
    return [
        group["group"], shown(group["accuracy"], lambda x: f"{x * 100:.2f} %"),
        shown(group["latency_ms"], lambda x: f"{x:.2f} ms"), count, shown(group["ram_bytes"], _size),
        shown(group["flash_bytes"], _size), shown(group["macs"], lambda x: f"{x / 1e6:.2f} M"), held,
        "front" if group["on_front"] else "",
    ]  # fmt: skip


def heads(clock_kind: str) -> tuple[str, ...]:
    """Heads of the columns that `cells` gives."""
    unit = count_unit(clock_kind)
    return ("", "accuracy int8", "latency", unit, "RAM", "flash", "MACs", "held", "")


def shown(spread: dict[str, float | None] | None, show: Show) -> str:
    """A mean and its standard deviation, in the unit that `show` writes."""
    if spread is None or spread["mean"] is None:
        return "–"
    return show(spread["mean"]) + ("" if spread["sd"] is None else f" ± {show(spread['sd'])}")


def _board(result: dict[str, Any], board: str, kind: str) -> dict[str, Any]:
    """A figure and a table of what was measured on one board by one clock."""
    groups = [x for x in result["groups"] if x["ended"] and (x["board"], x["clock"]["kind"]) == (board, kind)]
    return {
        "name": board,
        "counts": counts_of(groups[0]["clock"]),
        "figures": [] if groups[0]["count"] is None else _figures(result, groups),
        "heads": heads(kind),
        "rows": [(cells(x), x["on_front"]) for x in groups],
    }


def _figures(result: dict[str, Any], groups: list[dict[str, Any]]) -> list[Markup]:
    clock = groups[0]["clock"]
    error = "" if clock["error_percent"] is None else f" ± {clock['error_percent']:g} %"
    axes = [("latency_ms", f"ms{error}, front end and network", 1.0)]
    if groups[0]["latency_ms"] is None:
        axes = [("count", f"M {count_unit(clock['kind'])}, front end and network", 1e-6)]
    axes.append(("ram_bytes", "RAM, KiB", 1 / 1024))
    return [front_picture(label, [_marks(result, x, key, unit) for x in groups]) for key, label, unit in axes]


def _marks(result: dict[str, Any], group: dict[str, Any], key: str, unit: float) -> Marks:
    own = [x for x in result["points"] if x["group"] == group["group"] and x["status"] in ENDED]
    costs, accuracies = [x[key] * unit for x in own], [x["accuracy"] * 100 for x in own]
    pages = [f"{x['run']}/report.html" for x in own]
    return Marks(group["group"], group["baseline"], group["held"] == group["ended"], costs, accuracies, pages)


def _beside(comparison: dict[str, Any]) -> tuple[str, ...]:
    """A published network's row: the ratios of the searches to it, on one clock."""
    least, best = comparison["least"], comparison["best"]
    return (
        comparison["baseline"],
        "none is as accurate" if least is None else f"{least['ratio']:.3f} of its count ({least['group']})",
        "none is as cheap" if best is None else f"{best['gain'] * 100:+.2f} points ({best['group']})",
    )


def _point(point: dict[str, Any]) -> dict[str, Any]:
    """A row, with the folder of the point's own page where it has one."""
    cells = [point["point"], point["status"]]
    if "run" not in point:
        return {"cells": cells, "run": None}
    count = "–" if point["count"] is None else f"{point['count']:,} {count_unit(point['clock']['kind'])}"
    memories = (_size(point["ram_bytes"]), _size(point["flash_bytes"]))
    cells += [f"{point['accuracy'] * 100:.2f} %", count, *memories, point["front_end"]]
    return {"cells": cells, "run": point["run"]}


def _size(size_bytes: float) -> str:
    return format_bytes(round(size_bytes))
