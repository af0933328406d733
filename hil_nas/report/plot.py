"""The frame of a chart: axes with their ticks and words, and what is drawn inside by the values of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hil_nas.report.scales import Scale, shown
from hil_nas.report.svg import joined, picture, tag

WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 420.0, 54.0, 10.0, 12.0, 38.0
COLOURS, DASHES = 8, 4
_SHAPES = (  # circle, square, triangle, diamond, triangle; {0} is half a width, {1} the whole
    "m-{0:g},0a{0:g},{0:g} 0 1,0 {1:g},0a{0:g},{0:g} 0 1,0 -{1:g},0z", "m-{0:g},-{0:g}h{1:g}v{1:g}h-{1:g}z",
    "m0,-{0:g}l{0:g},{1:g}h-{1:g}z", "m0,-{0:g}l{0:g},{0:g} -{0:g},{0:g} -{0:g},-{0:g}z",
    "m-{0:g},-{0:g}h{1:g}l-{0:g},{1:g}z",
)  # fmt: skip
_TIP_LETTERS = 5.4  # units of the picture that a letter of a point's words takes


@dataclass(frozen=True)
class Plot:
    """
    Attributes:
        label: what the chart shows, for those who do not see it.
    """

    x: Scale
    y: Scale
    xlabel: str
    ylabel: str
    label: str
    height: float = 250.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where in the picture a point lies."""
        across, up = self.x.share(x), self.y.share(y)
        bottom = self.height - _BOTTOM
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), bottom - up * (bottom - _TOP)

    def line(self, points: Iterable[tuple[float, float]], **look: str) -> Markup:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*p) for p in points))
        return tag("polyline", points=path, **look)

    def upright(self, x: float, name: str, **look: str) -> Markup:
        """A line over the whole height at one value, with its name at the top."""
        (left, bottom), (_, top) = self.at(x, self.y.low), self.at(x, self.y.high)
        end = "end" if self.x.share(x) > 0.7 else "start"
        words = tag("text", name, x=left + (-4 if end == "end" else 4), y=top + 9, text_anchor=end, class_="small")
        return joined(tag("line", x1=left, x2=left, y1=bottom, y2=top, **look), words)

    def level(self, y: float, name: str, **look: str) -> Markup:
        """A line over the whole width at one value, with its name above it."""
        (left, at), (right, _) = self.at(self.x.low, y), self.at(self.x.high, y)
        words = tag("text", name, x=right - 2, y=at - 4, text_anchor="end", class_="small")
        return joined(tag("line", x1=left, x2=right, y1=at, y2=at, **look), words)

    def svg(self, *content: str, holds_points: bool = False) -> Markup:
        return picture(WIDTH, self.height, self.label, self._frame(), *content, holds_points=holds_points)

    def _frame(self) -> Markup:
        left, bottom = self.at(self.x.low, self.y.low)
        right, top = self.at(self.x.high, self.y.high)
        parts: list[Markup] = []
        for value in self.y.ticks:
            _, y = self.at(self.x.low, value)
            parts.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", shown(value), x=left - 5, y=y + 4, text_anchor="end"))
        for value in self.x.ticks:
            x, _ = self.at(value, self.y.low)
            parts.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            parts.append(tag("text", shown(value), x=x, y=bottom + 16, text_anchor="middle"))
        parts.append(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        parts.append(tag("text", self.xlabel, x=(left + right) / 2, y=self.height - 6, text_anchor="middle"))
        turned = f"translate(11 {(top + bottom) / 2:.0f}) rotate(-90)"
        parts.append(tag("text", self.ylabel, transform=turned, text_anchor="middle"))
        return joined(*parts)


def mark(index: int, *places: tuple[float, float], size: float = 3.5, hollow: bool = False) -> Markup:
    """Small shapes at these places; neighbours in a series differ in shape and in colour."""
    shape = _SHAPES[index % len(_SHAPES)].format(size, 2 * size)
    path = "".join(f"M{x:.1f},{y:.1f}{shape}" for x, y in places)
    return tag("path", d=path, class_=f"c{index % COLOURS} {'hollow' if hollow else 'mark'}")


def point(shape: Markup, x: float, y: float, words: str, href: str | None = None, *, height: float = 250.0) -> Markup:
    """A shape that Tab reaches and that then says what it is, as it does under the mouse; with a page, its link."""
    room = min(x, WIDTH - x) * 2
    anchor = "middle" if len(words) * _TIP_LETTERS < room else "start" if x < WIDTH / 2 else "end"
    above = y > height / 4
    tip = tag("text", words, x=x, y=y - 9 if above else y + 17, text_anchor=anchor, class_="tip", aria_hidden="true")
    if href is not None:
        return tag("a", shape, tip, href=href, class_="pt", aria_label=words)
    return tag("g", shape, tip, tabindex="0", role="img", class_="pt", aria_label=words)


def line_look(index: int) -> str:
    """Classes of a line: colour and dashes."""
    return f"line c{index % COLOURS} d{index % DASHES}"


def legend(names: Sequence[str], *, lines: bool, marks: bool) -> Markup:
    """Names beside how each is drawn, as a list that breaks where there is no room."""
    items = []
    for index, name in enumerate(names):
        parts = [tag("line", x1=1, x2=29, y1=6, y2=6, class_=line_look(index))] if lines else []
        parts += [mark(index, (15, 6))] if marks else []
        items.append(tag("li", tag("svg", *parts, viewBox="0 0 30 12", class_="swatch", aria_hidden="true"), name))
    return tag("ul", *items, class_="legend")
