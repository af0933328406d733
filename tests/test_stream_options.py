"""A search's options of a stream: which front ends take part, which limit holds, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hil_nas.budget import Budget
from hil_nas.cli import main
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.errors import InputError
from hil_nas.front_ends import ClipFormat, clip_grid, search_grid
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.units import parse_share
from hil_nas.workflows.sweep import sweep_points


def test_front_ends_whose_hop_does_not_divide_the_period_take_no_part() -> None:
    config = SearchConfig(listen_s=0.06)
    assert config.period_samples == 960 and config.align == "pad" and SearchConfig().period_samples is None
    assert config.grid == tuple(x for x in search_grid() if x.hop_samples in (160, 320, 480))
    assert len(config.grid) == 15
    assert {x.hop_samples for x in SearchConfig(listen_s=0.05).grid} == {100, 160, 200}  # 800 samples


def test_chains_that_hear_whole_clips_leave_out_the_dearest_front_ends() -> None:
    usual = SearchConfig().grid
    assert usual == clip_grid() and set(usual) < set(search_grid()) == set(SearchConfig(space="darts").grid)
    assert {(x.window_samples, x.hop_samples) for x in usual} == {
        (400, 200), (640, 320), (480, 320), (480, 480), (480, 640)
    }  # fmt: skip
    assert SearchConfig(grid=search_grid()).grid == search_grid()  # who names them gets them


@pytest.mark.parametrize(
    ("period_s", "nearest"),
    [(0.055, "50ms and 56.25ms"), (1e-6, "6.25ms"), (3.0, "1000ms"), (0.06000001, "60ms and 62.5ms")],
)
def test_a_period_that_no_hop_divides_names_the_nearest(period_s: float, nearest: str) -> None:
    with pytest.raises(InputError, match="no front end has a whole number of hops") as caught:
        SearchConfig(listen_s=period_s)
    assert caught.value.hint == f"the nearest: {nearest}"


def test_a_period_is_in_the_front_ends_own_samples() -> None:
    slow = Mfcc(256, 80, 20, 10, clip=ClipFormat(8000, 8000))
    config = SearchConfig(grid=(slow,), listen_s=0.06)
    assert config.period_samples == 480 and config.grid == (slow,)
    with pytest.raises(InputError, match="whole number of hops in 65ms"):
        SearchConfig(grid=(slow,), listen_s=0.065)


@pytest.mark.parametrize(
    ("latency_s", "load", "limit_s"),
    [(None, None, None), (0.005, None, 0.005), (None, 0.1, 0.006), (0.005, 0.1, 0.005), (0.005, 0.05, 0.003)],
)
def test_of_two_limits_the_stricter_holds_for_a_decision(
    latency_s: float | None, load: float | None, limit_s: float | None
) -> None:
    budget = Budget(max_ram_bytes=9, max_latency_s=latency_s, max_load=load)
    decided = SearchConfig(budget=budget, listen_s=0.06).decided_budget
    assert decided.max_latency_s == (None if limit_s is None else pytest.approx(limit_s)) and decided.max_ram_bytes == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": Budget(max_load=0.1)}, "there is no stream"),
        ({"listen_s": 0.06, "space": "darts"}, "cells pad along time"),
        ({"listen_s": 0.06, "preset": "paper", "data": "x"}, "cells pad along time"),
        ({"listen_s": 0.06, "grid": ()}, "found by gradient"),
        ({"listen_s": 0.06, "align": "conv"}, "--align conv"),
    ],
)
def test_what_makes_no_stream_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchConfig(**values)


def test_a_load_needs_something_that_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="there is no stream"):
        BaselineConfig(network="ds-cnn", budget=Budget(max_load=0.1))
    for command in (["search"], ["verify", str(tmp_path / "model.tflite")]):
        assert main([*command, "--max-load", "10%"]) == 2
        assert "there is no stream" in capsys.readouterr().err
    assert main(["search", "--listen", "60ms", "--max-load", "0.1"]) == 2
    assert "'0.1' is not a share" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), (" 2.5 % ", 0.025), ("100%", 1.0)])
def test_a_share_is_written_in_percent(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "0%", "101%", "%", "-1%", "10%%", "ten%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a share"):
        parse_share(text)


def test_a_sweep_names_its_loads() -> None:
    searches = [SearchConfig(listen_s=0.06, budget=Budget(max_load=x)) for x in (0.02, 0.1, None)]
    groups = [x.group for x in sweep_points(searches, (), 1)]
    assert groups == ["2 % load", "10 % load", "any load"]
