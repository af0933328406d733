"""What MLPerf Tiny's standard runner needs of a device, on every host that needs no hardware."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from board_hosts import TARGETS
from keyword_model import quantised_clips
from mlperf_runner import LAP, RESULTS, Runner

from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.hosts import CLOCK_KINDS, Started, start
from hil_nas.device.link import Link
from hil_nas.network import Layer, Network

KWS = Network(
    (49, 10, 1),
    (
        Layer("conv", (-1,), 8, kernel=(10, 4), stride=(4, 2), relu=True),
        Layer("average_pool", (0,), kernel=(13, 5), stride=(13, 5), padding="valid"),
        Layer("fully_connected", (1,), 12),
        Layer("softmax", (2,)),
    ),
)
GRAPH = random_graph(KWS, seed=9)
PLAN = lower(GRAPH)
SERVE = (  # a shell's background jobs, and what they start, ignore Ctrl-C
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from hil_nas.cli import main; sys.exit(main(sys.argv[1:]))"
)
CLIPS = np.random.default_rng(4).integers(-128, 128, (6, 490), dtype=np.int8)
LIMIT = "27648"
REFUSALS = {
    "bogus": "Unknown command: bogus",
    "": "Unknown command: ",  # the original reads from NULL here
    "infer 0 1": "Inference iterations must be >0",
    "infer -1 1": "Inference iterations must be >0",
    "infer few": "Inference iterations must be >0",
    "infer 1 -1": "Inference warmup must be >=0",
    "db": "Command 'db' requires a subcommand",
    "db load": "Command 'db load' requires the # of bytes",
    "db load 0": "Command 'db load' must be >0 bytes",
    "db load -3": "Command 'db load' must be >0 bytes",
    "db load 27649": f"Supplied buffer size 27649 exceeds maximum of {LIMIT}",
    "db 123": "Insufficent number of hex digits",
    "db 0x": "Invalid hex digit '0x'",
    "x" * 300: "a command is at most 79 characters",  # the original keeps 79 and the last
}


@pytest.fixture(scope="module", params=TARGETS)
def started(request: pytest.FixtureRequest, boards_dir: Path, build_dir: Path) -> Iterator[Started]:
    started = start(request.param, boards_dir=boards_dir, build_dir=build_dir)
    yield started
    started.running.port.close()
    started.running.release()


@pytest.fixture
def link(started: Started) -> Link:
    return started.link()


@pytest.fixture
def runner(started: Started, link: Link) -> Runner:
    """A board with the network that the product would have linked in; the runner knows no command for it."""
    load(link, PLAN)
    return Runner(started.running.port)


def load(link: Link, plan: Plan) -> None:
    link.upload("hil load plan ram", plan.to_bytes())


def output(link: Link) -> np.ndarray:
    data = link.command("hil read output")[0].rpartition("-")[2]
    return np.frombuffer(bytes.fromhex(data), np.int8)


def test_boot_text(runner: Runner) -> None:
    assert runner.send("hil reset")[-1] == "m-ready"
    mode, lap, *rest = runner.lines(30.0)
    assert mode == "m-timestamp-mode-performance" and LAP.fullmatch(lap)
    assert rest == ["m-init-done", "m-ready"]


def test_the_runner_learns_who_it_is(runner: Runner) -> None:
    """Before that it looks for the name in one piece of text, to tell boards of one USB id apart."""
    assert re.search(r"m-name-dut-\[(.*)\]", "\n".join(runner.send("name"))).group(1) == "hil-nas"  # type: ignore[union-attr]
    assert runner.name() == "hil-nas"
    profile = runner.profile()
    assert profile["model"] == "kws01" and profile["profile"].startswith("ULPMark for tinyML Firmware V")


def test_timestamps_are_microseconds_that_grow(runner: Runner) -> None:
    stamps = [runner.timestamp_us() for _ in range(3)]
    assert stamps == sorted(stamps) and stamps[0] > 0


def test_help_begins_with_the_version(runner: Runner) -> None:
    lines = runner.send("help")
    assert lines[0] == runner.profile()["profile"] and lines[-1] == "m-ready"
    text = "\n".join(lines)
    assert all(x in text for x in ("name", "timestamp", "db load N", "db HH", "db print", "infer N W", "results"))


def test_accuracy_mode(runner: Runner, link: Link) -> None:
    """Download a clip, infer once without warm-up; three decimals tell all int8 values of a softmax apart."""
    seen = set()
    for clip in CLIPS:
        assert runner.load(clip.tobytes()) == ["m-load-done", "m-ready"]
        results = runner.infer(1, 0).results
        values = [int(np.ceil(256 * x)) - 128 for x in results]
        assert values == output(link).tolist()
        seen.add(tuple(values))
    assert len(seen) > 1


def test_performance_mode(runner: Runner, link: Link, started: Started) -> None:
    """Five windows; the runner's inferences a second are what our own counter says."""
    kind, repeats = CLOCK_KINDS[started.target.host], 10
    for clip in CLIPS[:5]:
        runner.load(clip.tobytes())
        assert runner.infer(repeats, 2).elapsed_us > 0
    lines = runner.send(f"infer {repeats} 2")
    shape = [re.sub(r"\[.*", "", re.sub(r"us-[0-9]+", "us", x)) for x in lines]
    assert shape == [
        "m-warmup-start-2", "m-warmup-done", f"m-infer-start-{repeats}", "m-lap-us", "m-lap-us", "m-infer-done",
        "m-results-", "m-ready",
    ]  # fmt: skip
    if kind == "modelled":
        cycles = int(link.command("hil run network 1 1")[0].rpartition("-")[2])
        elapsed_us = runner.infer(repeats, 2).elapsed_us
        assert elapsed_us == pytest.approx(repeats * cycles / 120, rel=0.03)


def test_warmups_are_ten_unless_told(runner: Runner) -> None:
    runner.load(CLIPS[0].tobytes())
    assert runner.send("infer")[:3] == ["m-warmup-start-10", "m-warmup-done", "m-infer-start-1"]
    assert runner.send("infer 2")[:3] == ["m-warmup-start-10", "m-warmup-done", "m-infer-start-2"]


def test_results_repeat_the_last(runner: Runner) -> None:
    runner.load(CLIPS[0].tobytes())
    said = [x for x in runner.send("infer 1 0") if RESULTS.fullmatch(x)]
    assert runner.send("results") == [*said, "m-ready"]


def test_the_buffer_is_printed_as_it_was_sent(runner: Runner) -> None:
    data = bytes(range(61, 61 + 20))
    assert runner.send("db load 20") == ["m-[Expecting 20 bytes]", "m-ready"]
    assert runner.send(f"db {data[:9].hex()}") == "m-ready"  # nothing until all is there
    assert runner.send(f"db {data[9:].hex().upper()}ffff") == ["m-load-done", "m-ready"]  # the rest is ignored
    rows = [x.removeprefix("m-buffer-") for x in runner.send("db print")[:-1]]
    assert [len(x.split("-")) for x in rows] == [8, 8, 4]
    assert bytes.fromhex("".join(rows).replace("-", "")) == data


def test_every_refusal_is_one_line_and_the_device_is_ready(runner: Runner) -> None:
    for command, words in REFUSALS.items():
        assert runner.send(command) == [f"e-[{words}]", "m-ready"]
    assert runner.name() == "hil-nas"


def test_a_size_that_was_refused_is_not_kept(runner: Runner, link: Link) -> None:
    """The original keeps it, and what follows runs over the end of its buffer."""
    runner.load(CLIPS[0].tobytes())
    before = runner.infer(1, 0).results
    assert runner.send("db load 40000")[0].startswith("e-[Supplied buffer size 40000")
    assert runner.send("db " + 31 * "ee") == ["e-[no 'db load' in progress]", "m-ready"]
    assert runner.send("infer 1 0") == ["e-[Input db has 0 elements, expected 490]", "m-ready"]
    runner.load(CLIPS[0].tobytes())
    assert runner.infer(1, 0).results == before


@pytest.mark.parametrize("size", [1, 489, 491])
def test_an_input_of_another_size_gives_no_result(runner: Runner, size: int) -> None:
    """The original says so on a line without `e-` and infers from what stood there before."""
    runner.load(CLIPS[0].tobytes())
    runner.infer(1, 0)
    runner.load(bytes(size))
    assert runner.send("infer 1 0") == [f"e-[Input db has {size} elements, expected 490]", "m-ready"]


def test_an_input_that_is_not_complete_gives_no_result(runner: Runner) -> None:
    runner.load(CLIPS[0].tobytes())
    runner.infer(1, 0)
    runner.send("db load 490")
    runner.send("db " + 31 * "11")
    assert runner.send("infer 1 0") == ["e-[Input db has 0 elements, expected 490]", "m-ready"]


def test_a_line_that_lost_a_digit_can_be_sent_again(runner: Runner, link: Link) -> None:
    """The original has taken half of a line with a bad digit by the time it says so."""
    data = CLIPS[1].tobytes()
    runner.load(data)
    expected = runner.infer(1, 0).results
    runner.send("db load 490")
    for at in range(0, 490, 31):
        digits = data[at : at + 31].hex()
        assert runner.send(f"db {digits[:-1]}")[0] == "e-[Insufficent number of hex digits]"
        assert runner.send(f"db {digits[:-1]}\x7f")[0].startswith("e-[Invalid hex digit")
        answer = runner.send(f"db {digits}")
    assert answer == ["m-load-done", "m-ready"]
    assert runner.infer(1, 0).results == expected


def test_values_of_one_and_more_and_below_zero(runner: Runner, link: Link) -> None:
    """1.0 comes out of the original as 0.1000 and -0.5 as 0.-5-50."""
    for scale in (1.0, 1 / 64):
        load(link, replace(PLAN, output_scale=scale, output_zero_point=-1))
        runner.load(CLIPS[2].tobytes())
        lines = runner.send("infer 1 0")
        words = RESULTS.fullmatch(lines[-2]).group(1).split(",")  # type: ignore[union-attr]
        values = (output(link).astype(np.float64) + 1) * scale
        assert min(values) <= 0 < 1 <= max(values)
        assert [float(x) for x in words] == pytest.approx(np.trunc(values * 1000) / 1000, abs=1e-9)
        assert all(re.fullmatch(r"-?[0-9]+\.[0-9]{3}", x) for x in words)


def test_a_terminal_may_end_its_lines(runner: Runner) -> None:
    assert runner.send("\r\nname\r\n")[0] == "m-name-dut-[hil-nas]"


def test_a_model_of_mlperfs_shape_over_the_runners_wire(runner: Runner, link: Link, kws_model: bytes) -> None:
    load(link, lower(read_tflite(kws_model)))
    inputs = quantised_clips(kws_model, 3, seed=8)
    expected = Tflm(kws_model).run(inputs).reshape(3, -1)
    for values, logits in zip(inputs, expected, strict=True):
        runner.load(values.tobytes())
        assert [int(np.ceil(256 * x)) - 128 for x in runner.infer(1, 0).results] == logits.tolist()


@pytest.mark.parametrize(
    ("board", "options", "ended_by"),
    [
        ("native@native", [], signal.SIGTERM),
        ("nucleo-l4r5@virtual", ["--tcp", "0"], signal.SIGINT),
    ],
)
def test_the_runner_reaches_a_board_through_serve(
    board: str, options: list[str], ended_by: signal.Signals, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    """As a person types it; the runner opens what the command names with pyserial, as it opens a board."""
    model = tmp_path / "model.tflite"
    model.write_bytes(write_tflite(GRAPH))
    expected = Tflm(model.read_bytes()).run(CLIPS[:2].reshape(2, 49, 10, 1))
    words = ["serve", str(model), "--board", board, "--json", *options]
    command = [sys.executable, "-c", SERVE, *words, "--boards", str(boards_dir), "--build", str(build_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            with serial.serial_for_url(address, 115200, timeout=0.1) as port:
                runner = Runner(port)
                assert (runner.name(), runner.profile()["model"]) == ("hil-nas", "kws01")
                for clip, logits in zip(CLIPS, expected, strict=False):
                    runner.load(clip.tobytes())
                    assert [int(np.ceil(256 * x)) - 128 for x in runner.infer(1, 0).results] == logits.tolist()
            process.send_signal(ended_by)
            assert process.wait(20) == 130
        finally:
            process.kill()
