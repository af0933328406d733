"""The same sources on cores with other instructions give the same bits: a Cortex-M7, cores without the DSP extension,
and one with it whose FPU is not used, for which our own kernels have no assembly.

QEMU has no Armv6-M machine with enough RAM; its code runs on an Armv7-M, told to trap what the other cannot.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from deploy_harness import cell_network, ds_cnn, random_inputs
from front_end_signals import chirps, hard_clips
from random_layers import KINDS, Int8, draw, on_board

from hil_nas.deploy.lower import lower
from hil_nas.deploy.plan import Plan
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mfcc import Mfcc

SOFT = "-mfloat-abi=soft"
CORES = {  # of -mcpu: QEMU's machine
    "cortex-m3": "mps2-an385",
    "cortex-m0plus": "mps2-an385",
    "cortex-m4": "mps2-an386",
}
BEFORE_CODE = "    barrier();\n    paint_stack();\n"
TRAP_UNALIGNED = "    REGISTER(0xE000ED14) |= 1u << 3; /* CCR.UNALIGN_TRP */\n"

pytestmark = [
    pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs gcc-arm-none-eabi"),
    pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm"),
]


@pytest.fixture(params=["mps2_an500", *CORES])
def device(request: pytest.FixtureRequest, tmp_path: Path, boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    name = request.param
    if name in CORES:
        boards_dir = tree_with(name, tmp_path / "boards", boards_dir)
        name = "mps2_an386"
    with open_device(f"{name.replace('_', '-')}@qemu", boards_dir=boards_dir, build_dir=build_dir) as opened:
        yield opened


def tree_with(core: str, tree: Path, boards_dir: Path) -> Path:
    """The sources, with the AN386's description changed to another core without an FPU."""
    shutil.copytree(boards_dir, tree)
    description = tree / "mps2_an386" / "board.toml"
    text = description.read_text()
    flags = '"-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"'
    assert flags in text and 'core = "cortex-m4"' in text and 'machine = "mps2-an386"' in text
    text = text.replace(flags, f'"-mcpu={core}", "-mthumb", "{SOFT}"').replace('core = "cortex-m4"', f'core = "{core}"')
    description.write_text(text.replace('machine = "mps2-an386"', f'machine = "{CORES[core]}"'))
    if core == "cortex-m0plus":
        startup = tree / "cortex_m" / "startup.c"
        assert BEFORE_CODE in startup.read_text()
        startup.write_text(startup.read_text().replace(BEFORE_CODE, TRAP_UNALIGNED + BEFORE_CODE))
    return tree


@pytest.fixture(scope="module")
def cases() -> list[tuple[Plan, Int8, Int8]]:
    """Plans, inputs and answers: two layers by each of our own kernels, and networks of most operators."""
    cases = []
    for kind in KINDS:
        drawn = [x for x in (draw(kind, seed) for seed in range(20)) if x.kernels == "dsp" or kind == "max_pool"]
        cases += [(x.plan, x.inputs[2:], x.expected[2:]) for x in drawn[:2]]
    for network in (cell_network(1), cell_network(3), ds_cnn(channels=20, blocks=1)):
        graph, inputs = random_graph(network, 1), random_inputs(np.random.default_rng(5), 2, network.input_shape)
        cases.append((lower(graph), inputs, Tflm(write_tflite(graph)).run(inputs).reshape(2, -1)))
    return cases


def test_its_bits_are_tflms(device: Device, cases: list[tuple[Plan, Int8, Int8]]) -> None:
    assert len(cases) == 2 * len(KINDS) + 3
    for plan, inputs, expected in cases:
        assert np.array_equal(on_board(device)(plan, inputs), expected), plan.operators


def test_its_features_are_the_hosts(device: Device, boards_dir: Path, build_dir: Path) -> None:
    host = HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))
    clips = np.concatenate([chirps(1), hard_clips()[1:3]])
    for config in (Mfcc(400, 200, 40, 13), Mfcc(401, 997, 23, 12, fft_points=256), LogMel(101, 997, 7)):
        blob = config.blob(0.31, 7)
        device.load_front_end(blob, "ram")
        for clip, expected in zip(clips, host.features(blob, clips), strict=True):
            device.set_audio(clip)
            device.run("frontend", 0, 1)
            assert np.array_equal(device.read("features"), expected.ravel()), config
