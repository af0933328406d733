"""Where something goes: a bar in parts, and the same parts as rows. Parts are numbered, so that colour says nothing
alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hil_nas.report.svg import percent, tag

_LEAST_NUMBERED = 0.025  # of the whole: narrower parts have no room for their number


@dataclass(frozen=True)
class Part:
    """
    Attributes:
        family: `fe`, `net` or `mem`: what is coloured alike.
    """

    name: str
    value: float
    family: str


def bar(parts: Sequence[Part], label: str) -> Markup:
    """All parts side by side, as wide as they are large; the label says what the whole is."""
    whole = sum(x.value for x in parts) or 1.0
    spans = []
    for index, part in enumerate(parts):
        number = str(index + 1) if part.value / whole >= _LEAST_NUMBERED else ""
        spans.append(tag("span", number, class_=look(part, index), style=f"flex-grow: {part.value / whole:.5f}"))
    said = ", ".join(f"{x.name} {percent(x.value / whole)}" for x in parts)
    return tag("div", *spans, class_="bar", role="img", aria_label=f"{label}: {said}")


def share(parts: Sequence[Part], index: int) -> Markup:
    """A part's share of all as a short bar with its number, for a cell of a table; the largest has the longest bar."""
    part, whole = parts[index], sum(x.value for x in parts) or 1.0
    width = f"width: {6 * part.value / (max(x.value for x in parts) or 1.0):.3f}rem"
    shape = tag("span", class_=f"part {look(part, index)}", style=width)
    return tag("span", shape, f" {percent(part.value / whole)}", class_="tight")


def look(part: Part, index: int) -> str:
    """Neighbours of a family differ a little."""
    return f"{part.family}-{'ab'[index % 2]}"
