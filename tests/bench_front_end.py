"""Prints what the front end costs on the virtual NUCLEO-L4R5ZI: modelled cycles of a clip, and of a frame by stage.

    python tests/bench_front_end.py [mfcc:400/200/40/13 ...]

The firmware runs it, and its own counter gives the cycles.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hil_nas.device.hosts import open_device
from hil_nas.device.replies import Where
from hil_nas.device.run_counts import RunCounts
from hil_nas.front_ends import FrontEnd, parse_front_end, search_grid

ROOT = Path(__file__).resolve().parent.parent


def measure(config: FrontEnd, boards_dir: Path, build_dir: Path, where: Where) -> RunCounts:
    """Counts of a clip of noise, caches warm from the one before.

    Args:
        where: its tables lie.
    """
    noise = np.random.default_rng(0).normal(0, 3000, config.clip.samples).astype(np.int16)
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as device:
        device.load_front_end(config.blob(0.3, 0), where)
        device.set_audio(noise)
        return device.run("frontend", warmups=1, runs=1)


def main(texts: list[str]) -> None:
    for config in [parse_front_end(text) for text in texts] or search_grid():
        for where in ("ram", "flash"):
            counts = measure(config, ROOT / "boards", ROOT / "build", where)
            stages = ", ".join(f"{name} {cycles / config.frames:,.0f}" for name, cycles in counts.stages)
            print(f"{str(config):>26} {where:>5} {counts.front_end_cycles[-1]:>9,} cycles; a frame: {stages}")
        print(f"{'':>26} tables {len(config.blob(0.3, 0)):,} bytes, scratch {config.scratch_bytes:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
