"""The page of a profile: how well the latency model predicts, and what it has learned."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import Any

from markupsafe import Markup

from hil_nas.latency.meanings import PATHS, meaning
from hil_nas.latency.prediction_errors import LOOK_UP, MACS_LINEAR, MODEL, Predictions
from hil_nas.latency.summary import Summary
from hil_nas.report import charts
from hil_nas.report.document import counts_of, render
from hil_nas.units import count_unit

NAMES = {MODEL: "this model", MACS_LINEAR: "linear in MACs", LOOK_UP: "look-up table"}
Row = tuple[str, ...]
SECTIONS = (
    ("errors", "errors"), ("scatter", "predicted against measured"), ("residuals", "residuals"),
    ("curve", "measurements"), ("loops", "what each loop costs"),
)  # fmt: skip
SHOWN_SHARE = 0.005  # of a path's cycles: coefficients below are summed up


def profile_page(result: dict[str, Any], summary: Summary) -> str:
    """A self-contained HTML page for a finished profile.

    Args:
        result: what result.json says.
        summary: of the folder that was measured into.
    """
    unit = count_unit(result["clock"]["kind"])
    predictions = summary.predictions
    networks = {NAMES[x]: predictions[x].networks for x in (LOOK_UP, MACS_LINEAR, MODEL)}
    return render(
        "profile.html",
        title=f"hil_nas profile: {result['board']}",
        result=result,
        counts=counts_of(result["clock"]),
        unit=unit,
        published=result["published_cycles"],
        names=list(NAMES.values()),
        sections=SECTIONS,
        errors=_errors(predictions),
        scatter=charts.scatter(
            {name: (x.measured, x.predicted) for name, x in networks.items()},
            xlabel=f"measured {unit} of a network", ylabel=f"predicted {unit}",
            label="predicted against measured, by model",
        ),
        residuals=_residuals(predictions[MODEL], unit),
        paths=_paths(predictions, summary),
        curves=_curves(summary),
        curve=[
            (x.networks, x.predicted, *(_percent(x.mean_percent[key]) for key in NAMES)) for x in summary.curve
        ],
        coefficients=_coefficients(summary),
    )  # fmt: skip


def _errors(by_model: dict[str, Predictions]) -> list[Row]:
    rows: list[Row] = []
    for key, predictions in by_model.items():
        networks = predictions.networks
        rows.append((
            NAMES[key], _percent(networks.mean_percent), _percent(networks.worst_percent),
            _percent(networks.within_percent(5), 1), _percent(networks.within_percent(10), 1),
            _known(networks.rank_correlation, ".4f"), _percent(predictions.operators.mean_percent),
            _percent(predictions.front_ends.mean_percent),
        ))  # fmt: skip
    return rows


def _residuals(predictions: Predictions, unit: str) -> Markup:
    points = {path: (x.measured, x.errors_percent.tolist()) for path, x in predictions.by_path().items()}
    label = "errors of operators, by kernel path"
    return charts.residuals(points, xlabel=f"measured {unit}", ylabel="predicted - measured, %", label=label)


def _paths(by_model: dict[str, Predictions], summary: Summary) -> list[Row]:
    """One row for each kernel path, the errors of model and baselines side by side."""
    by_path = {key: x.by_path() for key, x in by_model.items()}
    rows = []
    for path, pairs in by_path[MODEL].items():
        others = [_percent(by_path[key][path].mean_percent) for key in (MACS_LINEAR, LOOK_UP)]
        spread = _percent(100 * summary.spreads[path]) if path in summary.spreads else ""
        errors = (_percent(pairs.mean_percent), _percent(pairs.worst_percent))
        rows.append((path, str(len(pairs.measured)), *errors, spread, *others))
    return rows


def _curves(summary: Summary) -> Markup:
    lines: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for point in summary.curve:
        for key, error in point.mean_percent.items():
            if point.predicted:
                lines[NAMES[key]][0].append(point.networks)
                lines[NAMES[key]][1].append(error)
    label = "mean error against the number of networks measured"
    return charts.curves(lines, xlabel="networks measured", ylabel="mean error of networks, %", label=label)


def _coefficients(summary: Summary) -> list[dict[str, Any]]:
    """For each path the coefficients that matter, and a row for all others."""
    paths = []
    for path, group in groupby(summary.coefficients, key=lambda x: x.path):
        coefficients = list(group)
        shown = [x for x in coefficients if x.share >= SHOWN_SHARE]
        rows = [
            (meaning(x.name), f"{x.cycles:,.2f}", f"{x.share:.1%}", f"{x.most_turns:,.0f}") for x in shown
        ]
        if rest := sum(x.share for x in coefficients[len(shown) :]):
            rows.append((f"{len(coefficients) - len(shown)} more", "", f"{rest:.1%}", ""))
        paths.append({"title": PATHS.get(path, path), "name": path, "rows": rows})
    return paths


def _percent(value: float, digits: int = 2) -> str:
    return _known(value, f".{digits}f", " %")


def _known(value: float, form: str, unit: str = "") -> str:
    """A value as text; a dash where too little was measured to know it."""
    return "–" if value != value else f"{value:{form}}{unit}"
