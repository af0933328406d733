"""Accuracies on the test clips as points with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from hil_nas.report.plot import WIDTH, mark, point
from hil_nas.report.scales import linear, shown
from hil_nas.report.svg import picture, tag
from hil_nas.workflows.proportion import wilson

_LEFT, _ROW = 70.0, 34.0


def with_intervals(rows: Sequence[tuple[str, int, int]], label: str) -> Markup:
    """(name, right, clips) one below the other over one axis in percent."""
    ends = [wilson(right, clips) for _, right, clips in rows]
    axis = linear(100 * x for pair in ends for x in pair)
    bottom = _ROW * len(rows) + 4

    def across(percent: float) -> float:
        return _LEFT + axis.share(percent) * (WIDTH - _LEFT - 14)

    parts = []
    for tick in axis.ticks:
        parts.append(tag("line", x1=across(tick), x2=across(tick), y1=0, y2=bottom, class_="grid"))
        parts.append(tag("text", f"{shown(tick)} %", x=across(tick), y=bottom + 13, text_anchor="middle"))
    for index, ((name, right, clips), (low, high)) in enumerate(zip(rows, ends, strict=True)):
        y = _ROW * (index + 0.62)
        percent = 100 * right / max(1, clips)
        words = f"{name}: {percent:.1f} %, {100 * low:.1f} to {100 * high:.1f} %"
        shape = tag(
            "g", tag("line", x1=across(100 * low), x2=across(100 * high), y1=y, y2=y, class_=f"bars c{index}"),
            mark(index, (across(percent), y), size=4),
        )  # fmt: skip
        parts.append(tag("text", name, x=0, y=y + 4))
        parts.append(point(shape, across(percent), y, words, height=10_000))
    return tag("div", picture(WIDTH, bottom + 18, label, *parts, holds_points=True), class_="chart")
