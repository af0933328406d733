"""The networks that were raced: validation accuracy against what each is predicted to cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from hil_nas.report.plot import Plot, mark, point
from hil_nas.report.scales import linear
from hil_nas.report.svg import joined, tag
from hil_nas.units import format_bytes
from hil_nas.workflows.measure import latency_ms

Lines = Sequence[dict[str, Any]]
HEADS = ["rank and front end", "", "validation loss", "validation accuracy", "epochs", "parameters", "RAM"]


def chosen_of(result: dict[str, Any], candidates: Lines) -> int | None:
    """The place of the one that was trained in full: the best ranked with its front end and parameters."""
    same = [
        i for i, x in enumerate(candidates)
        if (x["front_end"], x["parameters"]) == (result["front_end"], result["parameters"])
    ]  # fmt: skip
    return same[0] if same else None


def candidates_picture(result: dict[str, Any], candidates: Lines, unit: str) -> Markup:
    """A circle each, full after the longer training; a square was trained in full. Only those of equally many epochs
    compare."""
    chosen, longest = chosen_of(result, candidates), max(x["trained_epochs"] for x in candidates)
    costs = [_cost(result, x["cycles"]) for x in candidates]
    limit = result["limits"]["max_latency_ms"]
    timed = _timed(result)
    percents = [100 * x["accuracy"] for x in candidates]
    plot = Plot(
        linear([*costs, *([limit] if timed and limit else [])]), linear(percents),
        f"predicted {'ms' + _error(result) if timed else f'M {unit}'}, front end and network",
        "validation accuracy, %", "candidates: validation accuracy against predicted cost",
    )  # fmt: skip
    parts = [plot.upright(limit, "limit", class_="edge")] if timed and limit else []
    for i in sorted(range(len(candidates)), key=lambda i: i == chosen):
        line = candidates[i]
        x, y = plot.at(costs[i], percents[i])
        shape = mark(1 if i == chosen else 0, (x, y), size=5 if i == chosen else 3.5,
                     hollow=line["trained_epochs"] < longest)  # fmt: skip
        words = f"{i + 1}: {_name(line, i == chosen)}, {percents[i]:.1f} %"
        parts.append(point(shape, x, y, words))
    return tag("div", plot.svg(*parts, holds_points=True), class_="chart")


def candidate_rows(result: dict[str, Any], candidates: Lines, unit: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Heads and rows, best first."""
    chosen, timed = chosen_of(result, candidates), _timed(result)
    rows: list[tuple[str, ...]] = []
    for i, x in enumerate(candidates):
        loss = "diverged" if x["loss"] is None else f"{x['loss']:.3f}"
        cost = f"{_cost(result, x['cycles']):.2f}"
        what = " and ".join([*(["chosen"] if i == chosen else []), *(["derived"] if x["derived"] else [])])
        rows.append((
            f"{i + 1}  {x['front_end']}", what, loss, f"{x['accuracy'] * 100:.1f} %", str(x["trained_epochs"]),
            f"{x['parameters']:,}", format_bytes(x["ram_bytes"]), cost,
        ))  # fmt: skip
    return [*HEADS, f"predicted {'ms' + _error(result) if timed else f'M {unit}'}"], rows


def ranking(result: dict[str, Any], unit: str) -> str | None:
    """What was known before the trainings against what they said."""
    if "ranking" not in result:
        return None
    derived, taus = result["derived"], result["ranking"]["kendall_tau"]
    taus = {unit if name == "cycles" else name: tau for name, tau in taus.items()}
    told = ", ".join(f"{name} {'–' if tau is None else format(tau, '.2f')}" for name, tau in taus.items())
    return (
        f"The derived network came {derived['rank']} of {derived['of']}. Kendall's tau of what was known before with"
        f" the first trainings of {result['ranking']['networks']} networks (1: the same order, 0: none): {told}."
    )


def legend(candidates: Lines) -> Markup:
    """What the shapes mean."""
    epochs = sorted({x["trained_epochs"] for x in candidates}, reverse=True)
    items = [(0, False, f"{epochs[0]} epochs")]
    items += [(0, True, f"{' or '.join(map(str, epochs[1:]))} epochs")] if len(epochs) > 1 else []
    items.append((1, False, "trained in full"))
    drawn = [
        tag("li", tag("svg", mark(shape, (15, 6), hollow=hollow), viewBox="0 0 30 12", class_="swatch",
                      aria_hidden="true"), words)
        for shape, hollow, words in items
    ]  # fmt: skip
    return tag("ul", joined(*drawn), class_="legend")


def _name(line: dict[str, Any], chosen: bool) -> str:
    return f"{line['front_end']}{' (derived)' if line['derived'] else ''}{', chosen' if chosen else ''}"


def _timed(result: dict[str, Any]) -> bool:
    return latency_ms(result["clock"]["kind"], result["clock"]["hz"], 0) is not None


def _cost(result: dict[str, Any], cycles: float) -> float:
    """Milliseconds, or millions where counts are no time."""
    milliseconds = latency_ms(result["clock"]["kind"], result["clock"]["hz"], cycles)
    return cycles / 1e6 if milliseconds is None else milliseconds


def _error(result: dict[str, Any]) -> str:
    error_percent = result["clock"]["error_percent"]
    return "" if error_percent is None else f" ± {error_percent:g} %"
