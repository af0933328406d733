"""Where each cycle goes: the front end by stage, the network by operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hil_nas.cost.macs import operator_macs
from hil_nas.front_ends import parse_front_end
from hil_nas.network import Network
from hil_nas.operators.table import runs
from hil_nas.report import shares
from hil_nas.report.network_picture import geometry
from hil_nas.report.shares import Part
from hil_nas.report.svg import percent
from hil_nas.workflows.measure import latency_ms


@dataclass(frozen=True)
class TimeParts:
    """
    Attributes:
        heads, rows: of the table; a clock that gives no time has no column of milliseconds.
        layer_shares: of each layer of the network, as text; empty for one that runs nothing.
        apart_percent: by how much the sum of the parts, counted one by one, differs from the whole.
    """

    bar: Markup
    heads: list[str]
    rows: list[list[str | Markup]]
    layer_shares: list[str]
    apart_percent: float


def time_parts(result: dict[str, Any], network: Network, unit: str) -> TimeParts:
    """One row for each stage and each operator that the board ran; a reshape runs nothing, and has none."""
    clock = result["clock"]
    error = "" if clock["error_percent"] is None else f", ± {clock['error_percent']:g} %"
    known = parse_front_end(result["front_end"]).stages
    stages = [Part(f"front end: {known.get(name, name)}", cycles, "fe") for name, cycles in result["stages"]]
    run = [x for x in network.operators() if runs(x.layer.kind)]
    counted = [cycles for _, cycles in result["operators"]]
    operators = [Part(x.layer.kind, cycles, "net") for x, cycles in zip(run, counted, strict=True)]
    parts = [*stages, *operators]
    whole = sum(x.value for x in parts) or 1.0
    timed = latency_ms(clock["kind"], clock["hz"], whole) is not None
    rows: list[list[str | Markup]] = []
    for index, part in enumerate(parts):
        operator = run[index - len(stages)] if index >= len(stages) else None
        cells: list[str | Markup] = [f"{index + 1}  {part.name.replace('_', ' ')}"]
        cells += ["", "", ""] if operator is None else [
            geometry(operator.layer), " × ".join(map(str, operator.output)), f"{operator_macs(operator):,}"
        ]  # fmt: skip
        cells.append(f"{part.value:,}")
        milliseconds = latency_ms(clock["kind"], clock["hz"], part.value)
        cells += [f"{milliseconds:.3f}"] if milliseconds is not None else []
        rows.append([*cells, shares.share(parts, index)])
    heads = ["", "kernel /stride", "output", "MACs", f"{unit}{error}", *([f"ms{error}"] if timed else []), "share"]
    measured = result["measured"]["front_end_cycles"] + result["measured"]["network_cycles"]
    apart = 100 * (whole / measured - 1) if measured else 0.0
    return TimeParts(
        shares.bar(parts, f"{unit} of front end and network"), heads, rows,
        list(_layer_shares(network, counted, whole)), apart,
    )  # fmt: skip


def _layer_shares(network: Network, counted: list[int], whole: float) -> Iterator[str]:
    left = iter(counted)
    for layer in network.layers:
        yield percent(next(left) / whole) if runs(layer.kind) else ""
