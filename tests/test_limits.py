"""Which figures break which limit: on the board, among candidates, and what a verification reports of a fake board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hil_nas.audio.clips import Clips
from hil_nas.budget import Budget
from hil_nas.config import SearchConfig
from hil_nas.errors import InfeasibleError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Cost, Limits
from hil_nas.workflows import finish, search_board
from hil_nas.workflows.footprint import Footprint
from hil_nas.workflows.search import SearchJob
from hil_nas.workflows.search_board import SearchBoard
from hil_nas.workflows.verify import missed_limits

CONFIG = Mfcc(400, 200, 40, 13)
FIGURES: dict[str, Any] = {"latency_ms": 50.0, "ram_bytes": 60_000, "flash_bytes": 120_000}
AT_THEM = Budget(60_000, 120_000, 0.050)


@pytest.mark.parametrize(
    ("figure", "missed"),
    [
        ({}, []),  # a limit that is just filled is held
        ({"latency_ms": 50.001}, ["latency"]),
        ({"ram_bytes": 60_001}, ["RAM"]),
        ({"flash_bytes": 120_001}, ["flash"]),
        ({"latency_ms": 51.0, "ram_bytes": 61_000, "flash_bytes": 121_000}, ["latency", "RAM", "flash"]),
        ({"latency_ms": None}, ["latency"]),  # a clock that gives no time holds no limit in time
    ],
)
def test_a_limit_is_missed_by_the_figure_that_breaks_it(figure: dict[str, Any], missed: list[str]) -> None:
    assert [x.split()[0] for x in missed_limits(AT_THEM, **{**FIGURES, **figure})] == missed
    assert missed_limits(Budget(), **{**FIGURES, **figure}) == ()


@pytest.mark.parametrize("name", ["max_ram_bytes", "max_flash_bytes", "max_latency_s"])
def test_a_limit_alone_is_looked_at(name: str) -> None:
    one_less = {"max_ram_bytes": 59_999, "max_flash_bytes": 119_999, "max_latency_s": 0.0499}[name]
    assert len(missed_limits(replace(Budget(), **{name: one_less}), **FIGURES)) == 1


@pytest.mark.parametrize(
    ("cost", "held"),
    [
        (Cost(100.0, 10, 20), True),
        (Cost(100.5, 10, 20), False),
        (Cost(100.0, 11, 20), False),
        (Cost(100.0, 10, 21), False),
    ],
)
def test_limits_hold_where_every_one_does(cost: Cost, held: bool) -> None:
    assert Limits(100.0, 10, 20).held_by(cost) is held and Limits().held_by(cost)


class Board:
    """Every network takes its own cycles, every front end 30; the memories are the network's own."""

    def __init__(self, costs: dict[str, Cost]) -> None:
        self.costs, self.now = costs, Cost(0.0, 0, 0)

    def do(self, work: Any) -> Any:
        return work(self)

    def memory(self) -> Any:
        return self.now


def tried(monkeypatch: pytest.MonkeyPatch, limits: Limits, price_front_end: bool = True) -> str:
    """Which of three candidates is trained."""
    board = Board({"best": Cost(80.0, 10, 10), "second": Cost(60.0, 30, 10), "third": Cost(50.0, 10, 10)})

    def measured(device: Board, identity: object, network: str) -> Any:
        device.now = device.costs[network]
        return SimpleNamespace(median_cycles=device.now.cycles), []

    monkeypatch.setattr(search_board, "measure_network", measured)
    monkeypatch.setattr(search_board, "measure_front_ends", lambda *_: iter([SimpleNamespace(median_cycles=30.0)]))
    monkeypatch.setattr(SearchBoard, "limits", lambda *_: limits)
    monkeypatch.setattr(SearchBoard, "predicted", lambda *_: {})
    nothing: Any = None
    config = SearchConfig(price_front_end=price_front_end)
    at: Any = SearchBoard(board, nothing, nothing, config)  # type: ignore[arg-type]
    job = SearchJob(config, at, nothing, 12, lambda _: None)
    ranked: Any = [SimpleNamespace(network=x, config=CONFIG) for x in board.costs]
    return str(job.tried(ranked).network)


def test_the_constructor_of_a_search_asks_nothing_of_board_or_model_and_opens_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"it asked for {name}")

    monkeypatch.chdir(tmp_path)
    identity: Any = SimpleNamespace(pool_bytes=200_000, store_bytes=10**6, clock_hz=10**8)
    footprint, nothing = Footprint(10_000, 50_000, {}, {}, {}), Untouched()
    at = SearchBoard(nothing, identity, nothing, SearchConfig(budget=Budget(max_latency_s=0.1)))  # type: ignore[arg-type]
    job = SearchJob(at.config, at, footprint, 12, nothing)  # type: ignore[arg-type]
    assert job.limits.cycles == 10**7 and not list(tmp_path.iterdir())


def test_the_first_candidate_that_holds_the_limits_on_the_board_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(monkeypatch, Limits(cycles=200.0)) == "best"
    assert tried(monkeypatch, Limits(cycles=100.0)) == "second"  # 80 hold it alone, with their front end they do not
    assert tried(monkeypatch, Limits(cycles=100.0), price_front_end=False) == "best"
    assert tried(monkeypatch, Limits(cycles=100.0, ram_bytes=20)) == "third"
    with pytest.raises(InfeasibleError, match="no candidate holds the limits on the board, the best takes cycles 110"):
        tried(monkeypatch, Limits(cycles=79.0))


def test_the_check_on_the_board_hears_the_test_split_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def clips(value: int) -> Clips:
        return Clips(np.full((40, 16000), value, np.int16), np.full(40, value))

    data: Any = SimpleNamespace(train=clips(1), validation=clips(2), test=clips(3))
    seen: dict[str, Any] = {}
    monkeypatch.setattr(finish, "verify", lambda *args, **more: seen.update(more))
    monkeypatch.setattr(finish.Model, "read", lambda model: model)
    settings: Any = SimpleNamespace(seed=0, clips=25, budget=AT_THEM)
    finish._verified(SimpleNamespace(model=b""), settings, data, Board({}), None, lambda _: None)  # type: ignore[arg-type]
    assert seen["clips"].shape == (25, 16000) and set(seen["labels"].tolist()) == {3} and (seen["clips"] == 3).all()
    assert seen["budget"] == AT_THEM
