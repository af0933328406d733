"""The page of a listening: which words were heard when, and the averaged posteriors over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.report import charts
from hil_nas.report.document import render
from hil_nas.workflows.listen import Hearing

_MOST_DRAWN = 12  # recordings
_MOST_POINTS = 800  # of a line: the highest of each stretch
_LEAST_DRAWN = 0.1  # words that never get there have no line


def listen_page(result: dict[str, Any], decisions: Decisions, hearings: Sequence[Hearing]) -> str:
    """A self-contained HTML page.

    Args:
        result: what result.json says.
    """
    drawn = sorted(range(len(hearings)), key=lambda i: (-len(hearings[i].heard), i))[:_MOST_DRAWN]
    return render(
        "listen.html",
        title=f"hil_nas listen: {result['model']}",
        result=result,
        heard=[
            (x.name, f"{y.time_s:.2f} s", y.word, f"{y.posterior:.4f}") for x in hearings for y in x.heard
        ],
        thresholds=[(x, f"{y / ONE:.4f}") for x, y in zip(decisions.labels, decisions.thresholds, strict=True) if y],
        posteriors=[(hearings[i].name, _posteriors(hearings[i], decisions)) for i in sorted(drawn)],
        left_out=len(hearings) - len(drawn),
    )  # fmt: skip


def _posteriors(hearing: Hearing, decisions: Decisions) -> Markup:
    times_s, averages = _highest(hearing.times_s, hearing.averages)
    lines = {decisions.labels[i]: averages[:, i] / ONE for i in decisions.keywords}
    shown = {name: x for name, x in lines.items() if x.max(initial=0.0) >= _LEAST_DRAWN}
    heard = [(x.time_s, x.word) for x in hearing.heard]
    label = f"averaged posteriors over {hearing.name}"
    return charts.posteriors(times_s, shown, heard, hearing.seconds, label=label)


def _highest(
    times_s: NDArray[np.float64], averages: NDArray[np.uint16]
) -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
    """Of a long recording the highest averages within each of equal stretches, where the stretch begins."""
    starts = np.arange(0, len(times_s), -(-len(times_s) // _MOST_POINTS) or 1)
    return (times_s[starts], np.maximum.reduceat(averages, starts, axis=0)) if len(starts) else (times_s, averages)
