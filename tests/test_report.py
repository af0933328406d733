"""Pages of very little, and of much: pytest turns every warning into an error, numpy's too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_stand_in import ONE, TWO, Workflows
from test_clocks import result_of
from test_profile import CONFIGS, FakeDevice, use  # noqa: F401
from test_sweep import sweep

from hil_nas.front_ends import paper_grid
from hil_nas.network import Layer, Network
from hil_nas.report import charts, heat
from hil_nas.report.charts import NOTHING
from hil_nas.report.confusions import confusion
from hil_nas.report.fronts import Marks, front_picture
from hil_nas.report.page import page_of
from hil_nas.report.profile_page import profile_page
from hil_nas.report.search_run import SearchRun
from hil_nas.workflows import measurement_plan, profile
from hil_nas.workflows.sweep import sweep_points

NAN = float("nan")
AXES = {"xlabel": "x", "ylabel": "y", "label": "z"}
DRAWN = '<div class="chart"><svg'


@pytest.mark.parametrize("draw", [charts.scatter, charts.curves, charts.residuals])
@pytest.mark.parametrize(
    ("groups", "drawn"),
    [
        ({}, False),
        ({"a": ((), ())}, False),
        ({"a": ((3.0,), (NAN,)), "b": ((0.0,), (2.0,))}, False),
        ({"a": ((3.0,), (3.0,))}, True),
        ({"a": ((3.0, 4.0), (NAN, 2.0)), "b": ((), ())}, True),
    ],
)
def test_points_of_no_value_are_left_out(draw: Callable[..., str], groups: Any, drawn: bool) -> None:
    actual = draw(groups, **AXES)
    assert actual.startswith(DRAWN) if drawn else actual == NOTHING


def test_no_error_at_all_is_drawn_where_errors_are() -> None:
    exact = {"a": ((3.0, 5.0), (0.0, 0.0))}
    assert charts.curves(exact, **AXES) == NOTHING  # logarithmic
    assert charts.residuals(exact, **AXES).startswith(DRAWN)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_lines_of_any_length(length: int) -> None:
    for value in (0.0, 1.0, NAN):
        actual = charts.lines({"a": [value] * length, "b": [value] * length}, ylabel="y", label="z", limit=1.0)
        assert actual.startswith(DRAWN) if length and value == value else actual == NOTHING


def test_many_front_ends_are_rows_and_what_never_rose_is_folded_away() -> None:
    """As many as a search over a long list has: all of their numbers are in the page, ten at once."""
    grid = [str(x) for y in range(8, 40) for x in paper_grid(y)]
    shares = {x: [1 / len(grid), 0.0] for x in grid} | {grid[7]: [0.25, 1.0], grid[3]: [0.25, 0.0]}
    shown, folded = heat.over_epochs(shares, "gamma").split("<details>")
    assert shown.index(f">{grid[7]}<") < shown.index(f">{grid[3]}<") and shown.count('scope="row"') == 2
    assert folded.count('scope="row"') == len(grid) - 2 and f"{len(grid) - 2} more, none ever above 0.4 %" in folded


def test_of_many_epochs_some_are_shown_and_always_the_last() -> None:
    assert ">1</th>" in (few := heat.over_epochs({"a": [0.5] * 14}, "gamma")) and few.count('scope="col"') == 15
    many = heat.over_epochs({"a": [0.5] * 99 + [0.7]}, "gamma")
    assert ">100</th>" in many and ">70</td>" in many and many.count('scope="col"') <= 15


def test_names_of_any_length_stay_in_a_front() -> None:
    name = "nucleo-l4r5@virtual, 40 ms, --unpriced-front-end --second-order --skip-noise 0.2 --align conv " * 2
    marks = [Marks(name, False, True, [1.0], [90.0], ["a"]), Marks("ds-cnn", True, False, [2.0], [91.0], ["b"])]
    drawn = front_picture("ms", marks)
    assert drawn.startswith(DRAWN) and f'aria-label="{name}: 90.00 % at 1"' in drawn and f">{name}<" not in drawn


def test_a_confusion_of_nothing() -> None:
    assert confusion(np.zeros((2, 2), np.int64), ["a", "b"]).count("–") == 2


@pytest.mark.parametrize("front_ends", [2, len(CONFIGS)])
@pytest.mark.parametrize("networks", [1, 2, 3, 5])
def test_a_page_of_a_small_profile(
    networks: int, front_ends: int, tmp_path: Path, use: Callable[[FakeDevice], None],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    use(FakeDevice())
    monkeypatch.setattr(measurement_plan, "front_ends", lambda: CONFIGS[:front_ends])
    folders = {"boards_dir": tmp_path, "build_dir": tmp_path, "models_dir": tmp_path / "latency_models"}
    _, folder = profile.run_profile(
        "nucleo-l4r5@virtual", runs_dir=tmp_path / "runs", page=profile_page, networks=networks, **folders
    )
    page = (folder / "report.html").read_text()
    assert (NOTHING in page) == (networks < 5) and "What each loop costs" in page and "nan" not in page


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_page_of_a_short_search(epochs: int) -> None:
    network = Network((4, 4, 1), (Layer("conv", (-1,), 2, kernel=(3, 3)), Layer("fully_connected", (0,), 2)))
    one = {"accuracy": 0.5, "gammas": {"m": 1.0}, "expected_latency_ms": 3.0, "window_samples": 400, "hop_samples": 200,
           "loss": 1.0}
    history = [{"phase": x, **one} for x in ("configuration", "search", "train")] * epochs
    empty = {"labels": ["a"], "confusion": [[0]], "test_clips": 0}
    page = page_of(SearchRun({**result_of("modelled"), **empty}, network, history))
    assert page.count('class="chart"') == 4 * epochs + 2 and page.count("gamma, in percent") == epochs


@pytest.mark.parametrize("points", [[ONE], [ONE, TWO]])
def test_a_page_of_a_small_sweep(points: Sequence[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Workflows(monkeypatch)
    _, folder = sweep(sweep_points(points, [], 1), tmp_path)
    assert (folder / "report.html").read_text().count('class="chart"') == 2


def test_nothing_that_is_shown_is_taken_for_html() -> None:
    network = Network((4, 4, 1), (Layer("conv", (-1,), 2, kernel=(3, 3)), Layer("fully_connected", (0,), 2)))
    name = "<b>words</b> & 'more'"
    result = {**result_of("modelled"), "labels": ["a"], "confusion": [[0]], "board": name}
    result["data"] = {"name": name, "speakers": {"train": 1}, "speaker_names": [name], "warnings": [name]}
    page = page_of(SearchRun(result, network))
    assert "<b>" not in page and page.count("&lt;b&gt;words&lt;/b&gt; &amp; &#39;more&#39;") == 5
