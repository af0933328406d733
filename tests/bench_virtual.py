"""Prints how fast the virtual board executes: millions of instructions per second of processor time.

    python tests/bench_virtual.py

A depthwise and a pointwise layer in the manner of CMSIS-NN, weights in flash, with the cycle counter on and off.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from virtual_programs import C_START, compile_program, power_on, run_to_breakpoint

from hil_nas.device.virtual.timing import build_timing_library

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 60

LAYERS = r"""
#define PIXELS 125
#define CHANNELS 64
static const int8_t pointwise[CHANNELS][CHANNELS] = {{1, 2, 3}, {4, 5, 6}}, depthwise[9][CHANNELS] = {{1, -1}};
static int8_t input[PIXELS * CHANNELS], output[PIXELS * CHANNELS];
static inline int8_t requantise(int32_t sum) {
    int32_t value = (int32_t)(((int64_t)sum * 1518500250 + (1 << 30)) >> 31) >> 5;
    return (int8_t)(value > 127 ? 127 : value < -128 ? -128 : value);
}
__attribute__((noinline)) static void points(void) {
    for (int p = 0; p < PIXELS; ++p)
        for (int c = 0; c < CHANNELS; ++c) {
            int32_t sum = c;
            for (int i = 0; i < CHANNELS; ++i) sum += input[p * CHANNELS + i] * pointwise[c][i];
            output[p * CHANNELS + c] = requantise(sum);
        }
}
__attribute__((noinline)) static void depths(void) {
    for (int p = 0; p < PIXELS - 9; ++p)
        for (int c = 0; c < CHANNELS; ++c) {
            int32_t sum = c;
            for (int i = 0; i < 9; ++i) sum += output[(p + i) * CHANNELS + c] * depthwise[i][c];
            input[p * CHANNELS + c] = requantise(sum);
        }
}
void run(void) {
    DEMCR |= 1 << 24; DWT_CTRL |= COUNTING;
    for (int i = 0; i < REPEATS; ++i) { points(); depths(); }
    DWT_CTRL &= ~1u;
}
"""


def seconds(counting: int, repeats: int, folder: Path) -> tuple[float, int]:
    """Processor time, and instructions where they are counted."""
    flags = ["-O3", f"-DCOUNTING={counting}", f"-DREPEATS={repeats}"]
    elf = compile_program(folder, C_START + LAYERS, flags=flags)
    machine = power_on(elf, build_timing_library(ROOT / "boards", ROOT / "build"))
    start_s = time.process_time()
    run_to_breakpoint(machine, 300)
    return time.process_time() - start_s, machine.counts().instructions


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        with_s, instructions = seconds(1, REPEATS, Path(folder))
        without_s, _ = seconds(0, REPEATS, Path(folder))
    print(f"instructions                {instructions / 1e6:8.1f} M")
    print(f"cycle counter on            {instructions / with_s / 1e6:8.1f} M/s")
    print(f"cycle counter off           {instructions / without_s / 1e6:8.1f} M/s")
    print(f"off over on                 {with_s / without_s:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
