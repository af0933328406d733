"""Nothing that a host started outlives the process that asked for it, however and whenever that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hil_nas.device.hosts import guard
from tests.ended_host import ROOT, STAGES

LIMIT_S = 30.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ["native@native", "mps2-an386@qemu", pytest.param("nucleo-l4r5@renode", marks=pytest.mark.renode)]
# Starts another program and waits for it, which listens to no signal that it can ignore.
STUBBORN = "#!/bin/sh\n[ $1 = --version ] && exit\nsh -c \"trap '' INT TERM HUP; while true; do sleep 0.05; done\"\n"
Process = tuple[int, str]  # the number, and when it began: numbers come again


def processes() -> dict[Process, int]:
    """All that run, with their parents; what has ended and was not asked for yet does not run."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text(encoding="utf-8", errors="replace").rpartition(") ")
        except OSError:  # it has just ended
            continue
        fields = rest.split()
        if fields[0] not in "ZX":
            parents[(int(path.parent.name), fields[19])] = int(fields[1])
    return parents


def family(pid: int) -> set[Process]:
    """What a process has started, and what that has."""
    parents, members = processes(), {pid}
    while more := {x[0] for x, parent in parents.items() if parent in members} - members:
        members |= more
    return {x for x in parents if x[0] in members - {pid}}


def wait_until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < end, "not within the limit"
        time.sleep(0.02)


@pytest.fixture
def build(build_dir: Path, tmp_path: Path) -> Path:
    """A build folder for what a process that was killed cannot clear away."""
    folder = tmp_path / "build"
    folder.mkdir()
    (build_dir / "firmware").mkdir(parents=True, exist_ok=True)
    for name in ("firmware", "third_party"):
        (folder / name).symlink_to((build_dir / name).resolve())
    return folder


def started(target: str, stage: str, build: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ended_host", target, stage, str(build)]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def end_at(stage: str, number: signal.Signals, process: subprocess.Popen[str], fewest: int) -> None:
    """Ends a process at its stage, and waits until all that it had started has ended."""
    with process:
        try:
            assert process.stdout is not None and process.stdout.readline() == f"{stage}\n"
            wait_until(lambda: len(family(process.pid)) >= fewest)
            children = family(process.pid)
            process.send_signal(number)
            process.wait(LIMIT_S)
            wait_until(lambda: not children & processes().keys())
        finally:
            process.kill()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda x: x.name)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_program_ends_with_the_process_that_started_it(
    target: str, stage: str, number: signal.Signals, build: Path
) -> None:
    end_at(stage, number, started(target, stage, build), fewest=2)  # the guard and the program


@pytest.mark.parametrize("number", SIGNALS, ids=lambda x: x.name)
def test_what_a_script_on_path_has_started_ends_too(number: signal.Signals, tmp_path: Path, build: Path) -> None:
    script = tmp_path / "renode"
    script.write_text(STUBBORN)
    script.chmod(0o755)
    process = started("nucleo-l4r5@renode", "start", build, PATH=f"{tmp_path}:{os.environ['PATH']}")
    end_at("start", number, process, fewest=3)


def test_a_program_ends_with_its_guard() -> None:
    command = [sys.executable, guard.__file__, "sleep", "600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        wait_until(lambda: len(family(process.pid)) == 1)
        children = family(process.pid)
        process.kill()
        wait_until(lambda: not children & processes().keys())
