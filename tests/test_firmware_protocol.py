"""The firmware's wire: MLPerf Tiny word for word, our commands, and every refusal, under sanitizers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from firmware_wire import Wire, crc, running, sanitized_firmware
from keyword_model import quantised_clips

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network

CONFIG = Mfcc(640, 320, 40, 10)
FRONT_END = CONFIG.blob(0.5, 10)
AUDIO = np.random.default_rng(3).integers(-9000, 9000, 16000).astype("<i2").tobytes()
LOAD_USAGE = "hil load takes plan, frontend, audio, input or listen, ram or flash, bytes and CRC-32"
RUN_USAGE = "hil run takes network, step, frontend or all, warm-ups (0 to 10000) and runs (1 to 10000)"
SMALL = Network((4, 4, 2), (Layer("conv", (-1,), 3, kernel=(3, 3), relu=True), Layer("fully_connected", (0,), 5)))


def plan_of(network: Network, seed: int = 1) -> bytes:
    return lower(random_graph(network, seed)).to_bytes()


@pytest.fixture(scope="module")
def elf(boards_dir: Path, build_dir: Path) -> Path:
    return sanitized_firmware(boards_dir, build_dir)


@pytest.fixture
def wire(elf: Path) -> Iterator[Wire]:
    with running(elf) as wire:
        yield wire
        assert wire.ask("name") == ["m-name-dut-[hil-nas]"], "ready after all that the test did"


def records(lines: list[str], command: str) -> list[str]:
    """The texts of our records, every CRC and the end record checked."""
    texts = []
    for line in lines:
        body, star, code = line.partition("*")
        assert star and code == crc(body.encode()), line
        texts.append(body.removeprefix("m-hil-"))
    assert texts.pop() == f"end-{len(texts)}-{crc(command.encode())}"
    return texts


def test_boot_text(wire: Wire) -> None:
    assert wire.boot[0] == "m-timestamp-mode-performance" and wire.boot[2:] == ["m-init-done"]
    assert re.fullmatch(r"m-lap-us-[0-9]+", wire.boot[1])


def test_mlperf_words(wire: Wire) -> None:
    assert re.fullmatch(r"m-(name)-dut-\[([^]]+)]", wire.ask("name")[0])
    assert wire.ask("profile") == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[kws01]"]
    assert re.fullmatch(r"m-lap-us-[0-9]+", wire.ask("timestamp")[0])
    assert wire.ask("help")[0] == "ULPMark for tinyML Firmware V0.0.1"
    assert wire.ask("bogus 1\x07") == ["e-[Unknown command: bogus 1?]"]
    assert wire.ask("\r\nname\n") == ["m-name-dut-[hil-nas]"]


def test_mlperf_run(wire: Wire, kws_model: bytes) -> None:
    """What the standard runner sends for one clip: 31 bytes a command, then inferences."""
    plan = lower(read_tflite(kws_model)).to_bytes()
    assert wire.upload("plan", plan)[-1].startswith("m-hil-end-")
    values = quantised_clips(kws_model, 1, seed=5)
    assert wire.ask("db load 490") == ["m-[Expecting 490 bytes]"]
    data = values.tobytes()
    answers = [wire.ask(f"db {data[i : i + 31].hex()}") for i in range(0, 490, 31)]
    assert answers == [[]] * 15 + [["m-load-done"]]
    assert [x for y in wire.ask("db print") for x in y.split("-")[2:]] == [f"{x:02x}" for x in data]
    lines = wire.ask("infer 3 2")
    laps = [int(x.rpartition("-")[2]) for x in lines if x.startswith("m-lap-us-")]
    shape = [re.sub(r"us-[0-9]+|\[.*", "", x) for x in lines]
    assert shape == [
        "m-warmup-start-2", "m-warmup-done", "m-infer-start-3", "m-lap-", "m-lap-", "m-infer-done", "m-results-",
    ]  # fmt: skip
    assert laps[0] < laps[1]
    expected = Tflm(kws_model).run(values).ravel()
    shown = [float(x) for x in lines[-1].removeprefix("m-results-[").removesuffix("]").split(",")]
    assert [int(np.ceil(256 * x)) - 128 for x in shown] == expected.tolist()  # three digits tell all values apart
    assert wire.ask("results") == lines[-1:]


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        (["db"], "Command 'db' requires a subcommand"),
        (["db load"], "Command 'db load' requires the # of bytes"),
        (["db load 0"], "Command 'db load' must be >0 bytes"),
        (["db load -5"], "Command 'db load' must be >0 bytes"),
        (["db load 27649"], "Supplied buffer size 27649 exceeds maximum of 27648"),
        (["db load 27649", "db " + "00" * 31], "no 'db load' in progress"),
        (["db load 4294967297"], "Command 'db load' must be >0 bytes"),
        (["db load 2", "db 123"], "Insufficent number of hex digits"),
        (["db load 2", "db 1g"], "Invalid hex digit '1g'"),
        (["db 00"], "no 'db load' in progress"),
        (["infer"], "no model loaded"),
        (["infer 0"], "Inference iterations must be >0"),
        (["infer 1 -1"], "Inference warmup must be >=0"),
        (["results"], "no model loaded"),
        (["hil"], "hil takes id, load, unload, run, read, memory, listen, clear or reset"),
        (["hil run network 1 1"], "no model loaded"),
        (["hil run frontend 1 1"], "no front end loaded"),
        (["hil run step 0 1"], "no model loaded"),
        (["hil clear"], "no model loaded"),
        (["hil clear plan"], "wrong number of words"),
        (["hil run network 1 0"], RUN_USAGE),
        (["hil run network 10001 1"], RUN_USAGE),
        (["hil run nothing 1 1"], RUN_USAGE),
        (["hil read output"], "the network has not run"),
        (["hil read features"], "the front end has not run"),
        (["hil read input"], "no input loaded"),
        (["hil read plan"], "hil read takes features, input or output"),
        (["hil id*00000000"], "the command's CRC is wrong"),
        (["hil id*"], "the command's CRC is wrong"),
        (["hil id now"], "wrong number of words"),
        (["hil " + "x" * 200], "a command is at most 79 characters"),
        (["a b c d e f g h"], "too many words"),
        (["hil unload"], "wrong number of words"),
        (["hil unload audio"], "hil unload takes plan or frontend"),
        (["hil load plan ram 10"], LOAD_USAGE),
        (["hil load plan ram 0 00000000"], "nothing to load"),
        (["hil load plan ram 4294967295 00000000"], "too large for the RAM"),
        (["hil load plan flash 917505 00000000"], "too large for the store"),
        (["hil load frontend flash 131073 00000000"], "too large for the store"),
        (["hil load audio ram 32002 00000000"], "audio is int16 and at most 32000 bytes"),
        (["hil load audio ram 31 00000000"], "audio is int16 and at most 32000 bytes"),
        (["hil load input ram 27649 00000000"], "an input is at most 27648 bytes"),
        (["hil load input flash 5 00000000"], "audio and input go to ram"),
    ],
)
def test_refusals(wire: Wire, commands: list[str], reason: str) -> None:
    answers = [wire.ask(x) for x in commands]
    assert answers[-1] == [f"e-[{reason}]"]


def test_a_command_of_79_characters_is_taken_and_one_of_80_is_not(wire: Wire) -> None:
    assert wire.ask("y" * 79) == ["e-[Unknown command: " + "y" * 79 + "]"]
    assert wire.ask("y" * 80) == ["e-[a command is at most 79 characters]"]


def test_crc_on_a_command_is_checked(wire: Wire) -> None:
    good = f"hil id*{crc(b'hil id')}"
    texts = records(wire.ask(good), "hil id")
    assert texts[0] == "id-board-native" and "id-wire-5" in texts
    assert wire.ask(good.replace("id*", "ie*")) == ["e-[the command's CRC is wrong]"]


def test_uploads_that_fail_leave_the_slot_empty(wire: Wire) -> None:
    plan = plan_of(SMALL)
    assert wire.upload("plan", plan)[-1].startswith("m-hil-end-")
    assert wire.upload("plan", plan, checksum="00000000") == ["e-[the data's CRC is wrong]"]
    assert wire.ask("hil run network 0 1") == ["e-[no model loaded]"]
    wire.send(f"hil load plan ram {len(plan)} {crc(plan)}%".encode())
    assert wire.line().startswith("m-hil-send-0-")
    wire.send(plan[:100])
    assert wire.answer() == [f"e-[upload stopped at byte 100 of {len(plan)}]"]
    assert wire.upload("plan", bytes(64)) == ["e-[not a plan]"]
    assert wire.upload("frontend", bytes(96))[0].startswith("e-[")
    assert "memory-plan-0-ram" in records(wire.ask("hil memory"), "hil memory")


@pytest.mark.parametrize("places", [("ram", "ram"), ("flash", "flash"), ("ram", "flash"), ("flash", "ram")])
def test_replacing_one_blob_keeps_the_other(wire: Wire, places: tuple[str, str]) -> None:
    layers = (Layer("conv", (-1,), 4, kernel=(3, 3)), Layer("fully_connected", (0,), 12))
    network = Network((CONFIG.frames, 10, 1), layers)
    first, second = plan_of(network, 1), plan_of(network, 2)
    assert wire.upload("audio", AUDIO)[-1].startswith("m-hil-end")

    def output() -> list[str]:
        assert wire.ask("hil run all 0 1")[-1].startswith("m-hil-end-")
        return wire.ask("hil read output")

    wire.upload("plan", first, places[0])
    wire.upload("frontend", FRONT_END, places[1])
    before = output()
    wire.upload("plan", second, places[0])
    assert output() != before
    wire.upload("plan", bytes(5000), places[0])  # refused: the front end stays
    assert wire.ask("hil run frontend 0 1")[-1].startswith("m-hil-end-")
    wire.upload("plan", first, places[0])
    wire.upload("frontend", FRONT_END, places[1])
    assert output() == before
    wire.upload("frontend", b"\0" * 3000, places[1])  # refused: the plan stays
    assert wire.ask("hil run all 0 1") == ["e-[no front end loaded]"]
    wire.upload("input", bytes(CONFIG.frames * 10))
    assert wire.ask("hil run network 0 1")[-1].startswith("m-hil-end-")


@pytest.mark.parametrize("first", ["plan", "frontend"])
def test_a_blob_that_leaves_ram_leaves_the_other_whole(wire: Wire, first: str) -> None:
    """Both in RAM, then the one that came first goes to flash: what stood behind it is not built over."""
    layers = (Layer("conv", (-1,), 4, kernel=(3, 3)), Layer("fully_connected", (0,), 12))
    network = Network((CONFIG.frames, 10, 1), layers)
    blobs = {"plan": plan_of(network, 1), "frontend": FRONT_END}
    wire.upload("audio", AUDIO)

    def output(places: dict[str, str]) -> list[str]:
        for slot in places:
            assert wire.upload(slot, blobs[slot], places[slot])[-1].startswith("m-hil-end-")
        runs = [wire.ask("hil run all 0 1")[-1], wire.ask("hil run all 0 1")[-1]]
        assert all(x.startswith("m-hil-end-") for x in runs)
        return wire.ask("hil read output")

    second = "frontend" if first == "plan" else "plan"
    expected = output({first: "flash", second: "flash"})
    assert output({first: "ram", second: "ram"}) == expected
    assert output({first: "flash"}) == expected


def test_a_network_that_does_not_fit_the_front_end_is_refused_when_run(wire: Wire) -> None:
    wire.upload("plan", plan_of(SMALL))
    wire.upload("frontend", FRONT_END)
    assert wire.ask("hil run all 0 1") == ["e-[no audio of the front end's length loaded]"]
    wire.upload("audio", AUDIO[:1000])
    assert wire.ask("hil run frontend 0 1") == ["e-[no audio of the front end's length loaded]"]
    wire.upload("audio", AUDIO)
    assert wire.ask("hil run all 0 1") == ["e-[the front end's output is not the network's input]"]
    assert wire.ask("hil run network 0 1") == ["e-[no input of the network's size loaded]"]
    assert wire.ask("db load 31") == ["m-[Expecting 31 bytes]"] and wire.ask(f"db {'00' * 31}") == ["m-load-done"]
    assert wire.ask("infer 1 0") == ["e-[Input db has 31 elements, expected 32]"]
    assert wire.ask("results") == ["e-[nothing has been inferred]"]


def test_runs_memory_and_reset(wire: Wire) -> None:
    plan = plan_of(SMALL)
    loaded = wire.upload("plan", plan, "flash")
    assert re.match(r"m-hil-plan-2-[0-9]+-32-5\*", loaded[-2])
    wire.upload("input", bytes(range(32)))
    texts = records(wire.ask("hil run network 1 3"), "hil run network 1 3")
    assert [x.rpartition("-")[0] for x in texts] == [
        "run-0-0", "run-1-0", "run-2-0", "op-0-conv", "op-1-fully_connected",
    ]  # fmt: skip
    assert records(wire.ask("hil read input"), "hil read input") == [f"data-0-{bytes(range(32)).hex()}"]
    memory = records(wire.ask("hil memory"), "hil memory")
    assert f"memory-plan-{len(plan)}-flash" in memory and "memory-io-32" in memory
    assert records(wire.ask("hil reset"), "hil reset") == []
    assert wire.answer()[0] == "m-timestamp-mode-performance"
    assert wire.ask("hil run network 0 1") == ["e-[no model loaded]"]


def test_results_above_one_and_below_zero(wire: Wire) -> None:
    """MLPerf's own firmware prints 1.0 as 0.1000."""
    graph = random_graph(SMALL, 1)
    plan = lower(graph).to_bytes()
    wire.upload("plan", plan)
    wire.upload("input", bytes(range(100, 132)))
    shown = wire.ask("infer 1 0")[-1].removeprefix("m-results-[").removesuffix("]").split(",")
    data = records(wire.ask("hil read output"), "hil read output")[0].rpartition("-")[2]
    target = graph.tensors[graph.output]
    values = (np.frombuffer(bytes.fromhex(data), np.int8) - np.float32(target.zero_point)) * np.float32(target.scale)
    assert np.allclose([float(x) for x in shown], values, atol=0.00101) and min(values) < 0
    assert all(re.fullmatch(r"-?[0-9]+\.[0-9]{3}", x) for x in shown)


def test_random_bytes_do_not_stop_it(wire: Wire) -> None:
    random = np.random.default_rng(11)
    words = [b"hil ", b"load ", b"plan ", b"ram ", b"db ", b"infer ", b"*", b"%", b"run ", b"all ", b"1 ", b"99 "]
    for _ in range(300):
        pieces = random.integers(0, len(words) + 2, 8)
        data = b"".join(words[i] if i < len(words) else random.bytes(4).replace(b"%", b"") for i in pieces)
        wire.send(data.replace(b"%", b"") + b"%")
        wire.answer()


def test_a_stream_goes_on_by_its_steps_and_begins_anew(wire: Wire) -> None:
    """Probes are a run of their own, which is one step more."""
    network = Network((2, 1, 4), (Layer("delay", (-1,), shape=(7, 1, 4)), Layer("fully_connected", (0,), 5)))
    graph, answers = random_graph(network, 2), []
    wire.upload("plan", lower(graph).to_bytes())
    wire.upload("input", bytes(range(8)))
    oracle, same = Tflm(write_tflite(graph)), np.arange(8, dtype=np.int8).reshape(1, 2, 1, 4)
    expected = [f"data-0-{x.tobytes().hex()}" for x in oracle.run(np.repeat(same, 8, 0))]
    assert len(set(expected[:4])) == 4
    for command, steps in (("hil run step 0 1", 1), ("hil run step 1 2", 4), ("hil clear", 0), ("hil run step 0 1", 1),
                           ("hil run network 0 1", 3), ("hil clear", 0), ("hil run step 0 3", 3)):  # fmt: skip
        texts = records(wire.ask(command), command)
        if not steps:
            assert texts == [] and wire.ask("hil read output") == ["e-[the network has not run]"]
            continue
        assert any(x.startswith("op-") for x in texts) == ("network" in command)
        answers.append(records(wire.ask("hil read output"), "hil read output") == expected[steps - 1 : steps])
    assert answers == [True] * 5
