"""The pure half of the wire: nothing damaged ever reads as something else."""

from __future__ import annotations

import contextlib

import pytest
from device_fake import crc, line, reply
from hypothesis import given, settings
from hypothesis import strategies as st

from hil_nas.device import replies, run_counts
from hil_nas.device.protocol import (
    MAX_LINE_BYTES,
    READY,
    LineSplitter,
    encode_command,
    parse_send,
    verify_reply,
)
from hil_nas.errors import DeviceError, LinkError, ProtocolError, RefusedError

RUN = "hil run all 1 3"
RUN_RECORDS = [
    "run-0-1543210-9876543", "run-1-1543211-9876541", "run-2-1543209-9876547",
    "stage-0-window-543210", "stage-1-fft-1000000",
    "op-0-conv-4000000", "op-1-depthwise-1000000", "op-2-conv-4850000", "op-3-fully_connected-12345",
]  # fmt: skip
MEMORY = "hil memory"
MEMORY_RECORDS = [
    "memory-arena-20000", "memory-frontend_scratch-4096", "memory-frontend_tables-7000-ram",
    "memory-plan-50000-flash", "memory-audio-32000", "memory-listen-0", "memory-io-502", "memory-static-3000",
    "memory-stack-1500", "memory-image-60000",
]  # fmt: skip
READ = "hil read output"
READ_RECORDS = [f"data-{at}-{bytes(range(at, at + 64)).hex()}" for at in range(0, 192, 64)]


def lines_of(data: bytes) -> list[str]:
    """As the link takes a reply: the lines before the first m-ready."""
    lines = LineSplitter().feed(data)
    if READY not in lines:
        raise LinkError("silence")
    return lines[: lines.index(READY)]


def parse_run(data: bytes) -> object:
    return run_counts.parse_run(verify_reply(RUN, lines_of(data)), "all", 3, 4, exact=True)


def parse_memory(data: bytes) -> object:
    return replies.parse_memory(verify_reply(MEMORY, lines_of(data)))


def parse_read(data: bytes) -> object:
    return replies.parse_data(verify_reply(READ, lines_of(data)))


CASES = [
    (parse_run, reply(RUN, RUN_RECORDS, busy=(0, 2))),
    (parse_memory, reply(MEMORY, MEMORY_RECORDS)),
    (parse_read, reply(READ, READ_RECORDS)),
]


def test_a_command_carries_the_crc_of_its_text() -> None:
    # binascii.crc32(b"123456789") is CBF43926, the check value of CRC-32/ISO-HDLC
    assert encode_command("123456789") == b"123456789*cbf43926%"


@pytest.mark.parametrize("text", ["", "hil%id", "hil*id", "hil\nid", "hil é", "x" * 71])
def test_what_a_command_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        encode_command(text)


def test_a_run_comes_back_as_it_was_sent() -> None:
    counts = parse_run(CASES[0][1])
    assert isinstance(counts, run_counts.RunCounts)
    assert counts.front_end_cycles == (1543210, 1543211, 1543209)
    assert counts.network_cycles == (9876543, 9876541, 9876547)
    assert counts.operators[1] == ("depthwise", 1000000)
    assert counts.stages == (("window", 543210), ("fft", 1000000))
    assert (counts.front_end_median_cycles, counts.network_median_cycles) == (1543210, 9876543)
    assert counts.total_median_cycles == 1543210 + 9876543


def test_memory_adds_up() -> None:
    use = parse_memory(CASES[1][1])
    assert isinstance(use, replies.MemoryUse)
    assert use.ram_bytes == 3000 + 1500 + 20000 + 4096 + 7000 + 32000 + 502
    assert use.flash_bytes == 60000 + 50000


def test_data_is_put_together() -> None:
    assert parse_read(CASES[2][1]) == bytes(range(192))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_damaged_reply_never_reads_as_another(data: st.DataObject) -> None:
    parse, good = data.draw(st.sampled_from(CASES))
    expected = parse(good)
    damaged = good
    for _ in range(data.draw(st.integers(1, 2))):
        damaged = _damage(data, damaged)
    try:
        actual = parse(damaged)
    except DeviceError:
        return
    assert actual == expected


def _damage(data: st.DataObject, good: bytes) -> bytes:
    kinds = ["flip", "drop", "double", "insert", "drop line", "double line", "swap lines"]
    kind = data.draw(st.sampled_from(kinds))
    if not good:
        return good
    at = data.draw(st.integers(0, len(good) - 1))
    if kind == "flip":
        return good[:at] + bytes([good[at] ^ 1 << data.draw(st.integers(0, 7))]) + good[at + 1 :]
    if kind == "drop":
        return good[:at] + good[at + data.draw(st.integers(1, 40)) :]
    if kind == "double":
        return good[: at + 1] + good[at:]
    if kind == "insert":
        return good[:at] + data.draw(st.binary(min_size=1, max_size=4)) + good[at:]
    lines = good.splitlines(keepends=True)
    first, second = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    if kind == "drop line":
        del lines[first]
    elif kind == "double line":
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60)))
def test_any_bytes_are_lines_or_an_error(pieces: list[bytes]) -> None:
    splitter = LineSplitter()
    lines = [x for piece in pieces for x in splitter.feed(piece)]
    assert lines == [x.removesuffix(b"\r").decode("latin-1") for x in b"".join(pieces).split(b"\n")[:-1]]
    try:
        verify_reply("hil id", lines)
    except DeviceError as error:
        assert len(str(error)) < 400


WORDS = st.sampled_from(
    ["run", "op", "data", "memory", "id", "plan", "frontend", "loaded", "send", "busy", "end", "conv", "arena", "board"]
    + ["flash", "ram", "0", "1", "00", "4294967296", "99999999999", "-1", "ff", "f", "\u0661", "", " "]
)
PARSERS = (
    lambda x: replies.parse_identity(x, "virtual", "modelled"), replies.parse_plan, replies.parse_front_end,
    replies.parse_loaded, lambda x: run_counts.parse_run(x, "all", 1, 1, exact=True),
    lambda x: run_counts.parse_run(x, "network", 2, None, exact=False), replies.parse_data, replies.parse_memory,
    replies.expect_nothing, lambda x: [parse_send(y) for y in x],
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=5).map("-".join) | st.text(max_size=30), max_size=4))
def test_verified_records_of_any_text_are_a_value_or_an_error(records: list[str]) -> None:
    """A firmware that sends nonsense with good CRCs is told so, whatever it says."""
    for parse in PARSERS:
        with contextlib.suppress(DeviceError):
            parse(records)


def test_a_line_without_end_is_refused_and_forgotten() -> None:
    splitter = LineSplitter()
    with pytest.raises(ProtocolError, match="more than 512 bytes"):
        splitter.feed(b"x" * (MAX_LINE_BYTES + 1))
    assert splitter.feed(b"m-ready\r\n") == ["m-ready"]


def test_a_refusal_holds_the_words_of_the_board() -> None:
    with pytest.raises(RefusedError, match="no plan is loaded"):
        verify_reply("hil run network 0 1", ["e-[no plan is loaded]"])


def test_words_of_the_board_are_bounded_and_printable() -> None:
    with pytest.raises(RefusedError) as caught:
        verify_reply("hil id", [f"e-[\x1b[2J{'x' * 400}]"])
    assert "\x1b" not in caught.value.message and len(caught.value.message) < 150


def test_an_answer_to_another_command_is_refused() -> None:
    stale = reply("hil run all 1 2", [])
    with pytest.raises(ProtocolError, match="another command"):
        verify_reply("hil run all 1 3", lines_of(stale))


def test_a_restart_in_the_middle_is_named() -> None:
    with pytest.raises(LinkError, match="restarted during 'hil id'"):
        verify_reply("hil id", ["m-timestamp-mode-performance", "m-lap-us-12", "m-init-done"])


def test_a_request_for_upload_bytes() -> None:
    request = parse_send("send-1024-476")
    assert request is not None
    assert (request.offset_bytes, request.chunk_bytes) == (1024, 476)
    assert parse_send("plan-3-20000-490-12") is None
    assert line("busy") == f"m-hil-busy*{crc(b'm-hil-busy')}\r\n".encode()


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (["run-0-0-500", "stage-0-fft-500", "op-0-conv-500"], "did not move during the front end of run 0"),
        (["run-0-500-0", "stage-0-fft-500", "op-0-conv-500"], "did not move during the network of run 0"),
        (["run-0-500-900", "stage-0-fft-500", "op-0-conv-0"], "did not move during operator 0"),
        (["run-0-500-90000", "stage-0-fft-500", "op-0-conv-30000"], "add up to 30000 cycles"),
        (["run-0-500-90000", "stage-0-fft-500", "op-0-conv-300000"], "add up to 300000 cycles"),
        (["run-1-500-900", "stage-0-fft-500", "op-0-conv-900"], "expected run 0"),
        (["run-0-500-900", "stage-0-fft-500", "op-1-conv-900"], "expected operator 0"),
        (["run-0-500-900", "stage-0-fft-500", "op-0-convolve-900"], "expected operator 0"),
        (["run-0-500-900", "op-0-conv-900"], "0 stages of a front end came back from a run of 'all'"),
        (["run-0-500-900", "stage-1-fft-500", "op-0-conv-900"], "expected stage 0"),
        (["run-0-90000-900", "stage-0-fft-500", "op-0-conv-900"], "the stages add up to 500 cycles"),
        (["run-0-500-900", "stage-0-fft-500"], "0 operators came back, expected 1"),
        (["run-0-500-4294967296", "stage-0-fft-500", "op-0-conv-900"], "32-bit counter"),
        (["run-00-500-900", "stage-0-fft-500", "op-0-conv-900"], "expected run 0"),
        ([], "0 runs came back, expected 1"),
    ],
)
def test_counts_that_cannot_be_are_refused(records: list[str], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        run_counts.parse_run(records, "all", 1, 1, exact=True)


def test_the_front_end_alone_counts_no_network() -> None:
    stage = run_counts.StageCycles("fft", 490)
    counts = run_counts.parse_run(["run-0-500-0", "stage-0-fft-490"], "frontend", 1, 4, exact=True)
    assert counts == run_counts.RunCounts((500,), (), (), (stage,))
    with pytest.raises(ProtocolError, match="not asked for"):
        run_counts.parse_run(["run-0-500-9", "stage-0-fft-490"], "frontend", 1, 4, exact=True)
    with pytest.raises(ProtocolError, match="1 stages of a front end came back from a run of 'network'"):
        run_counts.parse_run(["run-0-0-500", "stage-0-fft-490", "op-0-conv-480"], "network", 1, 1, exact=True)


@pytest.mark.parametrize("missing", range(len(MEMORY_RECORDS)))
def test_a_missing_line_of_memory_is_an_error(missing: int) -> None:
    with pytest.raises(ProtocolError, match="missing"):
        replies.parse_memory([x for i, x in enumerate(MEMORY_RECORDS) if i != missing])
