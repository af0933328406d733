"""Faults of every kind on the real firmware's line: the right outcome or one error, and the board usable afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from device_fake import BOOT, FakeBoard, line
from fault_campaign import LINE_FAULTS, Campaign
from lockstep_firmware import build_lockstep

from hil_nas.device.device import Device
from hil_nas.device.firmware import Firmware
from hil_nas.device.link import Link
from hil_nas.device.protocol import RestartedError, decode_line
from hil_nas.errors import DeviceError, ProtocolError

FAULTS = 400


@pytest.fixture(scope="module")
def firmware(boards_dir: Path, build_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return build_lockstep(boards_dir, build_dir, tmp_path_factory.mktemp("lockstep"))


@pytest.fixture
def campaign(firmware: Firmware) -> Iterator[Campaign]:
    campaign = Campaign(firmware.elf, firmware.build_id, seed=20)
    yield campaign
    campaign.close()


def test_hundreds_of_faults_give_the_right_outcome_or_one_error(campaign: Campaign) -> None:
    campaign.run(FAULTS)
    struck = {name for name, _ in campaign.table}
    assert struck >= {f"{kind} to the {end}" for kind in LINE_FAULTS for end in ("board", "host")}
    assert struck >= {"several", "memory full", "wrong firmware", "wrong firmware in the middle"}
    outcomes = {outcome for _, outcome in campaign.table}
    assert outcomes == {"right", "IdentityError", "LinkError", "ProtocolError", "RefusedError", "RestartedError"}
    assert campaign.worst_s < 120


def test_the_same_seed_gives_the_same_campaign(firmware: Firmware, campaign: Campaign) -> None:
    again = Campaign(firmware.elf, firmware.build_id, seed=20)
    campaign.run(40)
    again.run(40)
    again.close()
    assert (campaign.table, campaign.worst_s) == (again.table, again.worst_s)


def test_a_link_that_trusts_what_it_hears_is_found_out(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign is able to fail: without the checks of an answer it meets a wrong value."""

    def trusting(command: str, lines: Sequence[str]) -> list[str]:
        records = []
        for text in lines:
            try:
                records.append(decode_line(command, text))
            except ProtocolError:
                records.append(text.partition("*")[0].removeprefix("m-hil-"))
        return [x for x in records if x != "busy" and not x.startswith("end-")]

    monkeypatch.setattr("hil_nas.device.link.verify_reply", trusting)
    with pytest.raises(AssertionError, match=r"gave .* expected"):
        campaign.run(5 * FAULTS)


def test_a_command_that_came_damaged_is_sent_again() -> None:
    left = [1]

    def spoil(command: str, data: bytes) -> bytes:
        if command == "hil memory" and left:
            left.clear()
            return b"e-[the command's CRC is wrong]\r\nm-ready\r\n"
        return data

    board = FakeBoard(spoil)
    assert len(Link(board).command("hil memory")) == 10
    assert [x for x in board.commands if x == "hil memory"] == 2 * ["hil memory"]


def test_a_command_that_always_comes_damaged_is_given_up() -> None:
    damaged = b"e-[the command's CRC is wrong]\r\nm-ready\r\n"
    board = FakeBoard(lambda command, data: damaged if command == "hil memory" else data)
    with pytest.raises(DeviceError, match="CRC is wrong"):
        Link(board).command("hil memory")
    assert board.commands.count("hil memory") == 2


def test_a_restart_that_nobody_asked_for_is_said_once() -> None:
    board = FakeBoard()
    link = Link(board)
    link.command("hil memory")  # the boot text of the start is none
    board.out += BOOT.encode()
    with pytest.raises(RestartedError, match="restarted by itself"):
        link.command("hil memory")
    assert len(link.command("hil memory")) == 10


def test_a_boot_text_that_comes_in_pieces_is_one_restart() -> None:
    left = [1]

    def spoil(command: str, data: bytes) -> bytes:
        if command == "hil memory" and left:
            left.clear()
            return b"m-timestamp-mode-performance\r\nm-ready\r\n"
        return data

    board = FakeBoard(spoil)
    link = Link(board)
    with pytest.raises(RestartedError, match="restarted during 'hil memory'"):
        link.command("hil memory")
    board.out += b"m-lap-us-1\r\nm-init-done\r\nm-ready\r\n"
    assert len(link.command("hil memory")) == 10


def test_a_restart_is_said_though_the_link_was_out_of_step() -> None:
    board = FakeBoard()
    link = Link(board)
    with pytest.raises(DeviceError):
        link.command("hil fly")
    board.out += BOOT.encode()
    with pytest.raises(RestartedError):
        link.command("hil memory")


def test_a_restart_that_was_asked_for_is_not_said() -> None:
    link = Link(FakeBoard())
    link.command("hil reset")
    assert len(link.command("hil memory")) == 10


def test_noise_that_never_ends_is_given_up_early() -> None:
    board = FakeBoard(lambda command, data: b"noise\r\n" * 200 if command.startswith("hil run") else data)
    with pytest.raises(ProtocolError, match="101 lines in answer"):
        Link(board).command("hil run all 1 1", silence_s=60, total_s=600)


def test_memory_of_a_board_that_lost_its_plan_is_no_figure() -> None:
    """The boot text may be lost as well; a smaller arena would be a wrong number."""
    loaded = [True]
    arena, less = line("memory-arena-20000"), line("memory-arena-1000")
    board = FakeBoard(lambda _, data: data.replace(less, arena) if loaded else data)
    device = Device(Link(board), "native", "host")
    device.load_plan(b"p" * 100)
    assert device.memory().arena_bytes == 20000
    loaded.clear()
    with pytest.raises(ProtocolError, match="the arena is 1000 bytes, the loaded plan's was 20000"):
        device.memory()
