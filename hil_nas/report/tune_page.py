"""The page of a tuning: misses against false accepts an hour, and what the chosen decisions do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hil_nas.report import charts
from hil_nas.report.document import render


def tune_page(result: dict[str, Any]) -> str:
    """A self-contained HTML page.

    Args:
        result: what result.json says.
    """
    chosen, reported, curve = result["chosen"], result["reported"], result["curve"]
    conditions, hours = list(reported["misses"]), reported["false_accepts"]["hours"]
    return render(
        "tune.html",
        title=f"hil_nas tune: {result['model']}",
        result=result,
        missed=[f"missed in {x}" for x in conditions],
        parts=[_part("chosen on", chosen), _part("reported on", reported)],
        at_rates=[_at_rate(x, conditions) for x in result["at_rates"]],
        keywords=[
            (x["word"], f"{x['threshold']:.4f}", x["false_accepts"]["text"], _percent(x["misses"]), x["words"])
            for x in reported["keywords"]
        ],
        whole=charts.misses(
            {x: ([y["false_accepts_per_hour"] for y in curve], [100 * y["misses"][x] for y in curve])
             for x in conditions},
            1 / hours,
            label="misses against false accepts an hour, by condition",
        ),
        by_keyword=charts.misses(
            {x["word"]: _of_keyword(curve, i, hours) for i, x in enumerate(reported["keywords"])},
            1 / hours,
            label="misses against false accepts an hour, by keyword",
        ),
    )  # fmt: skip


def _of_keyword(curve: Sequence[dict[str, Any]], index: int, hours: float) -> tuple[list[float], list[float]]:
    """False accepts an hour and misses in percent of one keyword; nothing where none of its words were said."""
    points = [x["keywords"][index] for x in curve]
    said = [x for x in points if x["misses"] is not None]
    return [x["false_accepts"] / hours for x in said], [100 * x["misses"] for x in said]


def _part(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    delay = "–" if part["delay_ms"] is None else f"{part['delay_ms']:.0f} ms"
    return (
        name, str(part["recordings"]), str(part["speakers"]), part["false_accepts"]["text"], str(part["words"]),
        *map(_percent, part["misses"].values()), delay,
    )  # fmt: skip


def _at_rate(point: dict[str, Any], conditions: Sequence[str]) -> tuple[str, ...]:
    rate = f"{point['false_accepts_per_hour_asked']:g}"
    if "misses" not in point:
        return (rate, *("–" for _ in range(2 + len(conditions))))
    return (
        rate, f"{point['threshold']:.4f}", str(point["false_accepts"]),
        *(_percent(point["misses"][x]) for x in conditions),
    )  # fmt: skip


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
