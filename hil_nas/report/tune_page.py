"""The page of a tuning: misses against false accepts an hour, and what the chosen decisions do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hil_nas.listening.trials import Errors
from hil_nas.report import charts
from hil_nas.report.document import render


def tune_page(result: dict[str, Any], points: Sequence[Errors]) -> str:
    """A self-contained HTML page.

    Args:
        result: what result.json says.
        points: the curve on the part that is reported on.
    """
    chosen, reported = result["chosen"], result["reported"]
    conditions = list(reported["misses"])
    labels = points[0].decisions.labels
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
            {
                x: ([y.rate.per_hour for y in points], [100 * y.miss_share(x) for y in points])
                for x in conditions
            },
            1 / points[0].hours,
            label="misses against false accepts an hour, by condition",
        ),
        by_keyword=charts.misses(
            {
                labels[i]: (
                    [y.false_accepts[i] / y.hours for y in points], [100 * y.class_miss_share(i) for y in points]
                )
                for i in points[0].decisions.keywords
            },
            1 / points[0].hours,
            label="misses against false accepts an hour, by keyword",
        ),
    )  # fmt: skip


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
