"""The page of a search: its limits, what the board measured, and the network that was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hil_nas.cost.macs import operator_macs
from hil_nas.network import Network, Operator
from hil_nas.operators.table import layer_rules, runs
from hil_nas.report import figures
from hil_nas.report.document import counts_of, render
from hil_nas.units import count_unit, format_bytes, format_latency

Lines = Sequence[dict[str, Any]]


def search_page(result: dict[str, Any], network: Network, history: Lines) -> str:
    """A self-contained HTML page for a finished search.

    Args:
        result: what result.json says.
        history: the lines of metrics.jsonl, each with its `phase`.
    """
    clock = result["clock"]
    names = ("configuration", "search", "candidates", "train")
    phases = {x: [y for y in history if y.get("phase") == x] for x in names}
    return render(
        "search.html",
        title=f"hil_nas: {result['board']}",
        result=result,
        layers=len(network.layers),
        counts=counts_of(clock),
        unit=count_unit(clock["kind"]),
        limits=_limits(result),
        spread_percent=result["predicted"].get("network_spread_percent"),
        memory=[
            (name, shown, f"{size:,}") for x, shown in (("ram", "RAM"), ("flash", "flash"))
            for name, size in result[x].items()
        ],
        operators=_operators(network, result["operators"], result["stages"]),
        searching=_searching(phases["configuration"], phases["search"], result["limits"]["max_latency_ms"]),
        candidates=[_candidate(x) for x in phases["candidates"]],
        ranking=_ranking(result),
        training=_training(phases["train"]),
        confusion=figures.confusion(np.asarray(result["confusion"]), result["labels"]),
    )  # fmt: skip


def _limits(result: dict[str, Any]) -> list[dict[str, str]]:
    measured, predicted, limits = result["measured"], result["predicted"], result["limits"]
    error_percent = result["clock"]["error_percent"]
    rows = []
    for key, name, show in (
        ("latency_ms", "latency", lambda x: format_latency(x, error_percent)),
        ("ram_bytes", "RAM", format_bytes),
        ("flash_bytes", "flash", format_bytes),
    ):
        limit, value = limits[f"max_{key}"], measured[key]
        state = "" if limit is None else "held" if value is not None and value <= limit else "missed"
        exactly = "–" if limit is None else format_latency(limit, None) if key == "latency_ms" else show(limit)
        there, expected = ("–" if x is None else show(x) for x in (value, predicted.get(key)))
        rows.append({"name": name, "limit": exactly, "measured": there, "predicted": expected, "state": state})
    return rows


def _operators(
    network: Network, measured: Sequence[Sequence[Any]], stages: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """One row for each stage of the front end and each operator the board ran; a reshape runs nothing, and has none."""
    whole = sum(cycles for _, cycles in (*stages, *measured))

    def row(cycles: int, *cells: str) -> dict[str, Any]:
        return {"cells": (*cells, f"{cycles:,}"), "share": cycles / whole}

    run = [x for x in network.operators() if runs(x.layer.kind)]
    rows = [row(cycles, f"front end: {name}", "", "", "") for name, cycles in stages]
    for operator, (_, cycles) in zip(run, measured, strict=True):
        shape = " × ".join(map(str, operator.output))
        rows.append(row(cycles, operator.layer.kind, _geometry(operator), shape, f"{operator_macs(operator):,}"))
    return rows


def _geometry(operator: Operator) -> str:
    layer = operator.layer
    if not layer_rules(layer.kind).windowed:
        return ""
    kernel, stride = layer.kernel, layer.stride
    return f"{kernel[0]}×{kernel[1]} / {stride[0]}×{stride[1]}"


def _searching(configuration: Lines, search: Lines, limit_ms: float | None) -> list[tuple[str, Markup]]:
    """The figures of a search under their headings."""
    parts = []
    if configuration:
        series = {x: [y[f"{x}_samples"] for y in configuration] for x in ("window", "hop")}
        parts.append(("Window and hop over their search", figures.lines(series, ylabel="samples")))
    if search and "gammas" in search[0]:
        gammas = {name: [x["gammas"][name] for x in search] for name in search[0]["gammas"]}
        parts.append(("Gamma: the front ends over the search", figures.lines(gammas, ylabel="gamma")))
    if search and search[0].get("expected_latency_ms") is not None:  # None where counts are no time
        expected = {"expected": [x["expected_latency_ms"] for x in search]}
        parts.append(("Expected latency over the search", figures.lines(expected, ylabel="ms", limit=limit_ms)))
    return parts


def _candidate(candidate: dict[str, Any]) -> tuple[str, ...]:
    """A row of the candidates, best first. The first that held the limits on the board was trained in full."""
    loss = "diverged" if candidate["loss"] is None else f"{candidate['loss']:.3f}"
    return (
        f"{candidate['front_end']}{' (derived)' if candidate['derived'] else ''}",
        loss,
        f"{candidate['accuracy'] * 100:.1f} %",
        str(candidate["trained_epochs"]),
        f"{candidate['cycles']:,.0f}",
        format_bytes(candidate["ram_bytes"]),
    )


def _ranking(result: dict[str, Any]) -> str | None:
    """What was known before the trainings against what they said."""
    if "ranking" not in result:
        return None
    derived, taus = result["derived"], result["ranking"]["kendall_tau"]
    told = ", ".join(f"{name} {'–' if tau is None else format(tau, '.2f')}" for name, tau in taus.items())
    return (
        f"The derived network came {derived['rank']} of {derived['of']}. Kendall's tau of what was known before with"
        f" the first trainings of {result['ranking']['networks']} networks (1: the same order, 0: none): {told}."
    )


def _training(train: Lines) -> Markup | None:
    if not train:
        return None
    return figures.lines({"validation accuracy": [x["accuracy"] for x in train]}, ylabel="accuracy")
