"""Limits as gauges: what was measured, what is left, and how far a modelled clock may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hil_nas.report.svg import joined, percent, tag
from hil_nas.units import format_bytes, format_latency

Show = Callable[[float, float | None], str]  # a value, and by how many percent it may be off


@dataclass(frozen=True)
class Gauge:
    """One limit and what stands beside it, as text; `bar` is the picture, empty where nothing is limited.

    Attributes:
        state: `held`, `missed`, or nothing where there is no limit.
        left: what is left of the limit, or by how much it is broken.
        doubt: a sentence where the limit lies within the error of a modelled clock.
    """

    name: str
    measured: str
    predicted: str
    limit: str
    state: str
    left: str
    doubt: str
    bar: Markup


def gauges(result: dict[str, Any]) -> list[Gauge]:
    """Latency, RAM and flash of a result, and the load of one that listens; a clock that gives no time has neither
    latency nor load."""
    error_percent = result["clock"]["error_percent"]
    measured, limits, predicted = result["measured"], result["limits"], result["predicted"]

    def of(key: str, name: str, show: Show, error: float | None = None) -> Gauge:
        return _gauge(name, measured[key], limits[f"max_{key}"], predicted.get(key), show, error)

    made = [of("ram_bytes", "RAM", _bytes), of("flash_bytes", "flash", _bytes)]
    load = result.get("listen", {}).get("load")
    if load is not None:
        made.insert(0, _gauge("load", load, limits.get("max_load"), None, _load, error_percent))
    if measured["latency_ms"] is not None or limits["max_latency_ms"] is not None:
        made.insert(0, of("latency_ms", "latency", format_latency, error_percent))
    return made


def _bytes(size_bytes: float, _: float | None) -> str:
    return format_bytes(round(size_bytes))


def _load(share: float, error_percent: float | None) -> str:
    return percent(share) + ("" if error_percent is None else f", ± {error_percent:g} % of it")


def _gauge(
    name: str, value: float | None, limit: float | None, predicted: float | None, shown: Show,
    error_percent: float | None,
) -> Gauge:  # fmt: skip
    def show(x: float) -> str:
        return shown(x, None)

    measured = "–" if value is None else shown(value, error_percent)
    expected = "–" if predicted is None else shown(predicted, error_percent)
    if limit is None:
        return Gauge(name, measured, expected, "no limit", "", "", "", Markup(""))
    if value is None:
        return Gauge(name, measured, expected, show(limit), "missed", "", "", Markup(""))
    held, off = value <= limit, abs(limit - value)
    left = f"{show(off)} {'left' if held else 'too much'}, {percent(off / limit)} of the limit"
    error = (error_percent or 0.0) / 100
    inside = error and value * (1 - error) < limit < value * (1 + error)
    doubt = "The limit lies within the error of the model: on silicon it may be held or missed." if inside else ""
    picture = _bar(value, limit, error, f"{name}: {measured} of {show(limit)}")
    return Gauge(name, measured, expected, show(limit), "held" if held else "missed", left, doubt, picture)


def _bar(value: float, limit: float, error: float, label: str) -> Markup:
    """From 0 to the limit or what was measured, whichever is more: filled as far as measured, hatched where the error
    of the clock may put it."""
    full = 1.03 * max(limit, value * (1 + error))

    def percent(x: float) -> str:
        return f"{100 * x / full:.2f}%"

    parts = [tag("span", class_="fill", style=f"width: {percent(min(value, limit))}")]
    if value > limit:
        parts.append(tag("span", class_="over", style=f"left: {percent(limit)}; width: {percent(value - limit)}"))
    if error:
        reach = f"left: {percent(value * (1 - error))}; width: {percent(2 * value * error)}"
        parts.append(tag("span", class_="error", style=reach))
    parts.append(tag("span", class_="limit", style=f"left: {percent(limit)}"))
    return tag("div", joined(*parts), class_="gauge", role="img", aria_label=label)
