"""What the host says of a board's limits against the firmware itself: the largest that fits, and one step more."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from board_hosts import TARGETS
from h743_machine import Machine

from hil_nas.budget import Budget
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.cost.arena import aligned, arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.boards import load_board
from hil_nas.device.device import Device
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.device.link import Link
from hil_nas.device.replies import Where
from hil_nas.errors import InfeasibleError, InputError, RefusedError, UnsupportedError
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Limits
from hil_nas.nas.spaces import KINDS
from hil_nas.network import INPUT, Layer, Network
from hil_nas.operators.lowering import CONSTANT_ALIGNMENT_BYTES, constant_room
from hil_nas.progress import silent
from hil_nas.report.page import search_page
from hil_nas.workflows import measurement_plan, profile
from hil_nas.workflows.baseline import run_baseline
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.fitting import fits, front_end_ram_bytes
from hil_nas.workflows.footprint import measure_footprint
from hil_nas.workflows.search import run_search
from hil_nas.workflows.verify import Bench, Model
from tests.tones import KEYWORDS, write_tones

STAND_IN = pytest.param(
    "nucleo-h743zi",  # the image for silicon, on the part's registers in this process
    marks=pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc: make setup"),
)
WIDEST = Mfcc(2048, 1000, 80, 80)  # of those that are measured: no FFT is larger
STEP_BYTES = 16  # of an arena


@pytest.fixture(scope="module", params=[*TARGETS, STAND_IN])
def device(request: pytest.FixtureRequest, boards_dir: Path, build_dir: Path) -> Iterator[Device]:
    with opened(str(request.param), boards_dir, build_dir) as device:
        yield device


def opened(target: str, boards_dir: Path, build_dir: Path) -> Device:
    if "@" in target:
        return open_device(target, boards_dir=boards_dir, build_dir=build_dir)
    elf = build_firmware(target.replace("-", "_"), boards_dir, build_dir, find_third_party()).elf
    return Device(Link(Machine(elf)), "serial", "instructions")


def squeezed(pixels: int, channels: int) -> Network:
    """A column of pixels widened, then averaged: its arena is that of the first layer's input, output and scratch."""
    return Network((pixels, 1, 1), (
        Layer("conv", (INPUT,), channels),
        Layer("average_pool", (0,), kernel=(pixels, 1), stride=(pixels, 1), padding="valid"),
        Layer("fully_connected", (1,), 3),
    ))  # fmt: skip


def filling(room_bytes: int, channels: range, weights: Where = "flash") -> Network:
    """One whose arena, with its plan where that is in RAM, takes exactly so much."""
    for width in channels:
        plan = aligned(plan_bytes(squeezed(2, width))) if weights == "ram" else 0
        scratch = arena_bytes(squeezed(1024, width)) - 1024 * (1 + width)
        about = (room_bytes - plan - scratch) // (width + 1)
        for pixels in range(about - STEP_BYTES, about + 1):
            if plan + arena_bytes(squeezed(pixels, width)) == room_bytes:
                return squeezed(pixels, width)
    raise AssertionError(f"no network fills {room_bytes} bytes")


def storing(size_bytes: int) -> Network:
    """One whose plan has exactly so many bytes."""
    for classes in range(40, 200):
        rest = plan_bytes(_dense(MANY, classes)) - constant_room(MANY * classes)  # all but the weights
        network = _dense((size_bytes - rest) // classes, classes)
        if plan_bytes(network) == size_bytes:
            return network
    raise AssertionError(f"no plan has {size_bytes} bytes")


MANY = 2000  # inputs: more than our own kernel takes, as of all of these


def _dense(elements: int, classes: int) -> Network:
    return Network((elements, 1, 1), (Layer("fully_connected", (INPUT,), classes),))


def accepts(device: Device, network: Network, weights: Where = "flash") -> bool:
    try:
        info = device.load_plan(lower(random_graph(network, 0)).to_bytes(), weights)
    except RefusedError:
        return False
    assert info.arena_bytes == arena_bytes(network) and info.input_bytes == prod(network.input_shape)
    return True


@pytest.mark.parametrize("weights", ["flash", "ram"])
@pytest.mark.parametrize("beside", [None, WIDEST, Mfcc(400, 100, 40, 13)], ids=str)
def test_the_ram_that_a_board_takes(device: Device, beside: Mfcc | None, weights: Where) -> None:
    """At the limit and around it, networks of many widths: both say the same of every one."""
    identity = device.identify()
    device.unload("plan")
    device.unload("frontend")
    if beside is not None:
        info = device.load_front_end(beside.blob(0.6, 20))
        assert info.scratch_bytes == beside.scratch_bytes
    room = identity.pool_bytes - (front_end_ram_bytes(beside) if beside else 0)
    random = np.random.default_rng(4)
    least = room // identity.input_bytes + 1
    for steps in (0, 1, *map(int, random.integers(-3, 4, 4))):
        first = int(random.integers(least, 2 * least + 40))
        network = filling(room + STEP_BYTES * steps, range(first, first + 400), weights)
        assert fits(network, identity, beside, weights) == (steps <= 0)
        assert accepts(device, network, weights) == (steps <= 0)
    device.unload("frontend")
    assert accepts(device, filling(identity.pool_bytes, range(least, least + 400)))


def test_the_largest_input(device: Device) -> None:
    most = device.identify().input_bytes
    for elements in (most, most + 1):
        network = squeezed(elements, 1)
        assert fits(network, device.identify()) == accepts(device, network) == (elements == most)
    assert accepts(device, squeezed(most, 1))
    values = np.random.default_rng(1).integers(-128, 128, most, dtype=np.int8)
    device.set_input(values)
    assert np.array_equal(device.read("input"), values)
    with pytest.raises(RefusedError, match=str(most)):
        device.set_input(np.zeros(most + 1, np.int8))


@pytest.mark.parametrize("target", ["native@native", STAND_IN])  # a megabyte takes emulators a minute
def test_the_largest_plan(target: str, boards_dir: Path, build_dir: Path) -> None:
    with opened(target, boards_dir, build_dir) as device:
        identity = device.identify()
        for over in (0, CONSTANT_ALIGNMENT_BYTES):
            network = storing(identity.store_bytes + over)
            assert fits(network, identity) == accepts(device, network) == (over == 0)


def test_the_most_operators(device: Device) -> None:
    one, more = (Network((1, 1, 4), tuple(Layer("softmax", (i - 1,)) for i in range(x))) for x in (256, 257))
    identity = device.identify()
    assert fits(one, identity) and accepts(device, one)
    assert not fits(more, identity)
    with pytest.raises(UnsupportedError, match="256 operators"):
        lower(random_graph(more, 0))


def test_limits_of_a_search_are_what_the_board_takes(device: Device) -> None:
    """The largest product by RAM: its network is taken beside its own front end, and soon none is beside any."""
    identity, configs = device.identify(), (WIDEST, Mfcc(400, 100, 40, 13))
    footprint = measure_footprint(device, configs)
    most_ram, most_flash = footprint.most_bytes(identity)
    channels = range(identity.pool_bytes // identity.input_bytes + 1, 400)
    for config in configs:
        beside = footprint.front_end_ram_bytes[config]
        room = (most_ram - footprint.ram_bytes - beside) // STEP_BYTES * STEP_BYTES
        largest, larger = filling(room, channels), filling(room + 3 * STEP_BYTES, channels)
        assert footprint.ram(largest, config) <= most_ram < footprint.ram(larger, config)
        device.load_front_end(config.blob(0.6, 20))
        assert fits(largest, identity, config) and accepts(device, largest)
        assert not fits(larger, identity, config) and not accepts(device, larger)
    assert footprint.flash(storing(identity.store_bytes), configs[0]) > most_flash


def test_a_search_without_a_budget_has_the_boards_own_limits(
    boards_dir: Path, build_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_board: list[Limits] = []

    def stop(cost_table: object, limits: Limits) -> None:
        by_board.append(limits)
        raise InfeasibleError("far enough")

    monkeypatch.setitem(KINDS, "tiny", replace(KINDS["tiny"], feasible=stop))
    monkeypatch.chdir(boards_dir.parent)
    config = SearchConfig("nucleo-l4r5@virtual", grid=(Mfcc(640, 320, 40, 10),))
    where = Folders(boards_dir, build_dir, boards_dir.parent / "latency_models", tmp_path)
    for budget in (Budget(), Budget(10**9, 10**9), Budget(10**5, 10**5)):
        with pytest.raises(InfeasibleError, match="far enough"):
            run_search(replace(config, budget=budget), where, name="", resume=False, page=search_page, progress=silent)
    memory = load_board("nucleo_l4r5", boards_dir).memory
    assert by_board[0] == by_board[1] and by_board[2] == Limits(None, 10**5, 10**5)
    bank_bytes = memory.flash_bytes // 2  # one for the image, one for the store
    assert 0.9 * memory.ram_bytes < (by_board[0].ram_bytes or 0) < memory.ram_bytes
    assert 0.9 * bank_bytes < (by_board[0].flash_bytes or 0) < 2 * bank_bytes
    many = replace(config, grid=(*config.grid, Mfcc(400, 32, 80, 57)))
    with pytest.raises(InputError, match="400/32/80/57 gives 488 x 57 features, .* at most 27648"):
        run_search(many, where, name="", resume=False, page=search_page, progress=silent)
    assert not list(tmp_path.iterdir())


def test_a_published_network_that_the_board_does_not_take_is_not_trained(
    boards_dir: Path, build_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").mkdir()
    write_tones(tmp_path / "words")
    identify = Device.identify
    monkeypatch.setattr(Device, "identify", lambda x, **how: replace(identify(x, **how), pool_bytes=40_000))
    config = BaselineConfig("micronet-kws-s", "native@native", words=KEYWORDS, data=str(tmp_path / "words"))
    where = Folders(boards_dir, build_dir, tmp_path, tmp_path / "runs")
    with pytest.raises(InfeasibleError, match="micronet-kws-s with 5 classes does not fit native@native"):
        run_baseline(config, where, resume=False, page=search_page, progress=silent)
    assert not (tmp_path / "runs").exists()


def test_what_a_board_held_before_does_not_count(boards_dir: Path, build_dir: Path) -> None:
    """The front end of an earlier product leaves room for a model without one, and its RAM is not this one's."""
    host = HostFrontEnd(build_host_library(boards_dir, build_dir))
    with open_device("native@native", boards_dir=boards_dir, build_dir=build_dir) as device:
        full = filling(device.identify().pool_bytes, range(50, 400))
        device.load_front_end(WIDEST.blob(0.6, 20))
        Bench(device, Model.read(write_tflite(random_graph(full, 0))), host)
        used = device.memory()
    assert used.arena_bytes == arena_bytes(full)
    assert used.audio_bytes == used.front_end_scratch_bytes == used.front_end_tables_bytes == 0


@pytest.mark.parametrize("target", ["native@native", STAND_IN])
def test_a_profile_measures_what_takes_all_of_the_ram(
    target: str, boards_dir: Path, build_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a board where a plan is left from before, and with the widest front end measured just before."""
    with opened(target, boards_dir, build_dir) as device:
        identity = device.identify()
        full = filling(identity.pool_bytes, range(50, 400))
        drawn = [full, filling(identity.pool_bytes + STEP_BYTES, range(50, 400)), measurement_plan.smallest()[0]]
        assert accepts(device, full)
        monkeypatch.setattr(profile, "open_device", lambda target, **where: device)
        monkeypatch.setattr(measurement_plan, "front_ends", lambda: (Mfcc(400, 100, 40, 13), WIDEST))
        monkeypatch.setattr(measurement_plan, "networks", lambda count, seed, takes: [x for x in drawn if takes(x)])
        where: dict[str, Any] = {"boards_dir": boards_dir, "build_dir": build_dir, "models_dir": tmp_path}
        monkeypatch.setattr(profile, "held_out_errors", lambda rows: {})  # of two networks there are none
        done = profile.profile(target, networks=3, **where)
    assert (done.measured_networks, done.front_ends) == (2, 2)
