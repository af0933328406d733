"""The jobs of a sweep on Ray: one core each, and a board on a serial port for one job at a time."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Generator, Sequence
from typing import Any

from hil_nas.errors import InputError
from hil_nas.target import BoardTarget
from hil_nas.workflows.sweep import Job, RunJob, failed
from hil_nas.workflows.sweep_front import Outcome

ANSWER_S = 10.0
TICK_S = 2.0  # between two looks at what is under way
GRACE_S = 20.0  # for jobs to close their boards after Ctrl-C
STORE_BYTES = 100 * 1024**2  # jobs talk through files; hardly anything goes through the store
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # so that a job runs as fast as a search would
}


class Cluster:
    """An executor of sweeps.

    A board on a serial port is a resource of its name, of which its machine has one. Boards that are emulated need
    no more than the core that every job takes.

    Args:
        address: HOST:PORT of a Ray cluster whose machines see this file system; None starts one on this machine.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address

    def __call__(self, jobs: Sequence[Job], run: RunJob) -> Generator[tuple[Job, list[Outcome]] | None, None, None]:
        """Runs all jobs; those that run are ended as by Ctrl-C where the caller stops early.

        Raises:
            InputError: where the cluster cannot be reached, or lacks a board that a job needs.
        """
        if not jobs:
            return
        ray = _ray()
        folder = tempfile.mkdtemp(prefix="hil_nas-", dir="/tmp")  # as Ray: names of its sockets must stay short
        try:
            on_sigterm = signal.getsignal(signal.SIGTERM)
            self._start(ray, boards_of([x.board for x in jobs]), folder)
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler aborts and leaves its folder behind
            yield from _run_all(ray, jobs, run)
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, ray: Any, boards: dict[str, int], folder: str) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address is None:
            ray.init(
                address="local", resources=boards, include_dashboard=False, object_store_memory=STORE_BYTES,
                _temp_dir=folder, **quiet,
            )  # fmt: skip
            return
        _check_answers(self.address)
        try:
            ray.init(address=self.address, **quiet)
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            raise InputError(
                f"the Ray cluster at {self.address} takes no part: {str(error).splitlines()[0]}",
                hint="if it asks for a token, have it in ~/.ray/auth_token and set RAY_AUTH_MODE=token",
            ) from None
        for board in boards.keys() - ray.cluster_resources().keys():
            raise InputError(
                f"no machine of the cluster at {self.address} has the board {board}",
                hint=f"where it is attached: ray start --address={self.address} --resources='{{\"{board}\": 1}}'",
            )


def boards_of(boards: Sequence[str]) -> dict[str, int]:
    """Those on serial ports, one of each."""
    targets = [BoardTarget.parse(x) for x in boards]
    return {str(x): 1 for x in targets if x.host == "serial"}


def _run_all(ray: Any, jobs: Sequence[Job], run: RunJob) -> Generator[tuple[Job, list[Outcome]] | None, None, None]:
    def task(job: Job) -> list[Outcome]:
        # a sweep that a shell began in the background ignores Ctrl-C, and so would what it starts: it ends jobs so
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run(job)

    # a process for each job: nothing of one reaches another, and its memory is given back
    remote = ray.remote(max_calls=1, max_retries=0, num_cpus=1)(task)
    running = {remote.options(name=x.label, resources=boards_of([x.board])).remote(x): x for x in jobs}
    try:
        while running:
            done, _ = ray.wait(list(running), timeout=TICK_S)
            for reference in done:
                job = running.pop(reference)
                yield job, _outcomes(ray, reference, job)
            if not done:
                yield None
    finally:
        for reference in running:
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=GRACE_S)


def _outcomes(ray: Any, reference: Any, job: Job) -> list[Outcome]:
    """What a job gave, or how its process ended; out of memory, for one."""
    try:
        outcomes: list[Outcome] = ray.get(reference)
        return outcomes
    except ray.exceptions.RayError as error:
        return failed(job, " ".join(str(error).split())[:500])


def _check_answers(address: str) -> None:
    """Refuses an address at which nobody answers; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except OSError as error:
        raise InputError(f"no Ray cluster answers at {address}: {error}", hint="start one with `ray start`") from None


def _ray() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    return ray
