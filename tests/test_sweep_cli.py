"""`hil_nas sweep`: its lists as searches, what it prints, its exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_stand_in import Workflows, in_this_process

from hil_nas import cli
from hil_nas.baselines import BASELINES
from hil_nas.cli.arguments import parser
from hil_nas.cli.sweep import searches
from hil_nas.config import USUAL, SearchConfig
from hil_nas.errors import DeviceError, InfeasibleError, UsageError
from hil_nas.nas.spaces import KINDS
from hil_nas.workflows import cluster, sweep
from hil_nas.workflows.sweep import sweep_points

Run = Callable[..., tuple[int, dict[str, Any], str]]


def requested(*options: str) -> list[SearchConfig]:
    return searches(parser().parse_args(["sweep", *options]))


def test_lists_are_searched_in_every_combination() -> None:
    configs = requested("--max-latency", "40ms,none", "--align", "pad,conv", "--max-ram", "256k")
    assert [(x.budget.max_latency_s, x.align) for x in configs] == [
        (0.04, "pad"), (0.04, "conv"), (None, "pad"), (None, "conv")
    ]  # fmt: skip
    assert {x.budget.max_ram_bytes for x in configs} == {256 * 1024}
    assert requested() == [SearchConfig()]


def test_also_adds_combinations_that_differ_in_what_it_says() -> None:
    also = ("--also", "--align pad --max-latency none", "--also", "--train-epochs 3")
    configs = requested("--max-latency", "40ms,60ms", *also)
    assert [(x.budget.max_latency_s, x.align, x.train_epochs) for x in configs] == [
        (0.04, "conv", 80), (0.06, "conv", 80), (None, "pad", 80), (0.04, "conv", 3), (0.06, "conv", 3)
    ]  # fmt: skip
    names = [x.group for x in sweep_points(configs, [], 1)]
    assert names == ["40 ms conv", "60 ms conv", "any latency pad", "40 ms conv train epochs 3",
                     "60 ms conv train epochs 3"]  # fmt: skip


def test_a_space_takes_its_own_epochs_and_they_go_without_saying() -> None:
    configs = requested("--max-latency", "40ms,60ms", "--also", "--space darts --max-latency 60ms")
    assert [x.search_epochs for x in configs] == [USUAL[x].search_epochs for x in ("tiny", "tiny", "darts")]
    assert [x.group for x in sweep_points(configs, [], 1)] == ["40 ms tiny", "60 ms tiny", "60 ms darts"]


def test_any_option_of_a_search_can_set_combinations_apart() -> None:
    configs = requested("--max-latency", "40ms,60ms", "--also", "--max-latency 60ms --unpriced-front-end")
    names = [x.group for x in sweep_points(configs, [], 1)]
    assert names == ["40 ms", "60 ms", "60 ms no price front end"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--align", "conv,pax"], "'pax' is none of auto, conv, pad, did you mean 'pad'"),
        (["--baselines", "ds_cnn"], "did you mean 'ds-cnn'"),
        (["--max-latency", "40"], "like 50ms"),
        (["--also", "--max-latency 'none"], "No closing quotation"),
        (["--also", "--maxlatency none"], "did you mean '--max-latency'"),
        (["--also", "--max-latency none"], "changes nothing"),
        (["--also", ""], "changes nothing"),
        (["--also", "--train-epochs 0"], "from 1 to"),
        (["--seed", "5"], "unknown: --seed 5, did you mean '--seeds'"),
    ],
)
def test_wrong_lists_are_refused(options: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        requested(*options)


def test_only_a_limit_can_be_none() -> None:
    assert [x.board for x in requested("--board", "none")] == ["none"]  # as a board that nobody has
    with pytest.raises(UsageError, match="'none' is none of tiny, darts"):
        requested("--space", "none")


def test_every_published_network_can_be_asked_for() -> None:
    assert parser().parse_args(["sweep", "--baselines", ",".join(BASELINES)]).baselines == BASELINES


@pytest.fixture
def workflows(monkeypatch: pytest.MonkeyPatch) -> Workflows:
    return Workflows(monkeypatch)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with trivial points in this process: its status, the object it printed, and what it said."""
    monkeypatch.setattr(cluster, "Cluster", lambda address: in_this_process)
    monkeypatch.setattr(sweep, "prepare", lambda *_: None)

    def command(*options: str) -> tuple[int, dict[str, Any], str]:
        status = cli.main(["sweep", "--json", "--runs", str(tmp_path), "--seeds", "2", *options])
        shown = capsys.readouterr()
        return status, json.loads(shown.out) if shown.out else {}, shown.err

    return command


def test_one_object_with_the_folder_is_printed(workflows: Workflows, run: Run) -> None:
    status, result, _ = run("--max-latency", "40ms,100ms", "--baselines", "ds-cnn")
    assert status == 0 and result["status"] == "complete"
    assert [x["group"] for x in result["groups"]] == ["40 ms", "100 ms", "ds-cnn"]
    assert json.loads((Path(result["run"]) / "result.json").read_text())["points"] == result["points"]


def test_people_get_a_table(workflows: Workflows, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", "--runs", str(tmp_path), "--seeds", "2", "--baselines", "ds-cnn"]) == 0
    shown = capsys.readouterr().out
    assert "modelled clock, ± 5 %" in shown and "beside ds-cnn" in shown and "report.html" in shown
    assert shown.count("data: clips are clipped") == 1  # of all points


def test_a_limit_that_was_not_held_has_a_status_of_its_own(workflows: Workflows, run: Run) -> None:
    def refuse(config: SearchConfig) -> None:
        raise InfeasibleError("no network holds the limits")

    workflows.does = refuse
    status, result, said = run()
    assert status == 3 and result["status"] == "complete" and "search-seed1: infeasible: no network" in said


def test_points_that_failed_are_told_and_run_again(workflows: Workflows, run: Run) -> None:
    def fail(config: SearchConfig) -> None:
        raise DeviceError("the board is silent")

    workflows.does = fail
    status, result, said = run()
    assert status == 1 and result["status"] == "incomplete"
    assert "the board is silent" in said and "--resume" in said
    workflows.does = lambda config: None
    assert run("--resume")[0] == 0


def test_an_interrupted_sweep_says_how_it_goes_on(workflows: Workflows, run: Run) -> None:
    def interrupt(config: SearchConfig) -> None:
        raise KeyboardInterrupt

    workflows.does = interrupt
    status, _, said = run()
    assert status == 130 and re.search(r"to go on from its last epoch: hil_nas sweep .* --resume$", said, re.M)


def test_a_port_belongs_to_one_board(run: Run) -> None:
    status, result, _ = run("--board", "nucleo-l4r5,nucleo-h743zi", "--port", "/dev/ttyACM0")
    assert status == 2 and "one port for 2 boards" in result["message"]


def test_too_few_epochs_are_refused_before_anything_runs(run: Run) -> None:
    """The fewest that every space has settings for."""
    for kind in KINDS.values():
        assert kind.settings(epochs=5).epochs == 5
    status, result, _ = run("--search-epochs", "4")
    assert status == 2 and "'4' is not a whole number from 5" in result["message"]
