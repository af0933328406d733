"""Accuracy against a cost, with the Pareto front of the groups' means; every point opens its run's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hil_nas.report.plot import WIDTH, Plot, mark, point
from hil_nas.report.scales import linear
from hil_nas.report.svg import joined, tag
from hil_nas.workflows.sweep_front import front

_LETTER = 5.0  # units of the picture that a letter of a name takes, small
_HEIGHT = 290.0


@dataclass(frozen=True)
class Marks:
    """The seeds of one group in a plot of accuracy against cost.

    Attributes:
        apart: drawn in another colour and shape, as what others are compared with.
        holds: whether it may be on the front.
        costs, accuracies: one of each for every seed, accuracies in percent.
        pages: of the seeds.
    """

    name: str
    apart: bool
    holds: bool
    costs: Sequence[float]
    accuracies: Sequence[float]
    pages: Sequence[str]

    @property
    def mean(self) -> tuple[float, float]:
        return float(np.mean(self.costs)), float(np.mean(self.accuracies))


def front_picture(label: str, groups: Sequence[Marks]) -> Markup:
    """Means are full where their group is on the front; bars are a standard deviation each way, small marks seeds.

    Args:
        label: what the costs are, which stands at their axis.
    """
    flat = [(x, y) for g in groups for x, y in zip(g.costs, g.accuracies, strict=True)]
    plot = Plot(
        linear([x for x, _ in flat], room=0.12), linear([y for _, y in flat], room=0.1), label,
        "accuracy int8, test, %", f"accuracy against {label}, with the Pareto front", height=_HEIGHT,
    )  # fmt: skip
    held = [x.mean for x in groups if x.holds]
    edge = sorted(x for x, on in zip(held, front([(x, -y) for x, y in held]), strict=True) if on)
    parts: list[Markup] = [_steps(plot, edge)] if edge else []
    for group in groups:
        parts.append(_spread(plot, group, full=group.holds and group.mean in edge))
    for group in groups:
        for cost, accuracy, page in zip(group.costs, group.accuracies, group.pages, strict=True):
            x, y = plot.at(cost, accuracy)
            shape = tag("g", mark(int(group.apart), (x, y), size=2.2), class_="seed")
            parts.append(point(shape, x, y, f"{group.name}: {accuracy:.2f} % at {cost:.4g}", page, height=_HEIGHT))
    return tag("div", plot.svg(*parts, holds_points=True), class_="chart")


def _steps(plot: Plot, edge: Sequence[tuple[float, float]]) -> Markup:
    """The front: at a cost the most accuracy that is had for no more."""
    corners = [edge[0]]
    for x, y in edge[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return plot.line(corners, class_="edge")


def _spread(plot: Plot, group: Marks, *, full: bool) -> Markup:
    cost, accuracy = group.mean
    x, y = plot.at(cost, accuracy)
    deviations = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in (group.costs, group.accuracies)]
    (left, _), (right, _) = plot.at(cost - deviations[0], accuracy), plot.at(cost + deviations[0], accuracy)
    (_, low), (_, high) = plot.at(cost, accuracy - deviations[1]), plot.at(cost, accuracy + deviations[1])
    look, end = f"bars c{int(group.apart)}", "end" if x > WIDTH * 0.6 else "start"
    name = group.name if len(group.name) * _LETTER < WIDTH * 0.55 else f"{group.name[:42]}…"
    return joined(
        tag("line", x1=left, x2=right, y1=y, y2=y, class_=look),
        tag("line", x1=x, x2=x, y1=low, y2=high, class_=look),
        mark(int(group.apart), (x, y), size=5, hollow=not full),
        tag("text", name, x=x + (-8 if end == "end" else 8), y=y + 15, text_anchor=end, class_="small"),
    )
