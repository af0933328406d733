"""Draws images/cycles-light.svg and images/cycles-dark.svg from images/cycles.csv: `python docs/draw.py`.

A row of the table is what a run's result.json says: accuracy_int8, measured.front_end_cycles, measured.network_cycles.
"""

from __future__ import annotations

import csv
from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parent / "images"
INKS = {  # text, faint text, front end, network
    "light": ("#1f2328", "#59636e", "#d29922", "#1f6feb"),
    "dark": ("#e6edf3", "#9198a1", "#d29922", "#58a6ff"),
}
WIDTH, LEFT, BAR, ROW, TOP = 760, 190, 380, 46, 64


def rows() -> list[dict[str, str]]:
    with (IMAGES / "cycles.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def picture(theme: str) -> str:
    """An SVG: a bar for each row of the table, cycles of the front end and of the network one behind the other."""
    ink, faint, first, second = INKS[theme]
    table = rows()
    most = max(int(x["front_end_cycles"]) + int(x["network_cycles"]) for x in table)
    lines = [
        _text(0, 18, "One second of audio on nucleo-l4r5@virtual: modelled cycles, ± 5 %", ink, weight=600),
        f'<rect x="0" y="32" width="12" height="12" rx="2" fill="{first}"/>',
        _text(18, 43, "audio front end", faint),
        f'<rect x="130" y="32" width="12" height="12" rx="2" fill="{second}"/>',
        _text(148, 43, "network", faint),
    ]
    for number, row in enumerate(table):
        y = TOP + number * ROW
        front_end, network = (int(row[f"{x}_cycles"]) for x in ("front_end", "network"))
        ends = [LEFT + BAR * x / most for x in (0, front_end, front_end + network)]
        lines += [
            _text(LEFT - 10, y + 21, row["label"], ink, anchor="end"),
            f'<rect x="{ends[0]:.1f}" y="{y}" width="{ends[1] - ends[0]:.1f}" height="32" fill="{first}"/>',
            f'<rect x="{ends[1]:.1f}" y="{y}" width="{ends[2] - ends[1]:.1f}" height="32" fill="{second}"/>',
            _text(ends[2] + 10, y + 14, f"{(front_end + network) / 1e6:.2f} million", ink, weight=600),
            _text(ends[2] + 10, y + 30, f"{row['accuracy_percent']} % of test clips right", faint),
        ]
    height = TOP + len(table) * ROW
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">',
        *lines,
        "</svg>",
        "",
    ])  # fmt: skip


def _text(x: float, y: float, words: str, ink: str, *, anchor: str = "start", weight: int = 400) -> str:
    how = f'text-anchor="{anchor}" font-weight="{weight}" fill="{ink}"'
    return f'<text x="{x:.0f}" y="{y}" {how}>{escape(words, quote=False)}</text>'


if __name__ == "__main__":
    for theme in INKS:
        (IMAGES / f"cycles-{theme}.svg").write_text(picture(theme), encoding="utf-8")
