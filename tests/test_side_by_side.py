"""Several boards at once: each keeps its rows, whatever becomes of the others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from test_profile import IDENTITY, FakeDevice, make_small

from hil_nas import cli
from hil_nas.errors import HilNasError, LinkError
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.target import BoardTarget
from hil_nas.workflows import profile
from hil_nas.workflows.side_by_side import side_by_side

BOARDS = ("nucleo-l4r5@virtual", "mps2-an386@qemu")


def test_every_board_works_while_the_others_do() -> None:
    meeting = Barrier(3, timeout=20)
    outcomes = side_by_side({x: lambda _, x=x: (meeting.wait(), x)[1] for x in "abc"}, silent)
    assert outcomes == {"a": "a", "b": "b", "c": "c"}


def test_an_error_of_one_is_kept_from_the_others() -> None:
    failed = Event()

    def bad(_: Reporter) -> str:
        failed.set()
        raise LinkError("no answer within 2 s")

    def good(progress: Reporter) -> str:
        assert failed.wait(20)
        progress(Progress("networks", 1, 1))
        return "done"

    steps: list[Progress] = []
    outcomes = side_by_side({"bad": bad, "good": good}, steps.append)
    assert isinstance(outcomes["bad"], LinkError) and outcomes["good"] == "done"
    assert [x.task for x in steps] == ["good: networks"]


def test_an_interruption_stops_all_behind_their_step() -> None:
    reached = {x: 0 for x in "ab"}
    both = Barrier(2, timeout=20)

    def forever(progress: Reporter, board: str) -> None:
        both.wait()
        while True:
            reached[board] += 1
            progress(Progress("networks", reached[board], 10**9))

    def interrupt(step: Progress) -> None:
        if step.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side({x: lambda progress, x=x: forever(progress, x) for x in "ab"}, interrupt)
    assert min(reached.values()) >= 1


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeDevice]:
    """Devices that answer under their board's name; pages are drawn in tests of their own."""
    devices = {}
    for name in BOARDS:
        target = BoardTarget.parse(name)
        devices[name] = FakeDevice(replace(IDENTITY, board=target.board, host=target.host))
    make_small(monkeypatch)
    monkeypatch.setattr(profile, "open_device", lambda target, **where: devices[str(target)])
    monkeypatch.setattr("hil_nas.report.profile_page.profile_page", lambda result, summary: result["board"])
    return devices


def arguments(tmp_path: Path, *more: str) -> list[str]:
    left_in = [y for x in ("--build", "--models", "--runs") for y in (x, str(tmp_path / x[2:]))]
    return ["profile", *(y for x in BOARDS for y in ("--board", x)), "--networks", "12", "--json", *left_in, *more]


def test_profiles_side_by_side_leave_a_model_and_a_page_each(
    tmp_path: Path, fakes: dict[str, FakeDevice], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments(tmp_path)) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)["boards"]
    assert list(printed) == list(BOARDS)
    for name, result in printed.items():
        assert result["networks"] == 12 and result["board"] == name
        assert (tmp_path / "models" / name / "measurements.csv").is_file()
        assert (Path(result["run"]) / "report.html").read_text() == name


def test_a_board_that_goes_silent_costs_only_its_own_rest(
    tmp_path: Path, fakes: dict[str, FakeDevice], capsys: pytest.CaptureFixture[str]
) -> None:
    fakes[BOARDS[0]].fails_after = 5
    assert cli.main(arguments(tmp_path)) == 1
    out, err = capsys.readouterr()
    boards = json.loads(out)["boards"]
    assert boards[BOARDS[0]]["error"] == "LinkError" and boards[BOARDS[1]]["networks"] == 12
    assert f"hil_nas: {BOARDS[0]}: no answer within 2 s" in err
    fakes[BOARDS[0]].fails_after = 10**9
    assert cli.main(arguments(tmp_path)) == 0
    again = json.loads(capsys.readouterr().out)["boards"]
    assert [again[x]["measured_networks"] for x in BOARDS] == [7, 0]


def test_one_board_named_twice_is_measured_once(
    tmp_path: Path, fakes: dict[str, FakeDevice], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [x for x in arguments(tmp_path) if x not in ("--board", BOARDS[1])]
    one[1:1] = ["--board", BOARDS[0].replace("-", "_"), "--board"]
    assert cli.main(one) == 0
    assert json.loads(capsys.readouterr().out)["measured_networks"] == 12


def test_one_port_is_not_given_to_two_boards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments(tmp_path, "--port", "/dev/ttyACM0")) == 2
    assert "--port /dev/ttyACM0 with 2 boards" in capsys.readouterr().err


def test_what_is_no_error_of_ours_is_not_hidden() -> None:
    def broken(_: Reporter) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side_by_side({"a": broken}, silent)
    assert not issubclass(ZeroDivisionError, HilNasError)
