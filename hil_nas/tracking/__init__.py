"""Trackers: TensorBoard and MLflow get what run folders say, as it is written there.

Run folders are the truth: a tracker follows the runs that are written (`runs.followed_by`), sends what it has not got
yet, and no workflow knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hil_nas.extras import require
from hil_nas.options import option
from hil_nas.progress import Reporter
from hil_nas.runs import followed_by
from hil_nas.tracking.tracker import Backend, Tracker
from hil_nas.values import some_text

_GROUP = "trackers, which get the figures of metrics.jsonl and result.json"


@dataclass(frozen=True)
class Tracking:
    """Where figures go beside the run folder."""

    tensorboard: Path | None = option(
        None, metavar="FOLDER", group=_GROUP, help="event files for TensorBoard, a folder for each run in this one"
    )
    mlflow: str | None = option(
        None, parse=some_text, metavar="URI", group=_GROUP,
        help="an MLflow server, like http://localhost:5000, or a database, like sqlite:///mlflow.db",
    )  # fmt: skip

    def absolute(self) -> Tracking:
        """The same for a process that starts elsewhere."""
        return Tracking(None if self.tensorboard is None else self.tensorboard.resolve(), self.mlflow)


@contextmanager
def tracked(
    tracking: Tracking, runs_dir: Path, progress: Reporter, *, expected: bool = True
) -> Iterator[None]:
    """Sends what the runs written within say. Once begun, a tracker that fails is told of once and costs no run.

    Args:
        runs_dir: a run is named in trackers by its folder's path in this one.
        expected: whether trackers must be in reach at the beginning; jobs of a sweep that was begun go on without.

    Raises:
        MissingToolError: where what a tracker needs is not installed.
        InputError, OutputError: where it cannot be reached or written; before anything within has begun.
    """
    backends = list(_backends(tracking))
    if expected:
        for backend in backends:
            backend.expect_reachable()
    trackers = [Tracker(x, runs_dir, progress) for x in backends]
    with followed_by(*trackers):
        try:
            yield
        finally:
            for tracker in trackers:
                tracker.close()


def _backends(tracking: Tracking) -> Iterator[Backend]:
    if tracking.tensorboard is not None:
        require("--tensorboard", ["search"])
        from hil_nas.tracking.tensorboard import TensorBoard

        yield TensorBoard(tracking.tensorboard)
    if tracking.mlflow is not None:
        require("--mlflow", ["mlflow"])
        from hil_nas.tracking.mlflow import Mlflow

        yield Mlflow(tracking.mlflow)
