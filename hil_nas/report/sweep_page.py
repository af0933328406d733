"""The page of a sweep: the Pareto front of accuracy against time and memory, and every group with its spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hil_nas.report import figures
from hil_nas.report.document import counts_of, page, table, text
from hil_nas.units import count_unit, format_bytes
from hil_nas.workflows.compare import ENDED

Show = Callable[[float], str]


def sweep_page(result: dict[str, Any]) -> str:
    """A self-contained HTML page for a sweep; it lies in the sweep's folder and links to the points' own pages.

    Args:
        result: what result.json says.
    """
    body = [
        f"<h1>{len(result['points'])} trainings: what accuracy costs</h1>",
        "<p class=note>Accuracy is of the int8 model on the test split. A value with ± is the mean over seeds and "
        "its standard deviation. A group where a seed missed a limit has its figures too, but is on no front.</p>",
        *(x for board in boards_of(result) for x in _board(result, *board)),
        _beside(result["beside"]),
        _unfinished(result["points"]),
        "<h2>Every point</h2>",
        _points(result["points"]),
    ]
    return page("hil_nas sweep", "\n".join(body))


def boards_of(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The boards and kinds of clock that the groups were measured on: what has a figure and a table of its own."""
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


def _board(result: dict[str, Any], board: str, kind: str) -> list[str]:
    """A figure and a table of what was measured on one board by one clock."""
    groups = [x for x in result["groups"] if x["ended"] and (x["board"], x["clock"]["kind"]) == (board, kind)]
    rows = [_row(*cells(x), classed="held" if x["on_front"] else "") for x in groups]
    parts = [
        f"<h2>{text(board)}</h2>",
        f"<p class=note>Counts are {counts_of(groups[0]['clock'])}; front end and network together.</p>",
    ]
    if groups[0]["count"] is not None:
        parts.append(_figure(result, groups))
    return [*parts, table(heads(kind), rows)]


def _figure(result: dict[str, Any], groups: list[dict[str, Any]]) -> str:
    timed = groups[0]["latency_ms"] is not None
    axes = [("latency_ms", "ms, front end and network", 1.0)] if timed else [("count", "M instructions", 1e-6)]
    axes.append(("ram_bytes", "RAM, KiB", 1 / 1024))
    return figures.fronts({label: [_marks(result, x, key, unit) for x in groups] for key, label, unit in axes})


def _marks(result: dict[str, Any], group: dict[str, Any], key: str, unit: float) -> figures.Marks:
    own = [x for x in result["points"] if x["group"] == group["group"] and x["status"] in ENDED]
    costs, accuracies = [x[key] * unit for x in own], [x["accuracy"] * 100 for x in own]
    return figures.Marks(group["group"], group["baseline"], group["held"] == group["ended"], costs, accuracies)


def _beside(found: list[dict[str, Any]]) -> str:
    """Ratios to the published networks, which are of one clock each."""
    rows = []
    for one in found:
        least, best = one["least"], one["best"]
        rows.append(_row(
            one["baseline"],
            "none is as accurate" if least is None else f"{least['ratio']:.3f} of its count ({text(least['group'])})",
            "none is as cheap" if best is None else f"{best['gain'] * 100:+.2f} points ({text(best['group'])})",
        ))  # fmt: skip
    if not rows:
        return ""
    return "<h2>Beside published networks</h2>" + table(("", "at its accuracy or more", "at its count or less"), rows)


def _unfinished(points: list[dict[str, Any]]) -> str:
    rows = [_row(x["point"], x["status"], text(x["reason"])) for x in points if x["status"] != "complete"]
    if not rows:
        return ""
    return "<h2>What did not hold, or did not end</h2>" + table(("", "", "why"), rows)


def _points(points: list[dict[str, Any]]) -> str:
    rows = []
    for x in points:
        if "run" not in x:
            rows.append(_row(x["point"], x["status"]))
            continue
        kind = x["clock"]["kind"]
        count = "–" if x["count"] is None else f"{x['count']:,} {count_unit(kind)}"
        rows.append(_row(
            x["point"], x["status"], f"{x['accuracy'] * 100:.2f} %", count, _size(x["ram_bytes"]),
            _size(x["flash_bytes"]), text(x["front_end"]), f"<a href='{text(x['run'])}/report.html'>page</a>",
        ))  # fmt: skip
    return table(("", "", "accuracy int8", "count", "RAM", "flash", "front end", ""), rows)


def _row(first: str, *rest: str, classed: str = "") -> str:
    found = "".join(f"<td class={classed}>{x}</td>" if classed else f"<td>{x}</td>" for x in rest)
    return f"<tr><td>{text(first)}</td>{found}</tr>"


def _size(size_bytes: float) -> str:
    return format_bytes(round(size_bytes))
