"""SVG and HTML as text: elements whose words are escaped. Colours are classes, which the page's style fills in."""

from __future__ import annotations

from markupsafe import Markup, escape


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """One element. `class_` is the attribute class, `text_anchor` text-anchor; None leaves an attribute out."""
    shown = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _plain(value))
        for key, value in attributes.items() if value is not None
    )  # fmt: skip
    return Markup("<{}{}>{}</{}>").format(Markup(name), shown, joined(*children), Markup(name))


def joined(*parts: str) -> Markup:
    return Markup("").join(map(escape, parts))


def picture(width: float, height: float, label: str, *children: str, holds_points: bool = False) -> Markup:
    """An <svg> that fills the width it is given. One that holds points to be focused is a group, not an image."""
    role = "group" if holds_points else "img"
    return tag("svg", *children, viewBox=f"0 0 {width:g} {height:g}", role=role, aria_label=label)


def percent(share: float, digits: int = 1) -> str:
    """0.123 as `12.3 %`."""
    return f"{100 * share:.{digits}f} %"


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(value, 2):g}"
