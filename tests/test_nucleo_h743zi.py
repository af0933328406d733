"""The second board, a Cortex-M7 with caches: the very image for silicon, on Unicorn's M7 with the part's registers.

What stands in for the part (`h743_machine.py`) is ours; what it computes is checked against TensorFlow Lite Micro, and
how many instructions it takes against QEMU's Cortex-M7.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from h743_machine import Machine
from keyword_model import quantised_clips

from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.device.boards import load_board
from hil_nas.device.device import Device
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.device.link import Link
from hil_nas.errors import InputError, RefusedError
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network

ARM = "arm-none-eabi-gcc"
pytestmark = pytest.mark.skipif(shutil.which(ARM) is None, reason=f"needs {ARM}: make setup")
BOARD = "nucleo_h743zi"
BOOT = b"m-timestamp-mode-performance\r\nm-lap-us-"
# Register, value, chapter and register of RM0433 (STM32H743), what it means.
SEQUENCE = (
    ("RCC_CR", 0x000000A7, "RCC, source control register (RCC_CR)", "HSION"),
    ("RCC_CR", 0x000000A7, "RCC, source control register (RCC_CR)", "HSIDIV = 00: 64 MHz"),
    ("PWR_CR3", 0x00000042, "PWR, control register 3 (PWR_CR3)", "LDOEN, no bypass; written once after power-on"),
    ("PWR_D3CR", 0x0000E000, "PWR, D3 domain control register (PWR_D3CR)", "VOS = 11: scale 1, up to 400 MHz"),
    ("FLASH_ACR", 0x00000022, "FLASH, access control register (FLASH_ACR)", "2 wait states, WRHIGHFREQ = 10"),
    ("RCC_D1CFGR", 0x00000048, "RCC, domain 1 clock configuration register", "D1CPRE 1, HPRE 2, D1PPRE 2"),
    ("RCC_D2CFGR", 0x00000440, "RCC, domain 2 clock configuration register", "D2PPRE1 2, D2PPRE2 2"),
    ("RCC_D3CFGR", 0x00000040, "RCC, domain 3 clock configuration register", "D3PPRE 2"),
    ("RCC_PLLCKSELR", 0x02020040, "RCC, PLLs clock source selection register", "HSI / 4; DIVM2 and 3 as reset"),
    ("RCC_PLLCFGR", 0x01F9000C, "RCC, PLLs configuration register", "PLL1RGE = 11: 8 to 16 MHz, wide VCO, DIVP1EN"),
    ("RCC_PLL1DIVR", 0x01010231, "RCC, PLL1 dividers configuration register", "N = 50, P = Q = R = 2"),
    ("RCC_CR", 0x010000A7, "RCC, source control register (RCC_CR)", "PLL1ON"),
    ("RCC_CFGR", 0x00000003, "RCC, clock configuration register (RCC_CFGR)", "SW = 011: PLL1"),
    ("RCC_AHB4ENR", 0x00000008, "RCC, AHB4 clock register (RCC_AHB4ENR)", "GPIODEN"),
    ("GPIOD_AFRH", 0x00000077, "GPIO, alternate function high register", "PD8, PD9: AF7, USART3"),
    ("GPIOD_OSPEEDR", 0x00010000, "GPIO, output speed register", "PD8: medium"),
    ("GPIOD_PUPDR", 0x00040000, "GPIO, pull-up/pull-down register", "PD9: pulled up"),
    ("GPIOD_MODER", 0xFFFAFFFF, "GPIO, mode register", "PD8, PD9: alternate function"),
    ("RCC_D2CCIP2R", 0x00000003, "RCC, domain 2 kernel clock configuration register", "USART234578SEL: HSI"),
    ("RCC_APB1LENR", 0x00040000, "RCC, APB1 clock register (RCC_APB1LENR)", "USART3EN"),
    ("USART3_CR1", 0x00000000, "USART, control register 1", "UE = 0 while the rest is written"),
    ("USART3_CR2", 0x00000000, "USART, control register 2", "one stop bit"),
    ("USART3_CR3", 0x00000000, "USART, control register 3", "no flow control"),
    ("USART3_BRR", 0x0000022C, "USART, baud rate register", "64 MHz / 115200 = 556"),
    ("USART3_CR1", 0x20000000, "USART, control register 1", "FIFOEN, which needs UE = 0"),
    ("USART3_CR1", 0x2000000D, "USART, control register 1", "TE, RE, UE"),
    ("RCC_APB1LENR", 0x00040001, "RCC, APB1 clock register (RCC_APB1LENR)", "TIM2EN"),
    ("TIM2_PSC", 0x000000C7, "TIM2, prescaler", "200 MHz / 200 = 1 MHz"),
    ("TIM2_ARR", 0xFFFFFFFF, "TIM2, auto-reload register", "all 32 bits"),
    ("TIM2_EGR", 0x00000001, "TIM2, event generation register", "UG loads the prescaler"),
    ("TIM2_CR1", 0x00000001, "TIM2, control register 1", "CEN"),
)
OF_THE_CORE = ("CPACR", "CCR", "CSSELR", "ICIALLU", "DCISW", "DEMCR", "DWT_LAR", "DWT_CTRL", "DWT_CYCCNT")


@pytest.fixture(scope="module")
def elf(boards_dir: Path, build_dir: Path) -> Path:
    return build_firmware(BOARD, boards_dir, build_dir, find_third_party()).elf


@pytest.fixture
def machine(elf: Path) -> Machine:
    return Machine(elf)


@pytest.fixture
def device(machine: Machine) -> Iterator[Device]:
    with Device(Link(machine), "serial", "instructions") as device:
        yield device


def boot(machine: Machine) -> bytes:
    return machine.read(10_000)


def test_it_boots_and_says_who_it_is_also_after_a_reset(machine: Machine, device: Device, boards_dir: Path) -> None:
    heard = boot(machine)
    assert heard.startswith(BOOT) and heard.endswith(b"m-init-done\r\nm-ready\r\n")
    board = load_board(BOARD, boards_dir)
    for identity in (device.identify(), device.reset()):
        assert (identity.board, identity.clock_hz, identity.engine) == (BOARD, board.cpu_hz, "plans")
        assert identity.store_bytes == board.memory.flash_bytes // 2 - 128 * 1024  # of which a front end has a sector
    assert machine.core_hz() == board.cpu_hz


def test_the_chip_is_set_up_as_the_reference_manual_asks(machine: Machine) -> None:
    boot(machine)
    of_chip = [(x, hex(y)) for x, y in machine.writes if x not in (*OF_THE_CORE, "USART3_TDR")]
    assert of_chip == [(x, hex(y)) for x, y, _, _ in SEQUENCE]


def test_the_caches_are_emptied_before_they_go_on(machine: Machine) -> None:
    boot(machine)
    names = [x for x, _ in machine.writes]
    ways_and_sets = {way << 30 | index << 5 for way in range(4) for index in range(128)}
    assert machine.invalidated == ways_and_sets and names.count("DCISW") == len(ways_and_sets)
    on = names.index("CCR")
    assert machine.writes[on] == ("CCR", 0x40200 | 3 << 16)
    assert names.index("ICIALLU") < on and max(i for i, x in enumerate(names) if x == "DCISW") < on


@pytest.mark.parametrize(("revision", "written"), [(0x1003, [1]), (0x2001, []), (0x2003, [])])
def test_only_revision_y_reads_axi_sram_one_at_a_time(elf: Path, revision: int, written: list[int]) -> None:
    machine = Machine(elf, revision)
    assert boot(machine).endswith(b"m-ready\r\n")
    assert [value for name, value in machine.writes if name == "AXI_TARG7_FN_MOD"] == written


@pytest.mark.parametrize("where", ["flash", "ram"])
def test_a_model_of_mlperfs_shape_gives_the_bits_of_tflm(
    machine: Machine, device: Device, kws_model: bytes, where: str
) -> None:
    plan = lower(read_tflite(kws_model))
    info = device.load_plan(plan.to_bytes(), where=where)  # type: ignore[arg-type]
    assert (info.op_count, info.arena_bytes) == (len(plan.operators), plan.arena_bytes)
    inputs = quantised_clips(kws_model, 3, seed=7)
    expected = Tflm(kws_model).run(inputs).reshape(3, -1)
    for values, logits in zip(inputs, expected, strict=True):
        device.set_input(values)
        counts = device.run("network", warmups=0, runs=2)
        assert np.array_equal(device.read("output"), logits)
        assert counts.network_cycles[0] == counts.network_cycles[1]
    assert len(set(map(tuple, expected))) > 1
    assert not machine.stale_lines  # no cache holds what stood in flash before


@pytest.mark.parametrize(
    ("cycles_per_us", "cycles", "counted"),
    [
        (400, 3.9e9, True), (400, 4.4e9, False),  # silicon: 2^32 cycles pass in 10.7 s
        (10, 1.2e8, True), (10, 4.2e9, True), (10, 4.4e9, False),  # Renode: in 429 s of its time
    ],
)  # fmt: skip
def test_a_run_is_counted_as_long_as_the_counter_has_not_wrapped(
    elf: Path, cycles_per_us: int, cycles: float, counted: bool
) -> None:
    machine = Machine(elf, cycles_per_us=cycles_per_us)
    network = Network((6, 6, 8), (Layer("conv", (-1,), 8, kernel=(3, 3)),))
    plan = lower(random_graph(network, seed=1))
    with Device(Link(machine), "serial", "instructions") as device:
        device.load_plan(plan.to_bytes(), where="ram")
        device.set_input(np.zeros(plan.input_bytes, np.int8))
        once = device.run("network", warmups=0, runs=1).network_cycles[0]
        machine.cycles_each = round(cycles / once)
        if counted:
            actual = device.run("network", warmups=0, runs=1).network_cycles[0]
            assert actual == pytest.approx(cycles, rel=0.01)
        else:
            with pytest.raises(RefusedError, match="a run takes longer than the cycle counter counts"):
                device.run("network", warmups=0, runs=1)


def test_an_upload_replaces_what_the_store_held(machine: Machine, device: Device, kws_model: bytes) -> None:
    """More than one sector of 128 KiB; what is programmed twice without an erase, the machine refuses."""
    plan = lower(read_tflite(kws_model)).to_bytes()
    front_end = Mfcc(640, 320, 40, 10).blob(0.6, 20)
    device.load_front_end(front_end)
    for _ in range(2):
        device.load_plan(plan)
    device.load_front_end(front_end)
    erased = [value >> 8 & 7 for name, value in machine.writes if name == "FLASH_CR2" and value & 0x84 == 0x84]
    assert erased == [7, 0, 0, 7]
    assert not machine.stale_lines


def test_audio_goes_through_front_end_and_network(
    device: Device, kws_model: bytes, boards_dir: Path, build_dir: Path
) -> None:
    blob = Mfcc(640, 320, 40, 10).blob(0.6, 20)
    audio = np.random.default_rng(2).normal(0, 3000, 16000).astype(np.int16)
    device.load_plan(lower(read_tflite(kws_model)).to_bytes())
    device.load_front_end(blob)
    device.set_audio(audio)
    device.run("all", warmups=0, runs=1)
    host = HostFrontEnd(build_host_library(boards_dir, build_dir)).features(blob, audio[None])
    assert np.array_equal(device.read("features"), host.reshape(-1))
    logits = Tflm(kws_model).run(host.reshape(1, 49, 10, 1))
    assert np.array_equal(device.read("output"), logits.reshape(-1))


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm: apt-get install it")
def test_qemus_cortex_m7_takes_as_many_instructions(
    device: Device, kws_model: bytes, boards_dir: Path, build_dir: Path
) -> None:
    """The two boards differ in nothing that is measured but how the counter is read."""
    plan = lower(read_tflite(kws_model)).to_bytes()
    values = quantised_clips(kws_model, 1, seed=5)
    results = []
    with open_device("mps2-an500@qemu", boards_dir=boards_dir, build_dir=build_dir) as qemu:
        assert (qemu.identify().board, qemu.identify().clock_kind) == ("mps2_an500", "instructions")
        for one in (device, qemu):
            one.load_plan(plan)
            one.set_input(values)
            results.append((one.run("network", warmups=0, runs=1), one.read("output")))
    (ours, our_output), (theirs, their_output) = results
    assert np.array_equal(our_output, their_output)
    differences = [y.cycles - x.cycles for x, y in zip(ours.operators, theirs.operators, strict=True)]
    assert max(differences) - min(differences) <= 2 and max(differences) < 20  # QEMU's timer ticks every 5/8
    assert abs(theirs.network_cycles[0] - ours.network_cycles[0]) < 20


SPOILED = (
    ("nucleo_h743zi/clock.c", "#define ACR_LATENCY 2u", "#define ACR_LATENCY 1u", "faster than its voltage and wait"),
    ("nucleo_h743zi/clock.c", "D3CR_VOS_SCALE1 (3u << 14)", "D3CR_VOS_SCALE1 (1u << 14)", "faster than its voltage"),
    ("nucleo_h743zi/board.c", "RCC_AHB4ENR |= BIT(3);", "RCC_AHB4ENR |= BIT(4);", "GPIOD_AFRH, whose clock is off"),
    ("nucleo_h743zi/board.c", "cortex_m7_unlock_trace();", "", "no cycle counter"),
)


@pytest.mark.parametrize(("file", "good", "bad", "message"), SPOILED)
def test_what_would_not_run_on_silicon_does_not_run_here(
    file: str, good: str, bad: str, message: str, boards_dir: Path, build_dir: Path, tmp_path: Path, elf: Path
) -> None:
    assert elf.is_file()  # its objects are shared
    tree, out = tmp_path / "boards", tmp_path / "build"
    shutil.copytree(boards_dir, tree)
    (out / "firmware").mkdir(parents=True)
    (out / "firmware" / "objects").symlink_to((build_dir / "firmware" / "objects").resolve())
    text = (tree / file).read_text()
    assert good in text
    (tree / file).write_text(text.replace(good, bad))
    machine = Machine(build_firmware(BOARD, tree, out, find_third_party()).elf)
    if message == "no cycle counter":
        machine.stop_after = 2_000_000  # it says why and stops for good
        assert b"e-[stopped: no cycle counter: DWT CYCCNT does not count]" in boot(machine)
        return
    with pytest.raises(AssertionError, match=message):
        boot(machine)


def test_a_board_is_added_by_its_folder_alone(boards_dir: Path) -> None:
    shared = [x for y in ("src", "include", "cortex_m", "virtual") for x in (boards_dir / y).rglob("*.*")]
    package = (boards_dir.parent / "hil_nas").rglob("*.py")
    named = re.compile(r"h743|an386|an500", re.IGNORECASE)
    assert [str(x) for x in (*shared, *package) if named.search(x.read_text(encoding="utf-8"))] == []


def test_where_no_timing_is_known_there_is_no_virtual_board(boards_dir: Path, build_dir: Path) -> None:
    with pytest.raises(InputError, match="does not run on 'virtual'.*nucleo-h743zi@renode"):
        open_device("nucleo-h743zi@virtual", boards_dir=boards_dir, build_dir=build_dir)
