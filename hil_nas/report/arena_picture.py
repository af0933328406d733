"""The arena over time: a column for each operator, a block for what lies in memory while it runs."""

from __future__ import annotations

from math import ceil

from markupsafe import Markup

from hil_nas.deploy.plan import Plan
from hil_nas.report.arena_blocks import blocks_of, bytes_at
from hil_nas.report.heat import scrolled
from hil_nas.report.scales import linear_between, shown
from hil_nas.report.svg import picture, tag
from hil_nas.units import format_bytes

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 52.0, 6.0, 8.0, 34.0, 260.0
_USUAL, _COLUMN, _LETTER, _NUMBER = 420.0, 13.0, 6.2, 18.0
_HATCH = Markup(
    '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line x1="0" y1="0" x2="0" y2="5" class="wire"/></pattern></defs>'
)


def arena_picture(plan: Plan) -> Markup:
    """As wide as its operators need; a wide one scrolls."""
    blocks, steps = blocks_of(plan), len(plan.operators)
    width = max(_USUAL, _LEFT + _RIGHT + _COLUMN * steps)
    axis = linear_between(0, max(plan.arena_bytes, 16))
    bottom, column = _HEIGHT - _BOTTOM, (width - _LEFT - _RIGHT) / steps

    def up(size_bytes: float) -> float:
        return bottom - axis.share(size_bytes) * (bottom - _TOP)

    parts: list[Markup] = [_HATCH]
    for tick in axis.ticks:
        parts.append(tag("line", x1=_LEFT, x2=width - _RIGHT, y1=up(tick), y2=up(tick), class_="grid"))
        parts.append(tag("text", shown(tick), x=_LEFT - 5, y=up(tick) + 4, text_anchor="end"))
    for block in blocks:
        top, height = up(block.end_bytes), up(block.offset_bytes) - up(block.end_bytes)
        look = "scratch" if block.scratch else f"box mem-{'ab'[block.writer % 2]}"
        x, across = _LEFT + column * block.first + 0.5, column * (block.last - block.first + 1) - 1
        parts.append(tag("rect", x=x, y=top, width=across, height=max(0.8, height), class_=look))
    for block in blocks:  # behind all boxes, in its first column: what lies over a block begins in a later one
        name, middle = str(block.writer) if block.writer else "in", (up(block.end_bytes) + up(block.offset_bytes)) / 2
        if not block.scratch and column > _LETTER * len(name) and up(block.offset_bytes) - up(block.end_bytes) > 11:
            x = _LEFT + column * (block.first + 0.5)
            parts.append(tag("text", name, x=x, y=middle + 4, text_anchor="middle"))
    for step in range(0, steps, max(1, ceil(_NUMBER / column))):
        x = _LEFT + column * (step + 0.5)
        parts.append(tag("text", str(step + 1), x=x, y=bottom + 14, text_anchor="middle"))
    parts.append(tag("text", "operator", x=(_LEFT + width) / 2, y=_HEIGHT - 4, text_anchor="middle"))
    turned = f"translate(10 {(bottom + _TOP) / 2:.0f}) rotate(-90)"
    parts.append(tag("text", "bytes", transform=turned, text_anchor="middle"))
    label = f"the network's arena of {format_bytes(plan.arena_bytes)} over {steps} operators"
    drawn = picture(width, _HEIGHT, label, *parts)
    if width == _USUAL:
        return tag("div", drawn, class_="chart")
    return scrolled(tag("div", drawn, class_="wide", style=f"width: {width:.0f}px"), label)


def arena_rows(plan: Plan) -> list[tuple[str, ...]]:
    """The same as rows: what is written where, from when to when."""
    rows: list[tuple[str, ...]] = []
    for block in blocks_of(plan):
        if block.writer == 0:
            what = "input"
        else:
            kind = plan.operators[block.writer - 1].kind
            what = f"{block.writer} {kind}{' scratch' if block.scratch else ''}"
        until = f"{block.first + 1} to {block.last + 1}"
        rows.append((what, f"{block.size_bytes:,}", f"{block.offset_bytes:,} to {block.end_bytes - 1:,}", until))
    return rows


def fullest(plan: Plan) -> tuple[int, int]:
    """(operator counted from 1, bytes) where most of the arena is in use."""
    blocks = blocks_of(plan)
    used = [bytes_at(blocks, step) for step in range(len(plan.operators))]
    most = max(used)
    return used.index(most) + 1, most
