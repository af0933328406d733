"""Pages of very little, and of much: pytest turns every warning into an error, matplotlib's and numpy's too."""

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
from hil_nas.report import figures
from hil_nas.report.figures import NOTHING
from hil_nas.report.page import search_page
from hil_nas.report.profile_page import profile_page
from hil_nas.workflows import measurement_plan, profile
from hil_nas.workflows.sweep import sweep_points

NAN = float("nan")
AXES = {"xlabel": "x", "ylabel": "y"}


@pytest.mark.parametrize("draw", [figures.scatter, figures.curves, figures.residuals])
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
    assert actual.startswith("<svg") if drawn else actual == NOTHING


def test_no_error_at_all_is_drawn_where_errors_are() -> None:
    exact = {"a": ((3.0, 5.0), (0.0, 0.0))}
    assert figures.curves(exact, **AXES) == NOTHING  # logarithmic
    assert figures.residuals(exact, **AXES).startswith("<svg")


@pytest.mark.parametrize("length", [0, 1, 3])
def test_lines_of_any_length(length: int) -> None:
    for value in (0.0, 1.0, NAN):
        assert figures.lines({"a": [value] * length, "b": [value] * length}, ylabel="y", limit=1.0).startswith("<svg")


def test_many_and_long_names_leave_room_for_the_axes() -> None:
    """As many lines as a search over a long list has configurations, and names as long as a sweep's may be."""
    grid = [str(x) for y in range(8, 40) for x in paper_grid(y)]
    actual = figures.lines({x: [0.1, 0.2] for x in grid}, ylabel="gamma")
    assert all(f"<!-- {x} -->" in actual for x in grid)
    name = "nucleo-l4r5@virtual, 40 ms, --unpriced-front-end --second-order --skip-noise 0.2 --align conv " * 2
    marks = [figures.Marks(name, False, True, [1.0], [90.0]), figures.Marks("ds-cnn", True, False, [2.0], [91.0])]
    assert figures.fronts({"ms": marks, "KiB": marks}).startswith("<svg")


def test_a_confusion_of_nothing() -> None:
    assert figures.confusion(np.zeros((2, 2), np.int64), ["a", "b"]).startswith("<svg")


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
    one = {"accuracy": 0.5, "gammas": {"m": 1.0}, "expected_latency_ms": 3.0, "window_samples": 400, "hop_samples": 200}
    history = [{"phase": x, **one} for x in ("configuration", "search", "train")] * epochs
    empty = {"labels": ["a"], "confusion": [[0]], "test_clips": 0}
    assert search_page({**result_of("modelled"), **empty}, network, history).count("<svg") == 4 * epochs + 1


@pytest.mark.parametrize("points", [[ONE], [ONE, TWO]])
def test_a_page_of_a_small_sweep(points: Sequence[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Workflows(monkeypatch)
    _, folder = sweep(sweep_points(points, [], 1), tmp_path)
    assert (folder / "report.html").read_text().count("<svg") == 1


def test_nothing_that_is_shown_is_taken_for_html() -> None:
    network = Network((4, 4, 1), (Layer("conv", (-1,), 2, kernel=(3, 3)), Layer("fully_connected", (0,), 2)))
    name = "<b>words</b> & 'more'"
    result = {**result_of("modelled"), "labels": ["a"], "confusion": [[0]], "board": name}
    result["data"] = {"name": name, "speakers": {"train": 1}, "speaker_names": [name], "warnings": [name]}
    page = search_page(result, network, [])
    assert "<b>" not in page and page.count("&lt;b&gt;words&lt;/b&gt; &amp; &#39;more&#39;") == 5
