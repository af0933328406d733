"""The page of a search or baseline: its limits, what the board measured, and the network that was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from hil_nas.report import candidates as raced
from hil_nas.report import charts, heat, shares
from hil_nas.report.accuracies import with_intervals
from hil_nas.report.arena_picture import arena_picture, arena_rows, fullest
from hil_nas.report.clips import clips_of
from hil_nas.report.confusions import confusion, interval, most_confused
from hil_nas.report.document import counts_of, render
from hil_nas.report.gauges import gauges
from hil_nas.report.network_picture import is_chain, network_picture, nodes_of
from hil_nas.report.search_run import SearchRun
from hil_nas.report.shares import Part
from hil_nas.report.time_parts import TimeParts, time_parts
from hil_nas.units import count_unit, format_bytes

Figure = tuple[str, Markup]  # under its heading
WIDE = 28  # operators of an arena that wants the whole width


def search_page(folder: Path, result: dict[str, Any]) -> str:
    """The page of a run folder, as workflows ask for it before result.json is written."""
    return page_of(SearchRun.read(folder, result))


def page_of(run: SearchRun) -> str:
    """A self-contained HTML page. A part of which nothing was kept is left out."""
    result, unit = run.result, count_unit(run.result["clock"]["kind"])
    parts = time_parts(result, run.network, unit)
    shown = {
        "accuracy": _accuracy(result), "time": _time(result, parts), "memory": _memory(run),
        "network": _network(run, parts), "search": _search(run), "candidates": _candidates(run, unit),
        "training": _training(run), "clips": clips_of(run.worst, result["labels"]) if run.worst else None,
    }  # fmt: skip
    names = {
        "limits": "limits", "accuracy": "accuracy", "time": unit, "memory": "RAM and flash", "network": "network",
        "search": "search", "candidates": "candidates", "training": "training", "clips": "worst clips",
        "data": "data", "again": "make it again",
    }  # fmt: skip
    return render(
        "search.html",
        title=f"{result['front_end']} on {result['board']}: hil_nas {run.config.get('command', '')}".strip(),
        result=result,
        layers=len(run.network.layers),
        counts=counts_of(result["clock"]),
        unit=unit,
        gauges=gauges(result),
        sections=[(x, name) for x, name in names.items() if x not in shown or shown[x]],
        spread_percent=result["predicted"].get("network_spread_percent"),
        command=run.command,
        environment=run.environment,
        **shown,
    )


def _accuracy(result: dict[str, Any]) -> dict[str, Any]:
    counts, labels, clips = np.asarray(result["confusion"]), result["labels"], result["test_clips"]
    right = {"int8": int(np.trace(counts)), "float": round(result["accuracy_float"] * clips)}
    return {
        "figure": with_intervals([(x, y, clips) for x, y in right.items()], "accuracy on the test clips"),
        "rows": [(name, interval(y, clips), f"{y:,} of {clips:,}") for name, y in right.items()],
        "confusion": confusion(counts, labels),
        "confused": most_confused(counts, labels),
    }


def _time(result: dict[str, Any], parts: TimeParts) -> dict[str, Any]:
    measured = result["measured"]
    whole = measured["front_end_cycles"] + measured["network_cycles"]
    return {
        "parts": parts,
        "whole": whole,
        "front_end_percent": 100 * measured["front_end_cycles"] / max(1, whole),
    }


def _memory(run: SearchRun) -> dict[str, Any]:
    bars = []
    for key, name in (("ram", "RAM"), ("flash", "flash")):
        parts = [Part(x, size, "mem") for x, size in run.result[key].items()]
        whole = sum(run.result[key].values())
        rows = [
            (f"{i + 1}  {x.name}", f"{x.value:,}", shares.share(parts, i)) for i, x in enumerate(parts)
        ]
        bars.append((name, f"{whole:,}", shares.bar(parts, f"{name} of {format_bytes(whole)}"), rows))
    if run.plan is None:
        return {"bars": bars, "arena": None}
    at, most = fullest(run.plan)
    arena = {
        "figure": arena_picture(run.plan), "rows": arena_rows(run.plan), "bytes": f"{run.plan.arena_bytes:,}",
        "at": at, "most": f"{most:,}", "wide": len(run.plan.operators) > WIDE,
    }  # fmt: skip
    return {"bars": bars, "arena": arena}


def _network(run: SearchRun, parts: TimeParts) -> dict[str, Any]:
    nodes = nodes_of(run.network, parts.layer_shares)
    rows = [
        (f"{i}  {x.name}", x.geometry, x.shape, ", ".join(map(str, x.inputs)), x.share) for i, x in enumerate(nodes)
    ]
    return {"figure": network_picture(nodes), "rows": rows, "wide": not is_chain(nodes)}


def _search(run: SearchRun) -> dict[str, Any] | None:
    """What the search decided over its epochs."""
    configuration, search = run.phase("configuration"), run.phase("search")
    figures: list[Figure] = []
    if configuration:
        series = {x: [y[f"{x}_samples"] for y in configuration] for x in ("window", "hop")}
        label = "window and hop over the epochs"
        figures.append(("Window and hop over their search", charts.lines(series, ylabel="samples", label=label)))
    if search and "gammas" in search[0]:
        gammas = {name: [x["gammas"][name] for x in search] for name in search[0]["gammas"]}
        figures.append(("Gamma: the front ends over the search", heat.over_epochs(gammas, "gamma")))
    if search and search[0].get("expected_latency_ms") is not None:  # None where counts are no time
        expected = {"expected": [x["expected_latency_ms"] for x in search]}
        drawn = charts.lines(
            expected, ylabel="ms", limit=run.result["limits"]["max_latency_ms"],
            label="expected latency over the epochs of the search",
        )  # fmt: skip
        figures.append(("Expected latency over the search", drawn))
    alphas: list[Figure] = []
    if search and "alpha" in search[0]:
        for group, choices in search[0]["alpha"].items():
            over = {x: [line["alpha"][group][x] for line in search] for x in choices}
            alphas.append((group, heat.over_epochs(over, f"alpha, {group}", 10)))
    shown = {"figures": figures, "alphas": alphas, "supernet": _supernet(run.result)}
    return shown if figures or alphas else None


def _supernet(result: dict[str, Any]) -> str:
    """The limits of a supernet that served several; empty where it served one."""
    limits = result.get("supernet_limits_ms") or ()
    return ", ".join("none" if x is None else f"{x:g} ms" for x in limits)


def _candidates(run: SearchRun, unit: str) -> dict[str, Any] | None:
    lines = run.phase("candidates")
    if not lines:
        return None
    heads, rows = raced.candidate_rows(run.result, lines, unit)
    return {
        "figure": raced.candidates_picture(run.result, lines, unit), "legend": raced.legend(lines), "heads": heads,
        "rows": rows, "ranking": raced.ranking(run.result, unit),
    }  # fmt: skip


def _training(run: SearchRun) -> dict[str, Any] | None:
    lines = run.phase("train")
    if not lines:
        return None
    percents = [100 * x["accuracy"] for x in lines]
    losses = [x["loss"] for x in lines]
    figures = [
        charts.lines({"validation": percents}, ylabel="validation accuracy, %", label="accuracy over the epochs"),
        charts.lines({"training": losses}, ylabel="training loss", label="loss over the epochs"),
    ]
    rows = [(str(i), f"{100 * x['accuracy']:.1f} %", f"{x['loss']:.4f}") for i, x in enumerate(lines, 1)]
    return {"figures": figures, "rows": rows}
