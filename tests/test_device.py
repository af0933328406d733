"""Link and device over a board in Python, faults included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from device_fake import IDENTITY, Clock, FakeBoard, line, reply

from hil_nas.device.device import Device, expect_identity
from hil_nas.device.link import Link
from hil_nas.device.protocol import MAX_OPERATORS, MAX_RUNS
from hil_nas.errors import DeviceError, IdentityError, InputError, LinkError, ProtocolError, RefusedError

Spoil = Callable[[str, bytes], bytes]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of link and board."""
    clock = Clock()
    monkeypatch.setattr("hil_nas.device.link.time", clock)
    monkeypatch.setattr("device_fake.time", clock)
    return clock


def device_on(board: FakeBoard) -> Device:
    return Device(Link(board), "virtual", "modelled")


def once(command: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Spoils the first reply to `command`."""
    left = [1]

    def spoil(text: str, data: bytes) -> bytes:
        if text.startswith(command) and left:
            left.clear()
            return change(data)
        return data

    return spoil


def test_identity_behind_boot_text() -> None:
    board = FakeBoard()
    identity = device_on(board).identify()
    assert identity.board == "nucleo_l4r5" and identity.clock_hz == 120_000_000
    assert (identity.host, identity.clock_kind) == ("virtual", "modelled")
    assert identity.build == IDENTITY["build"] and identity.versions == IDENTITY["versions"]


def test_a_plan_goes_over_in_chunks_and_runs() -> None:
    board = FakeBoard()
    plan = np.random.default_rng(1).bytes(5000)
    with device_on(board) as device:
        assert device.load_plan(plan).arena_bytes == 20000
        assert board.slots["plan"] == plan
        counts = device.run("network", warmups=0, runs=4)
        assert counts.network_cycles == (5000,) * 4 and counts.front_end_cycles == ()
        assert [x.kind for x in counts.operators] == ["conv", "conv"]
    assert board.closed


def test_audio_and_input_go_over_bit_for_bit() -> None:
    board = FakeBoard()
    device = device_on(board)
    audio = np.arange(-8000, 8000, dtype=np.int16)
    device.set_audio(audio)
    assert board.slots["audio"] == audio.astype("<i2").tobytes()
    values = np.arange(-100, 100, dtype=np.int8).reshape(20, 10)
    device.set_input(values)
    assert np.array_equal(device.read("input"), values.reshape(-1))


def test_other_types_are_refused_before_anything_is_sent() -> None:
    board = FakeBoard()
    with pytest.raises(InputError, match="float64, expected at least one of int16"):
        device_on(board).set_audio(np.zeros(16000))  # type: ignore[arg-type]
    assert board.commands == []


def test_front_end_and_memory() -> None:
    device = device_on(FakeBoard())
    assert device.load_front_end(b"x" * 2000, where="ram").frames == 49
    assert device.memory().flash_bytes == 1007 + 50000


def test_reset_waits_for_the_board() -> None:
    device = device_on(FakeBoard())
    assert device.reset().board == "nucleo_l4r5"


def test_a_refusal_leaves_the_board_ready_for_the_next() -> None:
    board = FakeBoard()
    device = device_on(board)
    with pytest.raises(RefusedError, match="Unknown command: hil fly"):
        device._link.command("hil fly")
    before = len(board.commands)
    device.memory()  # behind a refusal, which does not say what it answers, the link asks who is there
    assert board.commands[before:] == ["", "hil id", "hil memory"]


FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "silence": lambda _: b"",
    "cut short": lambda x: x[:40],
    "garbage": lambda _: b"\xff\x00\x80" * 50 + b"\r\n" * 3,
    "endless line": lambda _: b"x" * 2000,
    "flipped": lambda x: x.replace(b"arena", b"arenb"),
    "dropped line": lambda x: x.split(b"\r\n", 1)[1],
    "doubled reply": lambda x: x.replace(b"m-ready\r\n", b"") * 2 + b"m-ready\r\n",
    "of another command": lambda _: reply("hil id", []),
    "restart": lambda _: b"m-timestamp-mode-performance\r\nm-lap-us-3\r\nm-init-done\r\nm-ready\r\n",
    "only heartbeats": lambda _: reply("hil memory", [], busy=(0,)).split(b"m-hil-end")[0] * 3,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_board_is_usable(fault: str) -> None:
    board = FakeBoard(once("hil memory", FAULTS[fault]))
    link = Link(board)
    with pytest.raises((ProtocolError, LinkError)):
        link.command("hil memory", silence_s=0.3)
    assert len(link.command("hil memory")) == 10


def test_a_second_answer_that_comes_late_is_not_taken_for_the_next() -> None:
    board = FakeBoard(once("hil memory", lambda x: x + x))
    link = Link(board)
    assert len(link.command("hil memory")) == 10
    assert len(link.command("hil read output")) == 2


def test_the_most_runs_that_are_allowed_are_counted() -> None:
    """With a heartbeat in each warm-up, as a slow network has it."""
    beats = reply("x", [], busy=(0,)).split(b"m-hil-end")[0] * MAX_RUNS
    operators = [f"op-{i}-conv-10" for i in range(MAX_OPERATORS)]

    class Busy(FakeBoard):
        def _records(self, command: str) -> list[str] | str:
            records = super()._records(command)
            return [*records[:-2], *operators] if command.startswith("hil run") else records

    with device_on(Busy(lambda command, x: beats + x if command.startswith("hil run") else x)) as device:
        counts = device.run("network", warmups=MAX_RUNS, runs=MAX_RUNS)
    assert len(counts.network_cycles) == MAX_RUNS and len(counts.operators) == MAX_OPERATORS


def test_heartbeats_keep_a_long_run_alive(clock: Clock) -> None:
    beat = reply("x", [], busy=(0,)).split(b"m-hil-end")[0]

    class Slow(FakeBoard):
        beats = 30

        def read(self, size: int = 1, /) -> bytes:
            if self.commands[-1:] != ["hil memory"] or not self.beats:
                return super().read(size)
            if size > 1:
                return b""
            self.beats -= 1
            clock.sleep(0.02)
            return beat

    assert len(Link(Slow()).command("hil memory", silence_s=0.2)) == 10
    with pytest.raises(LinkError, match="did not finish"):
        Link(Slow()).command("hil memory", silence_s=0.2, total_s=0.3)


@pytest.mark.parametrize("fault", ["silence", "flipped"])
def test_an_upload_that_breaks_is_given_up_and_can_be_repeated(fault: str) -> None:
    change = {"silence": lambda _: b"", "flipped": lambda x: x.replace(b"-1024-", b"-2024-")}[fault]
    seen: list[bytes] = []

    def spoil(command: str, data: bytes) -> bytes:
        if b"send-1024" in data and not seen:
            seen.append(data)
            return change(data)
        return data

    board = FakeBoard(spoil)
    board.silence_s = 0.3
    link = Link(board)
    with pytest.raises(DeviceError):
        link.upload("hil load input ram", b"a" * 2500, silence_s=0.1)
    assert link.upload("hil load input ram", b"b" * 2500) == ["loaded-2500"]
    assert board.slots["input"] == b"b" * 2500


@pytest.mark.parametrize("words", ["upload stopped at byte 1024 of 2500", "the data's CRC is wrong"])
def test_an_upload_that_did_not_arrive_whole_is_sent_once_more(words: str) -> None:
    refusal = f"e-[{words}]\r\nm-ready\r\n".encode()
    board = FakeBoard(once("hil load", lambda _: refusal))
    board.silence_s = 0.3
    assert Link(board).upload("hil load input ram", b"a" * 2500) == ["loaded-2500"]
    assert [x.split()[1] for x in board.commands if x] == ["id", "load", "id", "load"]
    stubborn = FakeBoard(lambda command, data: refusal if command.startswith("hil load") else data)
    stubborn.silence_s = 0.3
    with pytest.raises(RefusedError, match="wrong|stopped"):
        Link(stubborn).upload("hil load input ram", b"a" * 2500)


def test_a_board_whose_silence_outlasts_an_attempt_is_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of an emulator's time may be many of ours, and each attempt before their end begins them anew."""
    monkeypatch.setattr("hil_nas.device.link._ATTEMPT_S", 0.1)
    board = FakeBoard(once("hil load", lambda _: b""))
    board.silence_s = 0.6
    link = Link(board, resync_s=10)
    with pytest.raises(LinkError, match="silent"):
        link.upload("hil load input ram", b"a" * 2500, silence_s=0.1)
    assert link.upload("hil load input ram", b"b" * 2500) == ["loaded-2500"]


@pytest.mark.parametrize("ask", ["send-0-2000", "send-5-10", "send-0-0"])
def test_a_board_that_asks_for_other_bytes_is_refused(ask: str) -> None:
    board = FakeBoard(once("hil load", lambda _: line(ask)))
    with pytest.raises(DeviceError):
        Link(board).upload("hil load input ram", b"a" * 1500, silence_s=0.3)


def test_ctrl_c_leaves_the_link_usable() -> None:
    class Interrupted(FakeBoard):
        armed = False

        def read(self, size: int = 1, /) -> bytes:
            if self.armed and size > 1:  # in the middle of a reply
                self.armed = False
                raise KeyboardInterrupt
            return super().read(size)

    board = Interrupted()
    link = Link(board)
    link.command("hil id")
    board.armed = True
    with pytest.raises(KeyboardInterrupt):
        link.command("hil read output")
    assert len(link.command("hil memory")) == 10


def test_a_port_that_goes_away_is_said_at_once(clock: Clock) -> None:
    board = FakeBoard()
    link = Link(board)
    link.command("hil id")
    board.gone = True
    start_s = clock.now_s
    for _ in range(2):
        with pytest.raises(LinkError, match="device disconnected"):
            link.command("hil memory")
    assert clock.now_s - start_s < 1


def test_a_process_that_ended_is_said_at_once(clock: Clock) -> None:
    def alive(_: float) -> None:
        raise LinkError("renode ended with status 1")

    board = FakeBoard(lambda *_: b"")
    start_s = clock.now_s
    with pytest.raises(LinkError, match="status 1"):
        Link(board, alive=alive).command("hil memory")
    assert clock.now_s - start_s < 2


def test_a_program_whose_port_has_closed_is_asked_for_its_end() -> None:
    """The port closes first; that the process has ended is seen a moment later."""

    def alive(within_s: float) -> None:
        if within_s:
            raise LinkError("renode ended with status 1: out of memory")

    board = FakeBoard()
    link = Link(board, alive=alive)
    link.command("hil id")
    board.gone = True
    for _ in range(2):
        with pytest.raises(LinkError, match="status 1: out of memory"):
            link.command("hil memory")


def test_a_board_that_never_answers_is_given_up_in_time(clock: Clock) -> None:
    board = FakeBoard(lambda *_: b"e-[Unknown command: hil id]\r\nm-ready\r\n")
    start_s = clock.now_s
    with pytest.raises(LinkError, match="no clean answer to 'hil id' within 0.5 s.*Unknown command"):
        Link(board, resync_s=0.5).resynchronise()
    assert clock.now_s - start_s < 3


@pytest.mark.parametrize("lines", [{"wire": "2"}, {"wire": "2", "memories": "none"}])
def test_another_wire_version_is_refused(lines: dict[str, str]) -> None:
    """Its other lines may be others too: what is said is the version."""
    with pytest.raises(ProtocolError, match="version 2 of the wire, expected 5"):
        device_on(FakeBoard(**lines)).identify()


def test_an_emptied_slot_is_said_and_its_size_forgotten() -> None:
    board = FakeBoard()
    device = device_on(board)
    device.load_plan(b"p" * 100)
    device.unload("frontend")
    with pytest.raises(ProtocolError, match="the plan has 12"):
        device.read("output")
    device.unload("plan")
    assert len(device.read("output")) == 100 and board.commands.count("hil unload plan") == 1


def test_another_board_or_build_is_refused_with_both_named() -> None:
    identity = device_on(FakeBoard()).identify()
    expect_identity(identity, "nucleo_l4r5", "0123456789abcdef")
    with pytest.raises(IdentityError, match="'nucleo_l4r5' answers, expected 'mps2_an386'"):
        expect_identity(identity, "mps2_an386", None)
    with pytest.raises(IdentityError, match="0123456789abcdef runs on the board, expected ffff"):
        expect_identity(identity, "nucleo_l4r5", "ffff")


def test_an_output_of_another_size_than_the_plan_is_refused() -> None:
    device = device_on(FakeBoard())
    device.load_plan(b"p" * 100)
    with pytest.raises(ProtocolError, match="100 bytes of output came back, the plan has 12"):
        device.read("output")


def test_closing_ends_the_host_even_where_the_port_fails() -> None:
    class Stuck(FakeBoard):
        def close(self) -> None:
            raise OSError("stuck")

    released: list[bool] = []
    device = Device(Link(Stuck()), "virtual", "modelled", release=lambda: released.append(True))
    with pytest.raises(OSError, match="stuck"):
        device.close()
    device.close()
    assert released == [True]
