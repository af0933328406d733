"""A model of MLPerf Tiny's shape on every host: TensorFlow Lite Micro's bits, and as many instructions everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from board_hosts import TARGETS
from keyword_model import quantised_clips

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Where
from hil_nas.device.run_counts import RunCounts

QEMU_M4, QEMU_M7 = "mps2-an386@qemu", "mps2-an500@qemu"
CLIPS = 20


@pytest.mark.renode
@pytest.mark.parametrize(
    ("renode", "qemu"), [("nucleo-l4r5@renode", QEMU_M4), ("nucleo-h743zi@renode", QEMU_M7)]
)
def test_renode_and_qemu_count_the_same_instructions(
    renode: str, qemu: str, kws_model: bytes, boards_dir: Path, build_dir: Path
) -> None:
    """Two emulators that share nothing, an image of its own for each; only how the counter is read differs."""
    one, other = (counted(x, kws_model, boards_dir, build_dir) for x in (renode, qemu))
    differences = [y.cycles - x.cycles for x, y in zip(one.operators, other.operators, strict=True)]
    assert max(differences) - min(differences) <= 2 and 0 <= max(differences) < 20  # QEMU's timer ticks every 5/8
    assert 0 <= other.network_cycles[0] - one.network_cycles[0] < 20
    assert 3_000_000 < one.network_cycles[0] < 4_000_000 and one.network_cycles[0] == one.network_cycles[1]


def counted(target: str, model: bytes, boards_dir: Path, build_dir: Path) -> RunCounts:
    """Two runs on one clip."""
    with open_device(target, boards_dir=boards_dir, build_dir=build_dir) as device:
        device.load_plan(lower(read_tflite(model)).to_bytes())
        device.set_input(quantised_clips(model, 1, seed=5))
        return device.run("network", warmups=0, runs=2)


@pytest.fixture(scope="module", params=[*TARGETS, QEMU_M7])
def device(request: pytest.FixtureRequest, boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    with open_device(request.param, boards_dir=boards_dir, build_dir=build_dir) as device:
        yield device


@pytest.mark.parametrize("where", ["flash", "ram"])
def test_every_host_gives_the_bits_of_tflm(device: Device, kws_model: bytes, where: Where) -> None:
    plan = lower(read_tflite(kws_model))
    info = device.load_plan(plan.to_bytes(), where)
    assert (info.op_count, info.arena_bytes) == (len(plan.operators), plan.arena_bytes) == (12, 13_472)
    clips = quantised_clips(kws_model, CLIPS, seed=7)
    expected = Tflm(kws_model).run(clips).reshape(CLIPS, -1)
    for clip, scores in zip(clips, expected, strict=True):
        device.set_input(clip)
        counts = device.run("network", warmups=0, runs=1)
        assert np.array_equal(device.read("output"), scores)
    assert len(counts.operators) == info.op_count and counts.front_end_cycles == ()
    assert len(set(expected.argmax(axis=1))) > 4
    use = device.memory()
    assert (use.plan_bytes, use.plan_where, use.arena_bytes) == (len(plan.to_bytes()), where, plan.arena_bytes)
