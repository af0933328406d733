"""The complex FFT of int16: its errors against numpy's, what does not fit, and the same bits on a Cortex-M4.

`python tests/test_fft.py 20000` compares so many vectors of each size; without a number it prints modelled cycles.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from virtual_programs import C_START, compile_program, library, power_on, run_to_breakpoint, word

from hil_nas.compiling import shared_library
from hil_nas.device.boards import load_board
from hil_nas.device.virtual.port import timing_model
from hil_nas.front_ends.fft import SIZES, fft_place, fft_tables

LARGEST = 32700  # |z| that fft.h promises to take without saturation

Fft = Callable[[NDArray[np.int16]], NDArray[np.complex128]]


@pytest.fixture(scope="module")
def fft(boards_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Fft:
    """int16 (points, 2) to bins in order (points,), by the C source in portable code."""
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    source, include = boards_dir / "src" / "front_ends" / "fft.c", [boards_dir / "include"]
    path = shared_library("fft", tmp_path_factory.mktemp("fft"), [source], [], flags, include=include)
    portable = ctypes.CDLL(str(path))

    def run(values: NDArray[np.int16]) -> NDArray[np.complex128]:
        z, twiddles = np.array(values, np.int16, order="C"), fft_tables(len(values))
        portable.fft_q15(ctypes.c_void_p(z.ctypes.data), len(z), ctypes.c_void_p(twiddles.ctypes.data))
        return as_complex(z[fft_place(len(z))])

    return run


def as_complex(values: NDArray[np.int16]) -> NDArray[np.complex128]:
    """(..., 2) to (...)."""
    return values[..., 0] + 1j * values[..., 1].astype(float)


def as_pairs(z: NDArray[np.complex128]) -> NDArray[np.int16]:
    """Rounded towards 0, so that nothing grows."""
    return np.trunc(np.stack([z.real, z.imag], -1)).astype(np.int16)


def exact(values: NDArray[np.int16]) -> NDArray[np.complex128]:
    return np.fft.fft(as_complex(values)) / len(values)


def errors(fft: Fft, values: NDArray[np.int16]) -> NDArray[np.complex128]:
    return fft(values) - exact(values)


def largest(z: NDArray[np.complex128]) -> float:
    """Of real and imaginary parts."""
    return float(max(abs(z.real).max(), abs(z.imag).max()))


def noise(points: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Anywhere in the disc of what is taken."""
    turn, radius = rng.uniform(0, 2 * np.pi, points), LARGEST * np.sqrt(rng.uniform(0, 1, points))
    return as_pairs(radius * np.exp(1j * turn))


def tone(points: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """A full-scale one of any frequency, between bins or on one, and phase."""
    bins = rng.uniform(0, points) if rng.random() < 0.5 else float(rng.integers(points))
    return as_pairs(LARGEST * np.exp(2j * np.pi * (bins * np.arange(points) / points + rng.random())))


def edges(points: int, rng: np.random.Generator) -> list[NDArray[np.int16]]:
    """Full-scale square waves of every power of two, impulses anywhere, constants, corners at random."""
    n = np.arange(points)
    turns = [LARGEST * np.exp(2j * np.pi * x) for x in (0, 1 / 8, 1 / 4, 0.3, 3 / 8, 1 / 2, 0.9)]
    found = [as_pairs(np.full(points, x)) for x in turns]
    found += [as_pairs(np.where(n == place, x, 0)) for x in turns for place in (0, 1, 7, points // 2, points - 1)]
    for half in 2 ** np.arange(points.bit_length() - 1):
        square = np.where(n // half % 2 == 0, 1.0, -1.0)
        found += [as_pairs(square * x) for x in turns]
        found += [as_pairs(23122 * (square + 1j * np.roll(square, half // 2)))]  # of real samples: two of a pair
    corners = rng.choice([-23122, 23122], (8, points, 2))
    return [*found, *corners.astype(np.int16)]


@pytest.mark.parametrize("points", SIZES)
def test_errors_are_small(fft: Fft, points: int) -> None:
    rng = np.random.default_rng(points)
    loss = 10 * np.log10(points / 64)
    for make, decibels in ((noise, 73.0 - loss), (tone, 75.5 - loss)):
        inputs = [make(points, rng) for _ in range(100)]
        found = np.stack([errors(fft, x) for x in inputs])
        power = np.mean([abs(exact(x)) ** 2 for x in inputs])
        assert largest(found) < 3
        assert np.sqrt(np.mean(abs(found) ** 2)) < 0.64
        assert 10 * np.log10(power / np.mean(abs(found) ** 2)) > decibels
        assert abs(found.mean()) < 0.15


@pytest.mark.parametrize("points", SIZES)
def test_the_extremes_of_what_is_taken_lose_nothing(fft: Fft, points: int) -> None:
    """One saturated step would cost hundreds."""
    for values in edges(points, np.random.default_rng(points)):
        assert abs(as_complex(values)).max() <= LARGEST
        assert largest(errors(fft, values)) < 3


@pytest.mark.parametrize("points", SIZES)
def test_what_does_not_fit_is_saturated(fft: Fft, points: int) -> None:
    """A tone of 46,340 keeps its sign and its size; where sums wrap around, neither is left."""
    n = np.arange(points)
    for bin_number in (0, 1, 3, points // 2, points - 5):
        whole = 46340 * np.exp(2j * np.pi * (bin_number * n / points + 0.2))
        values = np.stack([whole.real, whole.imag], -1).clip(-32768, 32767).astype(np.int16)
        strongest = fft(values)[bin_number]
        assert abs(strongest - exact(values)[bin_number]) < 8000


def test_each_bin_stands_at_its_place_and_small_tables_begin_large_ones() -> None:
    for points in SIZES:
        places = fft_place(points)
        digits = f"0{points.bit_length() - 1}b"
        assert [int(f"{k:{digits}}"[::-1], 2) for k in range(points)] == places.tolist()
        assert np.array_equal(fft_tables(points), fft_tables(1024)[: points // 8])


def test_other_sizes_are_left_alone(fft: Fft) -> None:
    values = np.arange(64, dtype=np.int16).reshape(32, 2)
    assert np.array_equal(fft(values), as_complex(values[fft_place(32)]))


VECTORS = r"""
#include "fft.c"

static uint32_t state;

static uint32_t drawn(void)
{
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state;
}

static int16_t extreme(void) { return drawn() >> 16 & 1 ? INT16_MAX : INT16_MIN; }

/* Noise of all levels, extremes, full-scale square waves, impulses, constants, extremes in silence. */
static void fill(int16_t *z, uint32_t points, uint32_t number)
{
    state = 2654435761u * (number + 1);
    const uint32_t kind = number % 8, level = drawn() % 16, half = drawn() % 11, place = drawn() % (2 * points);
    const int16_t high[2] = {extreme(), extreme()};
    for (uint32_t i = 0; i < 2 * points; i++)
        z[i] = kind == 0   ? (int16_t)drawn()
               : kind == 1 ? extreme()
               : kind == 2 ? (int16_t)(i >> 1 >> half & 1 ? ~high[i & 1] : high[i & 1])
               : kind == 3 ? (int16_t)(i == place ? high[0] : 0)
               : kind == 4 ? high[i & 1]
               : kind == 5 ? (int16_t)((int16_t)drawn() >> level)
               : kind == 6 ? (int16_t)(drawn() >> 16 & 15 ? 0 : extreme())
                           : (int16_t)((drawn() >> 16 & 1 ? 23122 : -23122) + (int32_t)(drawn() & 7));
}

static int16_t z[2048], twiddles[2048];

/* FNV-1a of the outputs of `count` vectors; every ninth has twiddles that are none. */
uint32_t checksum(uint32_t points, uint32_t count)
{
    uint32_t sum = 2166136261u;
    for (uint32_t number = 0; number < count; number++) {
        for (uint32_t i = 0; i < 14 * points / 8; i++)
            twiddles[i] = number % 9 == 8 ? extreme() : table[i];
        fill(z, points, number);
        fft_q15(z, points, twiddles);
        for (uint32_t i = 0; i < 2 * points; i++)
            sum = (sum ^ (uint16_t)z[i]) * 16777619u;
    }
    return sum;
}
"""

ON_VIRTUAL = """
void run(void)
{
    R(0xE000ED88) |= 0xF << 20;
    for (uint32_t points = 64, i = 0; points <= 1024; points *= 2)
        result[i++] = checksum(points, COUNT);
}
"""

ON_QEMU = r"""
static void semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}
void run(void)
{
    R(0xE000ED88) |= 0xF << 20;
    for (uint32_t points = 64; points <= 1024; points *= 2) {
        const uint32_t sum = checksum(points, COUNT);
        char text[10];
        for (int i = 0; i < 8; i++)
            text[i] = "0123456789abcdef"[sum >> (28 - 4 * i) & 15];
        text[8] = '\n', text[9] = 0;
        semihosting(4, text);
    }
    semihosting(0x18, (const void *)0x20026);
}
"""

MEASURED = """
#include "fft.c"
static int16_t z[2048], in_ram[14 * 128];
void run(void)
{
    R(0xE000ED88) |= 0xF << 20;
    DEMCR |= 1 << 24;
    FLASH(0) = 0x605;
    DWT_CTRL |= 1;
    for (uint32_t i = 0; i < 14 * 128; i++)
        in_ram[i] = table[i];
    const int16_t *const twiddles[2] = {in_ram, table};
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t turn = 0; turn < 2; turn++) { /* the second with what it finds in the caches */
            for (uint32_t i = 0; i < 2048; i++)
                z[i] = (int16_t)(i * 7919);
            if (turn)
                fft_q15(z, POINTS, twiddles[k]);
            const uint32_t before = CYCCNT;
            fft_q15(z, POINTS, twiddles[k]);
            result[k] = CYCCNT - before;
        }
    DWT_CTRL &= ~1u;
}
"""


def table() -> str:
    return f"static const int16_t table[] = {{{', '.join(map(str, fft_tables(1024).ravel()))}}};\n"


def flags(boards_dir: Path, *more: str) -> list[str]:
    return ["-std=gnu11", "-O2", f"-I{boards_dir / 'include'}", f"-I{boards_dir / 'src' / 'front_ends'}", *more]


def checksums_here(folder: Path, boards_dir: Path, count: int, *more: str) -> list[int]:
    """By the portable code, in a program of its own, so that sanitizers may end it."""
    main = """
#include <stdio.h>
int main(void)
{
    for (uint32_t points = 64; points <= 1024; points *= 2)
        printf("%08x\\n", (unsigned)checksum(points, COUNT));
}
"""
    source, program = folder / "checksums.c", folder / "checksums"
    source.write_text("#include <stdint.h>\n" + table() + VECTORS + main)
    options = flags(boards_dir, f"-DCOUNT={count}", *more)
    subprocess.run(["gcc", *options, str(source), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(x, 16) for x in done.stdout.split()]


def checksums_on_the_virtual_board(folder: Path, boards_dir: Path, build_dir: Path, count: int) -> list[int]:
    source = C_START + table() + VECTORS + ON_VIRTUAL
    elf = compile_program(folder, source, flags=flags(boards_dir, f"-DCOUNT={count}"))
    machine = power_on(elf, library(boards_dir, build_dir))
    run_to_breakpoint(machine, limit_s=600)
    return [word(machine, "result", i) for i in range(len(SIZES))]


def checksums_on_qemu(folder: Path, boards_dir: Path, count: int, machine: str) -> list[int]:
    source = C_START + table() + VECTORS + ON_QEMU
    elf = compile_program(folder, source, flags=flags(boards_dir, f"-DCOUNT={count}"), flash="0x00000000")
    command = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none", "-nodefaults"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return [int(x, 16) for x in done.stderr.splitlines()[-len(SIZES) :]]  # behind its warnings


def modelled_cycles(folder: Path, boards_dir: Path, build_dir: Path, points: int) -> tuple[int, int]:
    """On the virtual NUCLEO-L4R5ZI, warm: twiddles in RAM, and in flash."""
    source = C_START + table() + MEASURED
    elf = compile_program(folder, source, flags=flags(boards_dir, f"-DPOINTS={points}"))
    timing = load_board("nucleo-l4r5", boards_dir).timing
    assert timing is not None
    machine = power_on(elf, library(boards_dir, build_dir), timing_model(timing))
    run_to_breakpoint(machine)
    return word(machine, "result", 0), word(machine, "result", 1)


def test_the_portable_code_is_defined_for_whatever_it_is_given(tmp_path: Path, boards_dir: Path) -> None:
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert checksums_here(tmp_path, boards_dir, 64, *sanitizers) == checksums_here(tmp_path, boards_dir, 64, "-O3")


def test_a_cortex_m4_gives_the_same_bits(tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    here = checksums_here(tmp_path, boards_dir, 256)
    assert len(set(here)) == len(SIZES)
    assert checksums_on_the_virtual_board(tmp_path, boards_dir, build_dir, 256) == here


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm: apt-get install it")
@pytest.mark.parametrize("machine", ["mps2-an386", "mps2-an500"])
def test_qemus_cortex_m4_and_m7_give_the_same_bits(machine: str, tmp_path: Path, boards_dir: Path) -> None:
    assert checksums_on_qemu(tmp_path, boards_dir, 256, machine) == checksums_here(tmp_path, boards_dir, 256)


@pytest.mark.parametrize(
    ("points", "most"),
    [(64, (1200, 1350)), (128, (3150, 3450)), (256, (6650, 7250)), (512, (14700, 15900)), (1024, (34600, 37500))],
)
def test_modelled_cycles_stay_low(
    points: int, most: tuple[int, int], tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    in_ram, in_flash = modelled_cycles(tmp_path, boards_dir, build_dir, points)
    assert in_ram < most[0] and in_flash < most[1]


def main(count: int | None) -> None:
    boards_dir, build_dir = (Path(__file__).resolve().parent.parent / x for x in ("boards", "build"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if count is None:
            for points in SIZES:
                print(points, "points:", *modelled_cycles(folder, boards_dir, build_dir, points), "cycles (RAM, flash)")
            return
        here = checksums_here(folder, boards_dir, count)
        virtual = checksums_on_the_virtual_board(folder, boards_dir, build_dir, count)
        qemu = checksums_on_qemu(folder, boards_dir, count, "mps2-an386")
        for points, *sums in zip(SIZES, here, virtual, qemu, strict=True):
            same = "the same" if len(set(sums)) == 1 else "OTHERS"
            print(f"{points} points, {count} vectors: {same} bits here, on the virtual board and in QEMU")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
