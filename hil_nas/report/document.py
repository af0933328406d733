"""What all pages have in common: one file that stands alone, its style inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .25rem .7rem; text-align: right }
th { font-weight: 600; border-bottom: 1px solid #d0d7de } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) td { background: #f6f8fa } .held { color: #1a7f37 } .missed { color: #cf222e; font-weight: 600 }
.bar { display: inline-block; height: .7rem; background: #0969da; vertical-align: middle } .note { color: #57606a }
td.left { text-align: left } svg { max-width: 100%; height: auto }
"""
CLOCKS = {
    "silicon": "cycles of the chip's own counter",
    "modelled": "cycles of a model fitted to published silicon, on the emulated board",
    "instructions": "executed instructions, which are no time",
}


def counts_of(clock: Mapping[str, Any]) -> str:
    """What the counts of a result's clock are, as part of a sentence."""
    kind, error_percent = clock["kind"], clock["error_percent"]
    rate = f", at {clock['hz'] / 1e6:g} MHz" if kind in ("silicon", "modelled") else ""
    within = "" if error_percent is None else f", and within {error_percent:g} % of silicon by the evidence"
    return f"{CLOCKS.get(kind, text(kind))}{rate}{within}"


def table(heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table of finished rows."""
    head = "".join(f"<th>{x}</th>" for x in heads)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def page(title: str, body: str) -> str:
    """A whole HTML page around its body."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{text(title)}</title>"
        f"<style>{_STYLE}</style><body>{body}</body></html>\n"
    )


def text(value: object) -> str:
    """Any value as text that HTML takes for nothing else."""
    return html.escape(str(value))
