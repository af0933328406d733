"""`python tests/bench_layers.py [LAYERS [SEED [BOARD]]]`: random layers against TensorFlow Lite Micro's reference
kernels, on this machine in portable C and, where a board is named, on it too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from deploy_harness import build_engine
from random_layers import Run, compare, lines, on_board, on_host

from hil_nas.device.hosts import open_device

ROOT = Path(__file__).resolve().parent.parent


def main(layers: str = "10000", seed: str = "0", board: str = "") -> int:
    begin_s = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = build_engine(scratch, ROOT / "boards", ROOT / "build")
        runs: dict[str, Run] = {"portable C": on_host(engine)}
        if board:
            opened = open_device(board, boards_dir=ROOT / "boards", build_dir=ROOT / "build")
            runs[board] = on_board(stack.enter_context(opened))
        first = int(seed) * 1_000_000
        found = compare(range(first, first + int(layers)), runs)
    print("\n".join(lines(found, " and ".join(runs))))
    print(f"seed {seed}, {time.monotonic() - begin_s:.0f} s of this machine's time")
    return 1 if found.differing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
