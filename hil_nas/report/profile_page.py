"""The page of a measuring campaign: how well the latency model predicts, and what it has learned."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import Any

from hil_nas.latency.evaluate import LOOK_UP, MACS_LINEAR, MODEL, Pairs, Predictions
from hil_nas.latency.meanings import PATHS, meaning
from hil_nas.latency.summary import Coefficient, Summary
from hil_nas.report import figures
from hil_nas.report.document import counts_of, page, table, text
from hil_nas.units import count_unit

NAMES = {MODEL: "this model", MACS_LINEAR: "linear in MACs", LOOK_UP: "look-up table"}
SHOWN_SHARE = 0.005  # of a path's cycles: coefficients below are summed up


def profile_page(result: dict[str, Any], summary: Summary) -> str:
    """A self-contained HTML page for a finished campaign.

    Args:
        result: what result.json says.
        summary: of the folder that the campaign measured into.
    """
    unit = count_unit(result["clock"]["kind"])
    found = summary.predictions
    networks = {NAMES[x]: found[x].networks for x in (LOOK_UP, MACS_LINEAR, MODEL)}
    body = [
        f"<h1>{text(result['board'])}: a latency model from {result['networks']} networks</h1>",
        _measured(result),
        _weights(result["published_cycles"], unit),
        "<h2>Errors on networks left out of the fit</h2>",
        _errors(found),
        "<h2>Predicted against measured</h2>",
        figures.scatter(
            {name: (x.measured, x.predicted) for name, x in networks.items()},
            xlabel=f"measured {unit} of a network", ylabel=f"predicted {unit}",
        ),  # fmt: skip
        "<h2>Residuals by kernel path</h2>",
        _residuals(found[MODEL], unit),
        _paths(found, summary),
        "<h2>Error against the number of measurements</h2>",
        *_curve(summary),
        f"<h2>What each loop costs, in {unit}</h2>",
        *_coefficients(summary, unit),
    ]
    return page(f"hil_nas profile: {result['board']}", "\n".join(body))


def _measured(result: dict[str, Any]) -> str:
    return (
        f"<p class=note>Counts are {counts_of(result['clock'])}. Weights in "
        f"{text(result['weights'])}, engine {text(result['engine'])}, kernels {text(result['kernels'])}, "
        f"{text(result['versions'])}. {result['operators']:,} operators and {result['front_ends']} front ends; this "
        f"run measured {result['measured_networks']} networks in {result['measuring_s'] / 60:.1f} minutes.</p>"
    )


def _weights(published: dict[str, float], unit: str) -> str:
    """What flash costs, where both were measured."""
    if not {"flash", "ram"} <= set(published):
        return ""
    flash, ram = published["flash"], published["ram"]
    return (
        f"<p>MLPerf Tiny's keyword network takes {flash / 1e6:.2f} M {unit} with its weights in flash, as in a "
        f"product, and {ram / 1e6:.2f} M with them in RAM: flash costs {100 * (flash / ram - 1):.1f} %.</p>"
    )


def _errors(found: dict[str, Predictions]) -> str:
    heads = ("", "networks: mean", "worst", "within 5 %", "within 10 %", "Spearman", "operators: mean",
             "front ends: mean")  # fmt: skip
    rows = []
    for key, predictions in found.items():
        networks = predictions.networks
        cells = (
            _percent(networks.mean_percent), _percent(networks.worst_percent), _percent(networks.within_percent(5), 1),
            _percent(networks.within_percent(10), 1), _known(networks.rank_correlation, ".4f"),
            _percent(predictions.operators.mean_percent), _percent(predictions.front_ends.mean_percent),
        )  # fmt: skip
        rows.append(_row(NAMES[key], *cells))
    return table(heads, rows)


def _residuals(found: Predictions, unit: str) -> str:
    points = {path: (x.measured, x.errors_percent.tolist()) for path, x in _all_paths(found).items()}
    return figures.residuals(points, xlabel=f"measured {unit}", ylabel="predicted - measured, %")


def _paths(found: dict[str, Predictions], summary: Summary) -> str:
    """One row for each kernel path, the errors of model and baselines side by side."""
    by_path = {key: _all_paths(x) for key, x in found.items()}
    rows = []
    for path, pairs in by_path[MODEL].items():
        others = [_percent(by_path[key][path].mean_percent) for key in (MACS_LINEAR, LOOK_UP)]
        spread = _percent(100 * summary.spreads[path]) if path in summary.spreads else ""
        cells = (str(len(pairs.measured)), _percent(pairs.mean_percent), _percent(pairs.worst_percent), spread, *others)
        rows.append(_row(path, *cells))
    heads = ("kernel path", "measured", "mean error", "worst", "9 of 10 below", "linear in MACs", "look-up table")
    return table(heads, rows)


def _all_paths(found: Predictions) -> dict[str, Pairs]:
    ends = {"front_end": found.front_ends} if found.front_ends.measured else {}
    return {**found.by_path(), **ends}


def _curve(summary: Summary) -> list[str]:
    lines: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for point in summary.curve:
        for key, error in point.mean_percent.items():
            if point.predicted:
                lines[NAMES[key]][0].append(point.networks)
                lines[NAMES[key]][1].append(error)
    rows = [
        _row(str(x.networks), str(x.predicted), *(_percent(x.mean_percent[key]) for key in NAMES))
        for x in summary.curve
    ]
    note = (
        "<p class=note>Refitted to the first networks of the campaign; the error is of one network in five, left out "
        "throughout, as far as the kernel paths it holds were measured by then.</p>"
    )
    return [
        figures.curves(lines, xlabel="networks measured", ylabel="mean error of networks, %"),
        note,
        table(("networks fitted to", "of those held out, predicted", *NAMES.values()), rows),
    ]


def _coefficients(summary: Summary, unit: str) -> list[str]:
    parts = []
    for path, group in groupby(summary.coefficients, key=lambda x: x.path):
        found = list(group)
        shown = [x for x in found if x.share >= SHOWN_SHARE]
        rows = [_coefficient(x) for x in shown]
        if rest := sum(x.share for x in found[len(shown) :]):
            rows.append(_row(f"{len(found) - len(shown)} more", "", f"{rest:.1%}", ""))
        parts.append(f"<h3>{text(PATHS.get(path, path))}</h3>")
        parts.append(table((text(path), f"{unit} each", "share of all measured", "most in one operator"), rows))
    return parts


def _coefficient(found: Coefficient) -> str:
    return _row(meaning(found.name), f"{found.cycles:,.2f}", f"{found.share:.1%}", f"{found.most_turns:,.0f}")


def _row(first: str, *cells: str) -> str:
    return f"<tr><td>{text(first)}</td>{''.join(f'<td>{x}</td>' for x in cells)}</tr>"


def _percent(value: float, digits: int = 2) -> str:
    return _known(value, f".{digits}f", " %")


def _known(value: float, form: str, unit: str = "") -> str:
    """A value as text; a dash for one that too little was measured for."""
    return "–" if value != value else f"{value:{form}}{unit}"
