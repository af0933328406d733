"""Lines and points over two axes, with a legend; a sentence where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from hil_nas.report.plot import Plot, legend, line_look, mark
from hil_nas.report.scales import Scale, counted, linear, linear_between, logarithmic, symmetric
from hil_nas.report.svg import joined, tag

NOTHING = Markup('<p class="note">Too little was measured to draw anything.</p>')
Points = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def lines(series: Mapping[str, Sequence[float]], *, ylabel: str, label: str, limit: float | None = None) -> Markup:
    """One line for each name over epochs; `limit` is drawn as a dashed line."""
    known = {name: [(i, y) for i, y in enumerate(values, 1) if isfinite(y)] for name, values in series.items()}
    if not any(known.values()):
        return NOTHING
    heights = [y for points in known.values() for _, y in points] + ([] if limit is None else [limit])
    plot = Plot(counted(max(map(len, series.values()))), linear(heights), "epoch", ylabel, label)
    edge = [] if limit is None else [plot.level(limit, "limit", class_="edge")]
    return _drawn(plot, known, *edge, marks=max(map(len, known.values())) == 1)


def curves(points: Points, *, xlabel: str, ylabel: str, label: str) -> Markup:
    """A line through points (x, y) for each name, both axes logarithmic."""
    pairs = _drawable(points)
    if not pairs:
        return NOTHING
    return _drawn(Plot(*_logarithmic(pairs), xlabel, ylabel, label), pairs, marks=True)


def scatter(points: Points, *, xlabel: str, ylabel: str, label: str) -> Markup:
    """Points (x, y) by name on logarithmic axes, beside the line where x is y."""
    pairs = _drawable(points)
    if not pairs:
        return NOTHING
    plot = Plot(*_logarithmic(pairs), xlabel, ylabel, label)
    ends = [end(v for x in pairs.values() for pair in x for v in pair) for end in (min, max)]
    inside = [min(max(v, s.low), s.high) for v in ends for s in (plot.x, plot.y)]
    low, high = max(inside[:2]), min(inside[2:])
    same = [plot.line([(low, low), (high, high)], class_="edge")] if low < high else []
    return _drawn(plot, pairs, *same, lines=False, marks=True)


def residuals(points: Points, *, xlabel: str, ylabel: str, label: str) -> Markup:
    """Points (size, error) by name around a line at 0; sizes on a logarithmic axis, errors beyond 1 too."""
    pairs = _drawable(points, above=-inf)
    if not pairs:
        return NOTHING
    flat = [p for x in pairs.values() for p in x]
    plot = Plot(logarithmic(x for x, _ in flat), symmetric(y for _, y in flat), xlabel, ylabel, label)
    zero = plot.line([(plot.x.low, 0.0), (plot.x.high, 0.0)], class_="axis")
    return _drawn(plot, pairs, zero, lines=False, marks=True)


def misses(points: Points, least_per_hour: float, *, label: str) -> Markup:
    """Misses (%) against false accepts an hour, a logarithmic axis, for each name.

    Args:
        least_per_hour: one false accept in all the hours there were; what has none is drawn at a third of it.
    """
    none = least_per_hour / 3
    pairs = {name: [(max(x, none), y) for x, y in zip(*p, strict=True)] for name, p in points.items()}
    if not any(pairs.values()):
        return NOTHING
    xs = logarithmic([none, least_per_hour, *(x for p in pairs.values() for x, _ in p)])
    plot = Plot(xs, linear_between(0.0, 100.0), "false accepts an hour", "missed, %", label)
    edge = plot.upright(least_per_hour, "left of it: none in all hours", class_="edge")
    return _drawn(plot, pairs, edge, marks=True)


def posteriors(
    times_s: npt.NDArray[np.float64],
    series: Mapping[str, npt.NDArray[np.float64]],
    heard: Sequence[tuple[float, str]],
    seconds: float,
    *,
    label: str,
) -> Markup:
    """One line for each word over a recording of so many seconds, and a mark where a word was heard."""
    ends = linear_between(0.0, max(seconds, 0.1))
    plot = Plot(ends, replace(linear_between(0.0, 1.0), high=1.12), "s", "posterior", label, height=170.0)
    at = [plot.upright(min(time_s, ends.high), word, class_="edge") for time_s, word in heard]
    pairs = {name: list(zip(times_s.tolist(), y.tolist(), strict=True)) for name, y in series.items()}
    return _drawn(plot, pairs, *at)


def _drawn(
    plot: Plot, pairs: Mapping[str, Sequence[tuple[float, float]]], *below: Markup, lines: bool = True,
    marks: bool = False,
) -> Markup:  # fmt: skip
    content: list[Markup] = list(below)
    for index, points in enumerate(pairs.values()):
        content += [plot.line(points, class_=line_look(index))] if lines else []
        content += [mark(index, *(plot.at(*p) for p in points), size=2.2)] if marks else []
    names = legend(list(pairs), lines=lines, marks=marks) if len(pairs) > 1 else Markup("")
    return joined(tag("div", plot.svg(*content), class_="chart"), names)


def _logarithmic(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[Scale, Scale]:
    flat = [p for x in pairs.values() for p in x]
    return logarithmic(x for x, _ in flat), logarithmic(y for _, y in flat)


def _drawable(points: Points, above: float = 0.0) -> dict[str, list[tuple[float, float]]]:
    """The points that logarithmic axes can show: sizes above 0, with finite values above a bound."""
    kept = {
        name: [(x, y) for x, y in zip(*pairs, strict=True) if 0.0 < x < inf and above < y < inf]
        for name, pairs in points.items()
    }
    return {name: pairs for name, pairs in kept.items() if pairs}
