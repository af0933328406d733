"""QEMU as a second opinion on what the virtual board executes: results to the bit, instructions to the last."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from virtual_programs import C_START, compile_program, library, power_on, run_to_breakpoint, word

from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device.hosts import check, start
from hil_nas.network import Layer, Network

INSTRUCTION_NS = 64  # -icount shift=6
SYSTICK_NS = 40  # the mps2-an386's processor runs at 25 MHz
REPEATS = (3, 40)

KERNELS = Network(
    (49, 10, 1),
    (
        Layer("conv", (-1,), 8, kernel=(5, 3), stride=(2, 1), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), relu=True),
        Layer("conv", (1,), 8, relu=True),
        Layer("add", (0, 2)),
        Layer("concatenation", (3, 1)),
        Layer("max_pool", (4,), kernel=(2, 2), stride=(2, 2)),
        Layer("average_pool", (5,), kernel=(13, 5), stride=(13, 5), padding="valid"),
        Layer("fully_connected", (6,), 12),
    ),
)
WORK = r"""
static volatile uint8_t memory[1024];
static const uint16_t table[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
__attribute__((noinline)) static uint32_t branchy(uint32_t x) {
    switch (x % 7) {
    case 0: return x + 3;
    case 1: return x / 5;
    case 2: return x ^ table[x & 15];
    case 3: return (uint32_t)((int32_t)x / -3);
    case 4: return x << (x & 7);
    case 5: return (uint32_t)__builtin_popcount(x);
    default: return x > 1000000 ? x - 999999 : x * 17;
    }
}
__attribute__((noinline)) static uint32_t work(uint32_t repeats) {
    uint32_t sum = 1;
    float f = 0.5f;
    for (uint32_t i = 0; i < repeats * 97; ++i) {
        sum = branchy(sum + i * 2654435761u);
        memory[sum & 1023] += (uint8_t)i;
        sum += memory[(sum >> 7) & 1023];
        if ((sum & 3) == 1) sum = sum * 3 + 1;
        f = f * 1.25f + (float)(sum & 255) / 3.0f;
        if (f > 1e6f) f = __builtin_sqrtf(f);
        int32_t wide = (int32_t)((int64_t)(int32_t)sum * 12345 >> 20);
        sum ^= (uint32_t)(wide > 127 ? 127 : wide < -128 ? -128 : wide);
    }
    union { float f; uint32_t u; } bits = {f};
    return sum ^ bits.u;
}
"""

ON_VIRTUAL = (
    C_START
    + WORK
    + """
void run(void) {
    R(0xE000ED88) |= 0xF << 20; DEMCR |= 1 << 24;
    for (int i = 0; i < 1024; ++i) memory[i] = 0;
    DWT_CTRL |= 1;
    result[0] = work(REPEATS);
    DWT_CTRL &= ~1u;
}
"""
)

ON_QEMU = (
    C_START
    + WORK
    + """
static char text[32];
static void semihosting(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}
static void hex(char *to, uint32_t value) {
    for (int i = 0; i < 8; ++i) to[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
}
void run(void) {
    R(0xE000ED88) |= 0xF << 20;
    for (int i = 0; i < 1024; ++i) memory[i] = 0;
    R(0xE000E014) = 0xFFFFFF; R(0xE000E018) = 0; STK_CTRL = 5;
    uint32_t before = R(0xE000E018);
    uint32_t value = work(REPEATS);
    uint32_t after = R(0xE000E018);
    hex(text, (before - after) & 0xFFFFFF); text[8] = ' '; hex(text + 9, value); text[17] = '\\n'; text[18] = 0;
    semihosting(4, text);
    semihosting(0x18, (const void *)0x20026);
}
"""
)


def on_qemu(elf: Path) -> tuple[float, int]:
    """Instructions between two reads of SysTick, and the result."""
    command = ["qemu-system-arm", "-M", "mps2-an386", "-icount", "shift=6", "-display", "none", "-monitor", "none"]
    command += ["-nodefaults", "-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    ticks, value = (int(x, 16) for x in done.stderr.splitlines()[-1].split())
    return ticks * SYSTICK_NS / INSTRUCTION_NS, value


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm: apt-get install it")
@pytest.mark.parametrize("level", ["-O3", "-Os"])
def test_qemu_finds_the_same_result_in_as_many_instructions(
    level: str, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    ours, theirs = [], []
    for repeats in REPEATS:
        flags = [level, f"-DREPEATS={repeats}"]
        machine = power_on(compile_program(tmp_path, ON_VIRTUAL, flags=flags), library(boards_dir, build_dir))
        run_to_breakpoint(machine)
        ours.append(machine.counts().instructions)
        instructions, value = on_qemu(compile_program(tmp_path, ON_QEMU, flags=flags, flash="0x00000000"))
        theirs.append(instructions)
        assert value == word(machine, "result")
    assert ours[1] - ours[0] > 50_000
    assert abs((ours[1] - ours[0]) - (theirs[1] - theirs[0])) <= 3  # SysTick's grain is 1.6 instructions


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm: apt-get install it")
def test_the_firmware_runs_a_network_in_as_many_instructions_on_both(boards_dir: Path, build_dir: Path) -> None:
    """The sources of two boards, CMSIS-NN's kernels, one plan: the same bits, and the same path through them."""
    plan = lower(random_graph(KERNELS, 4)).to_bytes()
    values = np.random.default_rng(3).integers(-128, 128, 490, dtype=np.int8)
    outputs, instructions = [], []
    for target in ("nucleo-l4r5@virtual", "mps2-an386@qemu"):
        started = start(target, boards_dir=boards_dir, build_dir=build_dir)
        with check(started) as device:
            device.load_plan(plan)
            device.set_input(values)
            if target.endswith("@qemu"):
                instructions.append(device.run("network", 0, 1).network_cycles[0])
            else:
                counted = started.running.port.machine.counts
                marks = [counted().instructions]
                for runs in (1, 2):  # each with one run more, for the operators
                    device.run("network", 0, runs)
                    marks.append(counted().instructions)
                instructions.append(marks[2] - marks[1] - (marks[1] - marks[0]))
            outputs.append(device.read("output"))
    assert np.array_equal(*outputs) and len(set(outputs[0])) > 5
    assert 300_000 < instructions[1] < 400_000
    assert 0 <= instructions[0] - instructions[1] <= 10  # at the counter's own switch
