"""The real firmware on the virtual board, through the device layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from keyword_model import quantised_clips
from virtual_programs import COMPILER

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.boards import load_board
from hil_nas.device.device import Device
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.device.virtual.port import open_virtual

pytest.importorskip("bakenn", reason="needs CMSIS-NN's sources: pip install bakenn")


@pytest.fixture(scope="module")
def elf(boards_dir: Path, build_dir: Path) -> Path:
    assert COMPILER
    return build_firmware("nucleo_l4r5", boards_dir, build_dir, find_third_party()).elf


@pytest.fixture
def device(elf: Path, boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as opened:
        yield opened


def test_it_boots_with_the_text_of_mlperf_tiny(elf: Path, boards_dir: Path, build_dir: Path) -> None:
    board = load_board("nucleo_l4r5", boards_dir)
    with open_virtual(board, elf, boards_dir=boards_dir, build_dir=build_dir, timeout=60) as port:
        lines = [port.readline() for _ in range(4)]
        assert lines[0] == b"m-timestamp-mode-performance\r\n"
        assert lines[1].startswith(b"m-lap-us-")
        assert lines[2:] == [b"m-init-done\r\n", b"m-ready\r\n"]
        port.write(b"name%")
        assert port.readline().startswith(b"m-name-dut-[")
        assert port.readline() == b"m-ready\r\n"
        assert port.machine.chip.rcc.hclk_hz == board.cpu_hz


def test_it_says_who_it_is_also_after_a_reset(device: Device, boards_dir: Path) -> None:
    timing = load_board("nucleo_l4r5", boards_dir).timing
    for identity in (device.identify(), device.reset()):
        assert (identity.board, identity.clock_hz, identity.clock_kind) == ("nucleo_l4r5", 120_000_000, "modelled")
        assert timing is not None and identity.clock_error_percent == timing.error_percent


def test_a_network_gives_the_references_bits_and_repeatable_cycles(device: Device, kws_model: bytes) -> None:
    values = quantised_clips(kws_model, 1, seed=3)
    expected = Tflm(kws_model).run(values)
    cycles = {}
    for where in ("ram", "flash"):
        device.load_plan(lower(read_tflite(kws_model)).to_bytes(), "flash" if where == "flash" else "ram")
        device.set_input(values.ravel())
        counts = device.run("network", 1, 3)
        assert max(counts.network_cycles) - min(counts.network_cycles) <= 2
        assert sum(x for _, x in counts.operators) == pytest.approx(counts.network_cycles[0], rel=1e-3)
        np.testing.assert_array_equal(device.read("output"), expected.ravel())
        cycles[where] = counts.network_cycles[0]
    assert 1 < cycles["flash"] / cycles["ram"] < 1.05  # weights are copied to RAM once, which misses the data cache


def test_two_boards_count_the_same_cycles(boards_dir: Path, build_dir: Path, kws_model: bytes) -> None:
    plan = lower(read_tflite(kws_model)).to_bytes()
    counts = []
    for _ in range(2):
        with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as device:
            device.load_plan(plan, "flash")
            device.set_input(np.zeros(490, np.int8))
            counts.append(device.run("network", 0, 2))
    assert counts[0] == counts[1]
