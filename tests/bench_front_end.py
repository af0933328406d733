"""Prints what the front end costs on the virtual NUCLEO-L4R5ZI: instructions and modelled cycles of a clip.

    python tests/bench_front_end.py [mfcc:400/200/40/13 ...]

The firmware runs it, tables in flash, and its own counter gives the cycles.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hil_nas.device.hosts import Started, check, start
from hil_nas.front_ends import FrontEnd, paper_grid, parse_front_end

ROOT = Path(__file__).resolve().parent.parent


def measure(config: FrontEnd, boards_dir: Path, build_dir: Path) -> tuple[int, int]:
    """Instructions and cycles of a clip of noise, caches warm from the one before."""
    started = start("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir)
    noise = np.random.default_rng(0).normal(0, 3000, 16000).astype("<i2")
    with check(started) as device:
        device.load_front_end(config.blob(0.5, 0), where="flash")
        device.set_audio(noise)
        marks = [counted_instructions(started)]
        for runs in (1, 2):
            cycles = device.run("frontend", warmups=0, runs=runs).front_end_cycles
            marks.append(counted_instructions(started))
    return marks[2] - marks[1] - (marks[1] - marks[0]), cycles[-1]


def counted_instructions(started: Started) -> int:
    """Since the board was switched on, while its counter ran."""
    instructions: int = started.running.port.machine.counts().instructions
    return instructions


def main(texts: list[str]) -> None:
    for config in [parse_front_end(text) for text in texts] or list(paper_grid()):
        instructions, cycles = measure(config, ROOT / "boards", ROOT / "build")
        print(f"{str(config):>22} {instructions:>11,} instructions {cycles:>11,} cycles a clip")


if __name__ == "__main__":
    main(sys.argv[1:])
