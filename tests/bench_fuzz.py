"""`python tests/bench_fuzz.py [SECONDS [CORPUS]]`: fuzzes the firmware's parser and its plan loader under ASan and
UBSan, so many seconds each; prints executions, and which lines of the firmware were reached.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from fuzz_firmware import COVERED, Target, build_target, coverage, fuzz, missing_tool, seed_corpus

ROOT = Path(__file__).resolve().parent.parent
TARGETS: tuple[Target, ...] = ("wire", "plan")


def main(seconds: int = 60, corpus: str = str(ROOT / "build" / "fuzz")) -> int:
    missing = missing_tool()
    if missing:
        print(f"skipped: {missing}")
        return 0
    corpora = {target: Path(corpus) / target for target in TARGETS}
    for target in TARGETS:
        seed_corpus(target, corpora[target])
        with tempfile.TemporaryDirectory() as scratch:
            elf = build_target(ROOT / "boards", ROOT / "build", Path(scratch))
        begin_s = time.monotonic()
        done = fuzz(elf, target, corpora[target], f"-max_total_time={seconds}", limit_s=seconds + 120)
        if done.report:
            print(done.report)
            return 1
        rate = done.executions / (time.monotonic() - begin_s)
        kept = f"{len(list(corpora[target].iterdir()))} inputs kept"
        print(f"{target}: {done.executions:,} executions in {seconds} s ({rate:,.0f}/s), {kept}, no fault")
    with tempfile.TemporaryDirectory() as scratch:
        elf = build_target(ROOT / "boards", ROOT / "build", Path(scratch), COVERED)
        lines = coverage(elf, corpora, Path(scratch))
    for name, (reached, count) in lines.items():
        print(f"  {name:20} {reached:4} of {count:4} lines  {reached / count:6.1%}")
    reached, count = (sum(x[i] for x in lines.values()) for i in (0, 1))
    print(f"  {'boards/src':20} {reached:4} of {count:4} lines  {reached / count:6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(x) if x.isdigit() else x for x in sys.argv[1:])))  # type: ignore[arg-type]
