"""The page of a search: what was asked, what the board did, what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hil_nas.cost.macs import operator_macs
from hil_nas.network import Network, Operator
from hil_nas.operators.table import layer_rules, runs
from hil_nas.report import figures
from hil_nas.report.document import counts_of, page, table, text
from hil_nas.units import count_unit, format_bytes, format_latency


def search_page(result: dict[str, Any], network: Network, history: Sequence[dict[str, Any]]) -> str:
    """A self-contained HTML page for a finished search.

    Args:
        result: what result.json says.
        history: the lines of metrics.jsonl, each with its `phase`.
    """
    clock = result["clock"]
    body = [
        f"<h1>{text(result['board'])}: {text(result['front_end'])} and a network of {len(network.layers)} layers</h1>",
        f"<p class=note>Counts are {counts_of(clock)}. "
        f"Engine {text(result['engine'])}, firmware {text(result['build'])}.</p>",
        "<h2>Limits against measured</h2>",
        _limits(result),
        "<h2>Correctness and accuracy</h2>",
        _accuracy(result),
        "<h2>Data</h2>",
        _data(result["data"]),
        "<h2>Memory, line by line</h2>",
        _memory(result),
        "<h2>The network on the board</h2>",
        _layers(network, result["operators"], result["front_end_cycles"], count_unit(clock["kind"])),
        *_search_figures(history, result),
        "<h2>Confusion on the test clips (int8)</h2>",
        figures.confusion(np.asarray(result["confusion"]), result["labels"]),
    ]
    return page(f"hil_nas: {result['board']}", "\n".join(body))


def _limits(result: dict[str, Any]) -> str:
    measured, predicted, limits = result["measured"], result["predicted"], result["limits"]
    error_percent = result["clock"]["error_percent"]
    rows = []
    for key, name, show in (
        ("latency_ms", "latency", lambda x: format_latency(x, error_percent)),
        ("ram_bytes", "RAM", format_bytes),
        ("flash_bytes", "flash", format_bytes),
    ):
        limit, found = limits[f"max_{key}"], measured[key]
        state = "" if limit is None else "held" if found is not None and found <= limit else "missed"
        exactly = "–" if limit is None else format_latency(limit, None) if key == "latency_ms" else show(limit)
        cells = [exactly, *(None if x is None else show(x) for x in (found, predicted.get(key)))]
        shown = "".join(f"<td>{x or '–'}</td>" for x in cells)
        rows.append(f"<tr><td>{name}</td>{shown}<td class={state}>{state or 'no limit'}</td></tr>")
    spread = predicted.get("network_spread_percent")
    note = "" if spread is None else f"<p class=note>The network's latency is predicted to within {spread:.2f} %.</p>"
    return table(("", "limit", "measured", "predicted", ""), rows) + note


def _accuracy(result: dict[str, Any]) -> str:
    equal = "equal" if result["bits_equal"] else "NOT equal"
    rows = [
        f"<tr><td>int8 features and logits, board against host</td>"
        f"<td>{equal} over {result['clips_compared']} clips</td></tr>",
        f"<tr><td>accuracy, int8, test</td><td>{result['accuracy_int8'] * 100:.2f} %</td></tr>",
        f"<tr><td>accuracy, float, test</td><td>{result['accuracy_float'] * 100:.2f} %</td></tr>",
    ]
    return table(("", ""), rows)


def _data(data: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} in {split}" for split, count in data["speakers"].items())
    known = [f"Speakers like {', '.join(data['speaker_names'])}: {counts}."] if data["speaker_names"] else []
    return "".join(f"<p>{text(x)}</p>" for x in (data["name"], *known, *data["warnings"]))


def _memory(result: dict[str, Any]) -> str:
    rows = []
    for kind in ("ram", "flash"):
        for name, size in result[kind].items():
            rows.append(
                f"<tr><td>{text(name)}</td><td>{kind.upper() if kind == 'ram' else kind}</td><td>{size:,}</td></tr>"
            )
    return table(("", "", "bytes"), rows)


def _layers(network: Network, operators: Sequence[Sequence[Any]], front_end_cycles: int, unit: str) -> str:
    """One row for each operator the board ran; a reshape runs nothing and has no row."""
    run = [x for x in network.operators() if runs(x.layer.kind)]
    measured = [cycles for _, cycles in operators]
    whole = sum(measured) + front_end_cycles
    rows = [_row("front end", "", "", "", front_end_cycles, whole)]
    for operator, cycles in zip(run, measured, strict=True):
        layer = operator.layer
        shape = " × ".join(map(str, operator.output))
        rows.append(_row(layer.kind, _geometry(operator), shape, f"{operator_macs(operator):,}", cycles, whole))
    return table(("operator", "kernel / stride", "output", "MACs", unit, "share"), rows)


def _row(kind: str, geometry: str, shape: str, macs: str, cycles: int, whole: int) -> str:
    share = cycles / whole
    bar = f"<span class=bar style='width:{share * 12:.2f}rem'></span> {share * 100:.1f} %"
    return (
        f"<tr><td>{kind}</td><td>{geometry}</td><td>{shape}</td><td>{macs}</td><td>{cycles:,}</td>"
        f"<td class=left>{bar}</td></tr>"
    )


def _geometry(operator: Operator) -> str:
    layer = operator.layer
    if not layer_rules(layer.kind).windowed:
        return ""
    kernel, stride = layer.kernel, layer.stride
    return f"{kernel[0]}×{kernel[1]} / {stride[0]}×{stride[1]}"


def _finals(finals: Sequence[dict[str, Any]]) -> str:
    """Best first; its winner, or the next where that missed a limit on the board, was trained in full."""
    rows = [
        f"<tr><td>{text(x['front_end'])}{' (derived)' if x['derived'] else ''}</td><td>{_loss(x['loss'])}</td>"
        f"<td>{x['accuracy'] * 100:.1f} %</td><td>{x['trained_epochs']}</td><td>{x['cycles']:,.0f}</td>"
        f"<td>{format_bytes(x['ram_bytes'])}</td></tr>"
        for x in finals
    ]
    return table(("front end", "validation loss", "validation accuracy", "epochs", "predicted count", "RAM"), rows)


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.3f}"


def _search_figures(history: Sequence[dict[str, Any]], result: dict[str, Any]) -> list[str]:
    search = [x for x in history if x.get("phase") == "search"]
    train = [x for x in history if x.get("phase") == "train"]
    configuration = [x for x in history if x.get("phase") == "configuration"]
    parts = []
    if configuration:
        series = {x: [y[f"{x}_samples"] for y in configuration] for x in ("window", "hop")}
        parts += ["<h2>Window and hop over their search</h2>", figures.lines(series, ylabel="samples")]
    if search and "gammas" in search[0]:
        gammas = {name: [x["gammas"][name] for x in search] for name in search[0]["gammas"]}
        parts += ["<h2>Gamma: the front ends over the search</h2>", figures.lines(gammas, ylabel="gamma")]
    if search and search[0].get("expected_latency_ms") is not None:  # None where counts are no time
        series = {"expected": [x["expected_latency_ms"] for x in search]}
        limit = result["limits"]["max_latency_ms"]
        parts += ["<h2>Expected latency over the search</h2>", figures.lines(series, ylabel="ms", limit=limit)]
    finals = [x for x in history if x.get("phase") == "finals"]
    if finals:
        parts += ["<h2>The finals: the derived network and its rivals after their races</h2>", _finals(finals)]
    if train:
        series = {"validation accuracy": [x["accuracy"] for x in train]}
        parts += ["<h2>Training from scratch</h2>", figures.lines(series, ylabel="accuracy")]
    return parts
