"""Shares over epochs as a table whose cells are shaded: it is its own table of numbers, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from hil_nas.report.svg import joined, percent, tag

_MOST_ROWS = 12
_LEAST_SEEN = 0.005  # what rounds to 0 in every epoch is folded away
_HOT = 0.77  # from this shade on black on white becomes white on black: there both can just be read (WCAG, 4.5 to 1)


def over_epochs(shares: Mapping[str, Sequence[float]], name: str, most_columns: int = 14) -> Markup:
    """One row for each name, highest at the end first, a column for an epoch; of many epochs some, the last among them.

    Beyond twelve rows the others are folded away, and so are those that were never seen to rise.

    Args:
        shares: 0 to 1, an epoch each, of equal length.
    """
    count = max(map(len, shares.values()), default=0)
    if not count:
        return Markup("")
    order = sorted(shares, key=lambda x: (-shares[x][-1], -max(shares[x])))
    seen = [x for x in order if max(shares[x]) >= _LEAST_SEEN][:_MOST_ROWS]
    first, rest = seen, [x for x in order if x not in seen]
    shown = _table({x: shares[x] for x in first}, _chosen(count, most_columns), name)
    if not rest:
        return shown
    most = max(max(shares[x]) for x in rest)
    summary = tag("summary", f"{len(rest)} more, " + (f"none ever above {percent(most)}" if most else "0 throughout"))
    folded = _table({x: shares[x] for x in rest}, _chosen(count, most_columns), f"{name}, the others")
    return joined(shown, tag("details", summary, folded))


def shaded(value: float, text: str, *looks: str) -> Markup:
    """A cell, as dark as its share."""
    look = " ".join([*looks, *(["hot"] if value >= _HOT else []), *([] if value >= 0.005 else ["none"])])
    return tag("td", text, style=f"--v: {value:.3f}", class_=look or None)


def scrolled(table: Markup, name: str) -> Markup:
    """A table that scrolls by itself where the page is narrow, also by the arrow keys."""
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=name)


def _chosen(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def _table(shares: Mapping[str, Sequence[float]], epochs: Sequence[int], name: str) -> Markup:
    heads = tag("tr", tag("th", "epoch", scope="col"), *(tag("th", str(i + 1), scope="col") for i in epochs))
    rows = []
    for row, values in shares.items():
        cells = [shaded(values[i], f"{100 * values[i]:.0f}") for i in epochs]
        rows.append(tag("tr", tag("th", row, scope="row"), *cells))
    caption = tag("caption", f"{name}, in percent")
    table = tag("table", caption, tag("thead", heads), tag("tbody", *rows), class_="heat")
    return scrolled(table, name)
