"""A board that goes away under a search pauses it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.device.device import Device, expect_identity
from hil_nas.device.link import Link
from hil_nas.errors import IdentityError, LinkError, RefusedError
from hil_nas.progress import Progress
from hil_nas.workflows import finish as finish_module
from hil_nas.workflows.patience import WAIT_S, PatientBoard
from tests.device_fake import FakeBoard


def device(board: FakeBoard) -> Device:
    opened = Device(Link(board), "serial", "silicon")
    opened.identify(started=True)
    return opened


def test_work_is_done_anew_once_the_board_is_back() -> None:
    first, second = FakeBoard(), FakeBoard(build="feedfeedfeedfeed")
    away = [LinkError("no port"), LinkError("no port")]
    slept: list[float] = []
    steps: list[Progress] = []

    def open_again() -> Device:
        if away:
            raise away.pop()
        return device(second)

    with PatientBoard(device(first), open_again, steps.append, sleep=slept.append) as patient:
        first.gone = True
        assert patient.do(lambda x: x.identify().build) == "feedfeedfeedfeed"
    assert slept == [WAIT_S, WAIT_S] and [x.done for x in steps] == [1, 2, 3]
    assert "device disconnected" in steps[0].note and steps[-1].note == "no port"
    assert first.closed and second.closed


def test_what_fails_on_a_board_that_is_there_is_no_absence() -> None:
    boards = [FakeBoard() for _ in range(3)]
    tries = []

    def work(opened: Device) -> None:
        tries.append(opened)
        raise LinkError("silence")

    left = iter(boards[1:])
    with PatientBoard(device(boards[0]), lambda: device(next(left)), lambda _: None) as patient:
        with pytest.raises(LinkError, match="silence"):
            patient.do(work)
        assert len(tries) == 3

    def refused(opened: Device) -> None:
        raise RefusedError("too large")

    with PatientBoard(device(FakeBoard()), pytest.fail, lambda _: None) as patient, pytest.raises(RefusedError):
        patient.do(refused)


def test_another_firmware_in_its_place_ends_the_waiting_by_name() -> None:
    first, away = FakeBoard(), [LinkError("no port")]
    slept: list[float] = []

    def open_again() -> Device:
        if away:
            raise away.pop()
        with device(FakeBoard(board="mps2_an386")) as stranger:
            expect_identity(stranger.identify(), "nucleo_l4r5", None)
        raise AssertionError("it was refused")

    with PatientBoard(device(first), open_again, lambda _: None, sleep=slept.append) as patient:
        first.gone = True
        with pytest.raises(IdentityError, match="board 'mps2_an386' answers, expected 'nucleo_l4r5'"):
            patient.do(lambda x: x.identify())
    assert slept == [WAIT_S]


def test_the_end_of_a_search_waits_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the finished model: a cable pulled then cost the whole run."""
    boards, tries = [FakeBoard(), FakeBoard()], []
    clips = Clips(np.zeros((4, 16000), np.int16), np.arange(4))
    data = KeywordData("toy", tuple("abcd"), clips, clips, clips, np.zeros(16000, np.int16))
    product = SimpleNamespace(model=b"model")

    def verified(opened: Device, model: bytes, *rest: object, **more: object) -> str:
        tries.append(opened.identify().build)
        if len(tries) == 1:
            raise LinkError("device disconnected")
        return "verified"

    monkeypatch.setattr(finish_module, "verify", verified)
    monkeypatch.setattr(finish_module.Model, "read", lambda model: model)
    opened = [device(x) for x in boards]
    with PatientBoard(opened[0], lambda: opened[1], lambda _: None) as patient:
        settings = SimpleNamespace(seed=0, clips=2, budget=None)
        assert finish_module._verified(product, settings, data, patient, None, lambda _: None) == "verified"
    assert len(tries) == 2
