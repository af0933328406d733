"""What was answered for what was spoken, and how well each class was recognised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from hil_nas.report.heat import scrolled, shaded
from hil_nas.report.svg import tag
from hil_nas.workflows.proportion import wilson

Counts = npt.NDArray[np.int64]


def interval(right: int, clips: int) -> str:
    """A share with its interval as text: `93.3 % (92.0 to 94.4 %)`."""
    low, high = wilson(right, clips)
    return "–" if clips == 0 else f"{100 * right / clips:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"


def confusion(counts: Counts, labels: Sequence[str]) -> Markup:
    """A table of counts (true, answered), shaded by the share of each true class; what is right is outlined, and what
    is wrong has another colour, its shade by the square root to be seen at all."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heads = [tag("th", "spoken", scope="col"), *(tag("th", x, scope="col", class_="up") for x in labels)]
    heads.append(tag("th", "recognised (95 % interval)", scope="col", class_="left"))
    rows = []
    for row, label in enumerate(labels):
        cells = []
        for column in range(len(labels)):
            value, right = float(share[row, column]), row == column
            text = str(counts[row, column]) if counts[row, column] else ""
            cells.append(shaded(value if right else value**0.5, text, "right" if right else "wrong"))
        known = interval(int(counts[row, row]), int(counts[row].sum()))
        rows.append(tag("tr", tag("th", label, scope="row"), *cells, tag("td", known, class_="text left")))
    caption = tag("caption", "clips of the test split: a row for what was spoken, a column for what was answered")
    table = tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="heat")
    return scrolled(table, "confusions")


def most_confused(counts: Counts, labels: Sequence[str], most: int = 5) -> list[tuple[str, str, str]]:
    """(spoken, answered, how often), the largest share of what was spoken first; what is right is no confusion."""
    wrong = [(i, j) for i, j in np.ndindex(*counts.shape) if i != j and counts[i, j]]
    wrong.sort(key=lambda x: (-counts[x] / counts[x[0]].sum(), -counts[x], x))
    return [(labels[i], labels[j], f"{counts[i, j]} of {counts[i].sum()}") for i, j in wrong[:most]]
