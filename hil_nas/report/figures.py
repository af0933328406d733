"""Figures as SVG text, for pages that stand alone; a sentence where there is nothing to draw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from hil_nas.workflows.sweep_front import front

NOTHING = Markup('<p class="note">Too little was measured to draw anything.</p>')
_INK, _ACCENT, _APART = "#24292f", "#0969da", "#cf222e"

Points = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def lines(
    series: Mapping[str, Sequence[float]], *, ylabel: str, xlabel: str = "epoch", limit: float | None = None
) -> Markup:
    """One line for each name over its index, as SVG; `limit` is drawn as a dashed line."""
    figure, axes = _axes(7.0, 3.0)
    for name, values in series.items():
        axes.plot(range(1, len(values) + 1), values, label=name, linewidth=1.6)
    if limit is not None:
        axes.axhline(limit, color=_INK, linestyle="--", linewidth=1.0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if len(series) > 1:
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def posteriors(
    times_s: npt.NDArray[np.float64],
    series: Mapping[str, npt.NDArray[np.float64]],
    heard: Sequence[tuple[float, str]],
    seconds: float,
) -> Markup:
    """One line for each word over a recording of so many seconds, and a mark where a word was heard, as SVG."""
    figure, axes = _axes(9.0, 2.2)
    for name, values in series.items():
        axes.plot(times_s, values, label=name, linewidth=1.2)
    for time_s, word in heard:
        axes.axvline(time_s, color=_INK, linestyle="--", linewidth=0.8)
        axes.annotate(word, (time_s, 1.0), xytext=(2, 2), textcoords="offset points", fontsize=7, rotation=30)
    axes.set_xlim(0.0, seconds)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("s")
    axes.set_ylabel("posterior")
    if series:
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def confusion(counts: npt.NDArray[np.int64], labels: Sequence[str]) -> Markup:
    """A confusion matrix (true, predicted) of counts, shaded by the share of each true class, as SVG."""
    figure, axes = _axes(6.0, 5.4)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            colour = "white" if share[row, column] > 0.5 else _INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("answered")
    axes.set_ylabel("spoken")
    return _svg(figure)


def scatter(groups: Points, *, xlabel: str, ylabel: str) -> Markup:
    """Points (x, y) by group on logarithmic axes beside the line where x is y, as SVG."""
    groups = _drawable(groups)
    if not groups:
        return NOTHING
    figure, axes = _axes(5.6, 4.2)
    for name, (x, y) in groups.items():
        axes.plot(x, y, ".", markersize=4, label=name, alpha=0.7)
    ends = [end(v for x, y in groups.values() for v in (*x, *y)) for end in (min, max)]
    axes.plot(ends, ends, color=_INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def curves(points: Points, *, xlabel: str, ylabel: str) -> Markup:
    """A line through points (x, y) for each name, both axes logarithmic, as SVG."""
    points = _drawable(points)
    if not points:
        return NOTHING
    figure, axes = _axes(6.4, 3.4)
    for name, (x, y) in points.items():
        axes.plot(x, y, ".-", label=name, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def misses(points: Points, least_per_hour: float) -> Markup:
    """Misses (%) against false accepts an hour, a logarithmic axis, for each name, as SVG.

    Args:
        least_per_hour: one false accept in all the hours there were; what has none is drawn at a third of it.
    """
    figure, axes = _axes(7.0, 3.4)
    for name, (x, y) in points.items():
        axes.plot([max(v, least_per_hour / 3) for v in x], y, ".-", label=name, linewidth=1.2, markersize=4)
    axes.axvline(least_per_hour, color=_INK, linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_ylim(0.0, 100.0)
    axes.set_xlabel("false accepts an hour; left of the line: none in all hours")
    axes.set_ylabel("missed, %")
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


def residuals(groups: Points, *, xlabel: str, ylabel: str) -> Markup:
    """Points (size, error) by group around a line at 0, as SVG; sizes on a logarithmic axis, errors beyond 1 too."""
    groups = _drawable(groups, above=-np.inf)
    if not groups:
        return NOTHING
    figure, axes = _axes(7.0, 4.0)
    axes.axhline(0.0, color=_INK, linewidth=0.8)
    for index, (name, (x, y)) in enumerate(groups.items()):
        axes.plot(x, y, ".x+"[index // 8 % 3], markersize=4, label=name, alpha=0.7)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _svg(figure)


@dataclass(frozen=True)
class Marks:
    """The seeds of one group in a plot of accuracy against cost.

    Attributes:
        apart: drawn in another colour, as what others are compared with.
        holds: whether it may be on the front.
        costs, accuracies: one of each for every seed.
    """

    name: str
    apart: bool
    holds: bool
    costs: Sequence[float]
    accuracies: Sequence[float]


def fronts(panels: Mapping[str, Sequence[Marks]]) -> Markup:
    """Accuracy (%) against a cost in each panel, with the Pareto front of the groups' means, as SVG.

    Seeds are small dots; bars are a standard deviation each way.

    Args:
        panels: groups by what their costs are, which labels the axis.
    """
    figure, all_axes = _figure(5.2 * len(panels), 4.2, len(panels))
    for axes, (label, groups) in zip(all_axes, panels.items(), strict=True):
        means = [(float(np.mean(x.costs)), float(np.mean(x.accuracies))) for x in groups]
        held = [x for x, group in zip(means, groups, strict=True) if group.holds]
        edge = sorted(x for x, on in zip(held, front([(x, -y) for x, y in held]), strict=True) if on)
        axes.step([x for x, _ in edge], [y for _, y in edge], where="post", color=_INK, linewidth=1.0, zorder=1)
        for group, mean in zip(groups, means, strict=True):
            colour = _APART if group.apart else _ACCENT
            bars = [np.std(x, ddof=1) if len(x) > 1 else 0.0 for x in (group.costs, group.accuracies)]
            axes.plot(group.costs, group.accuracies, ".", color=colour, markersize=4, alpha=0.5)
            mark = "o" if group.holds and mean in edge else "x"
            axes.errorbar(*mean, *reversed(bars), color=colour, fmt=mark, markersize=6, capsize=2)
            axes.annotate(group.name, mean, textcoords="offset points", xytext=(6, -10), fontsize=8, color=colour)
        axes.set_xlabel(label)
        axes.set_ylabel("accuracy int8, test, %")
        axes.margins(x=0.15)
    return _svg(figure)


def _drawable(groups: Points, above: float = 0.0) -> Points:
    """The points that logarithmic axes can show: sizes above 0, with finite values above a bound."""
    kept = {}
    for name, points in groups.items():
        pairs = [(x, y) for x, y in zip(*points, strict=True) if 0.0 < x < np.inf and above < y < np.inf]
        if pairs:
            kept[name] = ([x for x, _ in pairs], [y for _, y in pairs])
    return kept


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure, (axes,) = _figure(width, height, 1)
    return figure, axes


def _figure(width: float, height: float, columns: int) -> tuple[Any, Any]:
    """A figure and its axes side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    all_axes = figure.subplots(1, columns, squeeze=False)[0]
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_prop_cycle(color=[_ACCENT, _APART, "#1a7f37", "#9a6700", "#8250df", "#bf3989", "#57606a", "#0a7ea4"])
    return figure, all_axes


def _svg(figure: Any) -> Markup:
    """The picture grows with its legends and notes: inside a fixed size, many or long ones would leave no axes."""
    text = io.StringIO()
    beside = [x for axes in figure.axes for x in (axes.get_legend(), *axes.texts) if x is not None]
    for artist in beside:
        artist.set_in_layout(False)
    figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight", bbox_extra_artists=beside)
    svg = text.getvalue()
    return Markup(svg[svg.index("<svg") :])
