"""`hil run` in the firmware's own source, over an engine that fails and a clock that runs past the counter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

RUNS = ["run", "run"]
COUNTS = [*RUNS, "op-conv", "op-conv", "end"]


@pytest.fixture(scope="module")
def measure(boards_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("measure") / "measure_jobs"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    folders = [f"-I{boards_dir / x}" for x in ("include", "src")]
    sources = [str(boards_dir / "src" / "measure.c"), str(Path(__file__).with_name("measure_jobs.c"))]
    subprocess.run(["gcc", *flags, *folders, *sources, "-o", str(program)], check=True)
    return program


@pytest.mark.parametrize("slow_at", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("fails_at", [0, 1, 2, 3, 4])
def test_a_run_that_fails_or_outruns_the_counter_is_refused_the_probed_one_too(
    measure: Path, fails_at: int, slow_at: int
) -> None:
    """A warm-up, two counted runs, and one with probes: the counts of a run that was none are never said."""
    done = subprocess.run([str(measure), str(fails_at), str(slow_at)], capture_output=True, text=True, check=True)
    first = min((x for x in (fails_at, slow_at) if x), default=0)
    if first == 0:
        assert done.stdout.splitlines() == COUNTS
        return
    reasons = {fails_at: "a kernel refused its arguments"}
    reason = reasons.get(first, "a run takes longer than the cycle counter counts")
    assert done.stdout.splitlines() == [*RUNS[: max(0, first - 2)], f"e-[{reason}]"]
