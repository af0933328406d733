"""How results show in a notebook: a table of HTML that stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hil_nas.units import clock_name, count_unit, format_bytes, format_latency


def html_table(title: str, rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """A table with a caption; everything is escaped, the first cell of a row is its head."""
    lines = [f"<caption>{escape(title)}</caption>"]
    if heads:
        lines.append(f"<thead><tr>{''.join(f'<th>{escape(x)}</th>' for x in heads)}</tr></thead>")
    for head, *cells in rows:
        shown = "".join(f"<td>{escape(str(x))}</td>" for x in cells)
        lines.append(f"<tr><th>{escape(str(head))}</th>{shown}</tr>")
    return f"<table>{''.join(lines)}</table>"


def verification_html(data: Mapping[str, Any]) -> str:
    """A `Verification` as its `to_json` gives it, in short."""
    unit = count_unit(data["clock"]["kind"])
    latency_ms, error_percent = data["latency_ms"], data["clock"]["error_percent"]
    rows = [("network", f"{data['network_cycles']:,} {unit}")]
    if data["front_end_cycles"] is not None:
        rows.append((f"front end {data['front_end']}", f"{data['front_end_cycles']:,} {unit}"))
    if latency_ms is not None:
        rows.append(("latency", format_latency(latency_ms, error_percent)))
    rows += [("RAM", format_bytes(data["ram_bytes"])), ("flash", format_bytes(data["flash_bytes"]))]
    bits = "equal" if data["bits_equal"] else f"{data['differing_bytes']} values differ"
    rows.append((f"{data['compared']}, against the host", f"{bits} over {data['clips_compared']}"))
    if data["accuracy"] is not None:
        rows.append(("accuracy of the board's answers", f"{data['accuracy']:.2%}"))
    rows += [("limit missed", x) for x in data["missed"]]
    return html_table(f"{data['board']} ({clock_name(data['clock'])})", rows)
