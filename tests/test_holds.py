"""A run that another process is at work in: seen, not gone on with, not removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hil_nas.errors import RunError
from hil_nas.holds import held_elsewhere, hold
from hil_nas.runs import Run
from hil_nas.workflows.past_runs import PastRun, remove

BEGINS = "import sys; from pathlib import Path; from hil_nas.runs import Run; "
CREATES = BEGINS + "run = Run.create(Path(sys.argv[1]), 'search', 'x', {'seed': 1}); "
WAITS = "print(run.folder, flush=True); sys.stdin.read()"


@contextmanager
def at_work(runs: Path, program: str) -> Iterator[Path]:
    """The folder of a run that another process has begun; it is killed in the end."""
    other = subprocess.Popen(
        [sys.executable, "-c", program + WAITS, str(runs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    try:
        yield Path(other.stdout.readline().strip())
    finally:
        other.kill()
        other.communicate()


def test_a_run_that_another_process_writes_is_left_alone_until_that_one_is_gone(tmp_path: Path) -> None:
    with at_work(tmp_path, CREATES) as folder:
        assert PastRun.read(folder).status == "running" and held_elsewhere(folder) and hold(folder) is None
        with pytest.raises(RunError, match="another process is at work"):
            Run.resume(tmp_path, "search", {"seed": 1})
        with pytest.raises(RunError, match="another process is at work"):
            remove([folder.name], tmp_path)
        assert folder.is_dir()
    assert PastRun.read(folder).status == "incomplete" and not held_elsewhere(folder)
    assert Run.resume(tmp_path, "search", {"seed": 1}).folder == folder
    assert remove([folder.name], tmp_path) == [folder]


def test_a_finished_run_is_free_while_its_process_goes_on(tmp_path: Path) -> None:
    with at_work(tmp_path, CREATES + "run.finish('complete', {}); ") as folder:
        assert PastRun.read(folder).status == "complete" and not held_elsewhere(folder)
        assert remove([folder.name], tmp_path) == [folder]


def test_a_part_is_held_too(tmp_path: Path) -> None:
    with at_work(tmp_path, CREATES + "part = run.part('a', 'search', {}); ") as folder:
        assert held_elsewhere(folder / "a")
        with pytest.raises(RunError, match="another process is at work"):
            Run(folder).part("a", "search", {})


def test_a_process_is_in_its_own_way_never(tmp_path: Path) -> None:
    """A notebook's failed cell keeps its run alive, and the next cell goes on with it."""
    failed = Run.create(tmp_path, "search", "x", {"seed": 1})
    again = Run.resume(tmp_path, "search", {"seed": 1})
    assert PastRun.read(again.folder).status == "incomplete"
    del failed
    looks = BEGINS + "from hil_nas.holds import held_elsewhere; print(held_elsewhere(Path(sys.argv[1])))"
    seen = [sys.executable, "-c", looks, str(again.folder)]
    assert subprocess.run(seen, capture_output=True, text=True, check=True).stdout == "True\n"
    del again
    folder = next(tmp_path.iterdir())
    assert subprocess.run([*seen[:-1], str(folder)], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_folder_that_is_gone_is_held_by_nobody(tmp_path: Path) -> None:
    assert not held_elsewhere(tmp_path / "none")
