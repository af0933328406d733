"""Trivial jobs on a real local Ray: where they run, that a board serves one at a time, how they are ended."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from hil_nas.baselines import BASELINES
from hil_nas.config import BaselineConfig
from hil_nas.errors import InputError
from hil_nas.workflows.cluster import Cluster, boards_of
from hil_nas.workflows.sweep import Job, Point, RunJob
from hil_nas.workflows.sweep_front import Outcome

pytest.importorskip("ray", reason="pip install 'hil_nas[sweep]'")


def jobs(board: str, count: int) -> list[Job]:
    return [Job((Point(board, BaselineConfig(BASELINES[0], board=board, seed=x)),)) for x in range(count)]


def noting(folder: Path) -> RunJob:
    """A job that notes when it began and ended, with its process; one with seed 9 takes its process down."""

    def run(job: Job) -> list[Outcome]:
        seed = job.points[0].config.seed
        if seed == 9:
            os._exit(1)
        began = time.time()
        if seed == 5:
            (folder / "began").touch()
        try:
            for _ in range(6000 if seed == 5 else 3):
                time.sleep(0.1)
        except KeyboardInterrupt:
            (folder / "closed").write_text("its board")
            raise
        finally:
            (folder / f"{job.label}-{os.getpid()}").write_text(f"{began} {time.time()}")
        return [{"status": "complete", "threads": os.environ["OMP_NUM_THREADS"], "process": os.getpid()}]

    return run


def test_jobs_share_the_machine_but_not_a_board(tmp_path: Path) -> None:
    requested = [*jobs("nucleo-l4r5", 2), *jobs("nucleo-l4r5@virtual", 1), *jobs("mps2-an386@qemu", 10)[9:]]
    ended = dict(x for x in Cluster()(requested, noting(tmp_path)) if x is not None)
    assert ended.keys() == set(requested)
    assert [x.points[0].config.seed for x, (y,) in ended.items() if y["status"] == "failed"] == [9]
    good = [y for (y,) in ended.values() if y["status"] == "complete"]
    assert {x["threads"] for x in good} == {"1"}
    assert len({x["process"] for x in good} - {os.getpid()}) == len(good)  # a process for each
    spans = sorted(
        tuple(map(float, x.read_text().split())) for x in tmp_path.iterdir() if x.name.startswith("nucleo-l4r5-")
    )
    assert len(spans) == 2
    assert spans[0][1] <= spans[1][0]


def test_a_job_that_is_ended_early_closes_what_it_holds(tmp_path: Path) -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    running = Cluster()(jobs("nucleo-l4r5@virtual", 6)[5:], noting(tmp_path))
    while not (tmp_path / "began").exists():
        assert next(running) is None
    assert signal.getsignal(signal.SIGTERM) == on_sigterm  # not Ray's, which aborts
    running.close()
    assert (tmp_path / "closed").exists()
    import ray

    assert not ray.is_initialized()


def test_only_boards_on_a_serial_port_are_counted() -> None:
    requested = ["nucleo-l4r5", "nucleo_h743zi", "nucleo-l4r5@virtual", "nucleo-l4r5"]
    assert boards_of(requested) == {"nucleo-l4r5": 1, "nucleo-h743zi": 1}


def test_a_cluster_runs_what_its_machines_have(tmp_path: Path) -> None:
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster as Machines

    noted = Path(get_ray_address_file(None)).parent  # this class notes its address there, and fails where it is not
    made = not noted.exists()
    noted.mkdir(exist_ok=True)
    folder = tempfile.mkdtemp(dir="/tmp")  # tmp_path is too long for Ray's sockets
    head = {"num_cpus": 1, "resources": {"nucleo-l4r5": 1}, "temp_dir": folder}
    machines = Machines(initialize_head=True, head_node_args=head)
    try:
        (ended,) = [x for x in Cluster(machines.address)(jobs("nucleo-l4r5", 1), noting(tmp_path)) if x is not None]
        assert ended[1][0]["status"] == "complete"
        with pytest.raises(InputError, match="no machine .* has the board nucleo-h743zi"):
            list(Cluster(machines.address)(jobs("nucleo-h743zi", 1), noting(tmp_path)))
    finally:
        machines.shutdown()
        shutil.rmtree(folder)
        if made:
            shutil.rmtree(noted)


def test_an_address_where_nobody_answers_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers"):
        list(Cluster("127.0.0.1:9")(jobs("nucleo-l4r5@virtual", 1), noting(tmp_path)))
