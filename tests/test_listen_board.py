"""Listening on boards: the same answers and decisions as on the host, what it costs, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from board_hosts import KINDS, TARGETS
from deploy_harness import ds_cnn
from firmware_wire import Wire, running, sanitized_firmware

from hil_nas import cli
from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.host_engine import build_engine_library
from hil_nas.deploy.listening import Listening, sliding_windows
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.firmware import find_third_party
from hil_nas.device.heard import BoardDecision, parse_decisions
from hil_nas.errors import InputError, ProtocolError
from hil_nas.front_ends import parse_front_end
from hil_nas.listening.host import Decided, HostListener
from hil_nas.workflows.verify_listen import differing_decisions

FRONT_END = parse_front_end("mfcc:480/320/40/10")
LABELS = tuple(map(str, range(12)))
DECISIONS = Decisions(LABELS, (ONE // 6,) * 12, period_samples=1600, averaged=2, refractory=1)
MODEL = attach_front_end(write_tflite(random_graph(ds_cnn(channels=8, blocks=1), 4)), FRONT_END)


def audio(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    parts = [rng.normal(0, 10 ** rng.uniform(1, 4), 4000).cumsum() % 20_000 - 10_000 for _ in range(round(4 * seconds))]
    return np.concatenate(parts).astype(np.int16)


@pytest.fixture(scope="module")
def host(boards_dir: Path, build_dir: Path) -> HostListener:
    library = build_engine_library(boards_dir, find_third_party().cmsis_nn, build_dir)
    return HostListener(library, sliding_windows(MODEL, DECISIONS))


@pytest.fixture
def wire(boards_dir: Path, build_dir: Path) -> Iterator[Wire]:
    with running(sanitized_firmware(boards_dir, build_dir)) as wire:
        yield wire


def load(wire: Wire, listening: Listening) -> None:
    assert wire.upload("plan", listening.plan.to_bytes())[-1].startswith("m-hil-end-")
    assert wire.upload("frontend", listening.blob)[-1].startswith("m-hil-end-")
    assert wire.upload("listen", listening.packed())[0].startswith("m-hil-listen-")


def records(lines: list[str]) -> list[str]:
    return [x.partition("*")[0].removeprefix("m-hil-") for x in lines[:-1]]


def pushed(wire: Wire, samples: np.ndarray) -> list[BoardDecision]:
    assert wire.upload("audio", samples.astype("<i2").tobytes())[-1].startswith("m-hil-end-")
    return parse_decisions(records(wire.ask("hil listen")), len(LABELS))


def test_uploads_of_any_size_go_on_with_the_stream_under_sanitizers(wire: Wire, host: HostListener) -> None:
    load(wire, host.listening)
    samples = audio(4)
    host.restart()
    expected = host.push(samples)
    cuts = [1, 2, 700, 15_999, 16_000, 16_001, 30_000, 45_000, 46_600, 60_000]
    board = [y for x in np.split(samples, cuts) for y in pushed(wire, x)]
    assert differing_decisions(board, expected) == 0 and len(board) == len(expected) > 25
    assert len({x.heard for x in board}) == 2
    assert wire.upload("listen", host.listening.packed())[0].startswith("m-hil-listen-")
    again = [y for x in np.split(samples, [16_000, 32_000, 48_000]) for y in pushed(wire, x)]
    assert [(x.samples, x.answer, x.heard) for x in again] == [(x.samples, x.answer, x.heard) for x in board]


def test_what_is_refused(wire: Wire, host: HostListener) -> None:
    packed = host.listening.packed()
    assert wire.ask("hil listen") == ["e-[nothing loaded to listen by]"]
    assert wire.ask("hil listen now") == ["e-[wrong number of words]"]
    assert wire.upload("listen", packed) == ["e-[there is no network with a front end to listen by]"]
    assert wire.ask(f"hil load listen ram {len(packed) - 4} 00000000") == ["e-[what listens is 152 bytes in ram]"]
    assert wire.ask(f"hil load listen flash {len(packed)} 00000000") == ["e-[what listens is 152 bytes in ram]"]
    load(wire, host.listening)
    assert wire.ask("hil listen") == ["e-[no audio loaded]"]
    for place, value, reason in (
        (0, 0, "does not read as many frames"), (0, 50, "does not read as many frames"), (1, 65_536, "to warm up"),
        (2, 13, "another number of classes"), (2, 65, "number of classes out of range"), (6, 0xFFFF, "threshold"),
    ):  # fmt: skip
        words = np.frombuffer(packed, "<u4").copy()
        words[place] = value
        (answer,) = wire.upload("listen", words.tobytes())
        assert answer.startswith("e-[") and reason in answer
    pushed_nothing = wire.upload("audio", audio(1).tobytes())
    assert pushed_nothing[-1].startswith("m-hil-end-")
    assert wire.ask("hil listen") == ["e-[nothing loaded to listen by]"]
    load(wire, host.listening)
    assert len(records(wire.ask("hil memory"))) == 10 and wire.ask("hil run all 0 1")[-1].startswith("m-hil-end-")
    assert wire.ask("hil listen") == ["e-[the network has run since it listened: load anew what listens]"]
    load(wire, host.listening)
    assert wire.ask("hil clear")[-1].startswith("m-hil-end-")
    assert wire.ask("hil listen") == ["e-[nothing loaded to listen by]"]
    load(wire, host.listening)
    assert wire.ask("hil unload frontend")[-1].startswith("m-hil-end-")
    assert wire.ask("hil listen") == ["e-[nothing loaded to listen by]"]


def run(*arguments: object, capsys: pytest.CaptureFixture[str], status: int = 0) -> dict[str, Any]:
    assert cli.main([*map(str, arguments), "--json"]) == status
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("target", TARGETS)
def test_every_decision_is_the_hosts(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.tflite").write_bytes(MODEL)
    soundfile.write(tmp_path / "one.wav", audio(2.5), 16_000)
    soundfile.write(tmp_path / "two.flac", audio(1.25), 16_000)
    model, recordings = tmp_path / "model.tflite", ["--listen", tmp_path / "one.wav", "--listen", tmp_path / "two.flac"]
    result = run("verify", model, *recordings, "--board", target, capsys=capsys)
    assert result["bits_equal"] and result["decisions"] == 15 + 3 and result["recordings"] == 2
    assert (result["way"], result["period_ms"], result["tuned"]) == ("in sliding windows", 100.0, False)
    assert 0 < result["median_cycles"] <= result["worst_cycles"]
    assert (result["worst_load"] is not None) == (KINDS[target] in ("modelled", "silicon"))
    if result["worst_load"] is not None:
        assert result["worst_load"] == pytest.approx(result["worst_cycles"] / (0.1 * result["clock"]["hz"]))
    assert 1000 < result["ram"]["listening: samples, features, decisions"] < 3000 and "audio" not in result["ram"]


def test_a_limit_that_is_missed_and_options_that_do_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.tflite").write_bytes(MODEL)
    soundfile.write(tmp_path / "one.wav", audio(1.25), 16_000)
    soundfile.write(tmp_path / "short.wav", audio(0.5), 16_000)
    base = ("verify", tmp_path / "model.tflite", "--board", "native@native")
    small = run(*base, "--listen", tmp_path / "one.wav", "--max-ram", "1k", capsys=capsys, status=3)
    assert [x.partition(",")[0][:6] for x in small["missed"]] == ["RAM is"]
    short = run(*base, "--listen", tmp_path / "short.wav", capsys=capsys, status=1)
    assert "shorter than a window" in short["message"]
    for option in (("--data", tmp_path), ("--engine", "tflm"), ("--kernels", "cmsis-nn")):
        refused = run(*base, "--listen", tmp_path / "one.wav", *option, capsys=capsys, status=2)
        assert "--listen does not go with" in refused["message"]


def test_decisions_that_differ_are_counted() -> None:
    ends, answers = np.array([16_160, 17_760]), np.zeros((2, 2), np.int8)
    host = Decided(ends, answers, np.array([-1, 1], np.int16), np.array([[5, 9], [7, 20_000]], np.uint16))
    good = [BoardDecision(16_160, 9, -1, 0, b"\0\0"), BoardDecision(17_760, 9, 1, 20_000, b"\0\0")]
    assert differing_decisions(good, host) == 0
    for i, other in (
        (0, BoardDecision(16_161, 9, -1, 0, b"\0\0")), (0, BoardDecision(16_160, 9, 0, 0, b"\0\0")),
        (1, BoardDecision(17_760, 9, 1, 19_999, b"\0\0")), (1, BoardDecision(17_760, 9, 1, 20_000, b"\0\1")),
    ):  # fmt: skip
        assert differing_decisions([other if i == j else x for j, x in enumerate(good)], host) == 1
    assert differing_decisions(good[:1], host) == 1 and differing_decisions([*good, good[1]], host) == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("decision-16160-5-0-0-00", "2 classes"),
        ("decision-16160-5-0-0-000000", "2 classes"),
        ("decision-16160-5-3-0-0000", "no decision has"),
        ("decision-16160-5-0-32769-0000", "no decision has"),
        ("decision-4294967296-5-0-0-0000", "no decision has"),
        ("decision-16160-0-0-0-0000", "did not move"),
        ("run-1-2-3", "expected a decision"),
    ],
)
def test_records_that_no_board_sends(record: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse_decisions([record], 2)


def test_nothing_is_heard_without_a_network() -> None:
    from device_fake import FakeBoard

    from hil_nas.device.device import Device
    from hil_nas.device.link import Link

    device = Device(Link(FakeBoard()), "virtual", "modelled")
    with pytest.raises(InputError, match="no network is loaded"):
        device.listen(np.zeros(10, np.int16))
