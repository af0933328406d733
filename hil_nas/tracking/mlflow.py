"""Runs on an MLflow server, or in a database that MLflow opens itself."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from datetime import datetime
from functools import cached_property
from typing import Any

from hil_nas.errors import InputError
from hil_nas.runs import Run, read_json
from hil_nas.tracking.figures import Point, configuration
from hil_nas.tracking.tracker import first_line

_IDENTITY = "hil_nas.run"  # the tag by which a resumed run finds its own
# Where they are not set: by MLflow's own a run would wait for minutes for a server that is away.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where --json prints one object
}


class Mlflow:
    """An MLflow server or database.

    Runs belong to the experiment that MLFLOW_EXPERIMENT_NAME names, else to `hil_nas`. Credentials are read by MLflow
    from its environment variables.
    """

    def __init__(self, uri: str) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow
            from mlflow.exceptions import MlflowException
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self._mlflow, self._uri = mlflow, uri
        self.name = f"MLflow at {uri}"
        self.errors: tuple[type[Exception], ...] = (MlflowException, OSError)  # what `requests` raises is an OSError

    def expect_reachable(self) -> None:
        try:
            experiment = self._experiment
        except self.errors as error:
            raise InputError(
                f"{self.name} takes no figures: {first_line(error)}",
                hint="name a server that runs, or leave out --mlflow; a database needs all of it: pip install mlflow",
            ) from None
        if experiment.lifecycle_stage != "active":
            raise InputError(
                f"the experiment {experiment.name} of {self.name} was deleted",
                hint="restore it, or name another one in MLFLOW_EXPERIMENT_NAME",
            )

    @cached_property
    def _client(self) -> Any:
        return self._mlflow.MlflowClient(tracking_uri=self._uri)

    @cached_property
    def _experiment(self) -> Any:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "hil_nas")
        experiment = self._client.get_experiment_by_name(name)
        return experiment or self._client.get_experiment(self._client.create_experiment(name))

    def open(self, run: Run, name: str) -> MlflowRun:
        started = str(read_json(run.path("environment.json"))["started"])
        identity = f"{name} {started}"
        experiment = self._experiment.experiment_id
        found = self._client.search_runs([experiment], f"tags.`{_IDENTITY}` = '{identity}'", max_results=1)
        if found:
            info = found[0].info
        else:
            began_ms = int(datetime.fromisoformat(started).timestamp() * 1e3)
            info = self._client.create_run(experiment, began_ms, {_IDENTITY: identity}, run_name=name).info
        parameters = [self._mlflow.entities.Param(_name(k), v) for k, v in configuration(run).items()]
        self._client.log_batch(info.run_id, params=parameters)  # nothing where it has them
        return MlflowRun(self._mlflow, self._client, info)


class MlflowRun:
    """One run of MLflow's."""

    def __init__(self, mlflow: Any, client: Any, info: Any) -> None:
        self._mlflow, self._client, self._id, self._status = mlflow, client, info.run_id, info.status
        self._steps: dict[str, set[int]] = {}

    def steps(self, figure: str) -> set[int]:
        if figure not in self._steps:
            self._steps[figure] = {x.step for x in self._client.get_metric_history(self._id, _name(figure))}
        return self._steps[figure]

    def send(self, point: Point) -> None:
        self._set("RUNNING")
        now_ms, metric = int(time.time() * 1e3), self._mlflow.entities.Metric
        metrics = [metric(_name(k), v, now_ms, point.step) for k, v in point.figures.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def end(self, *, finished: bool) -> None:
        self._set("FINISHED" if finished else "FAILED")

    def _set(self, status: str) -> None:
        if status == self._status:
            return
        if status == "RUNNING":
            self._client.update_run(self._id, status)
        else:
            self._client.set_terminated(self._id, status)
        self._status = status


def _name(text: str) -> str:
    """The name with what MLflow takes: letters, digits and `_ - . / :` and spaces."""
    return re.sub(r"[^\w.\-/: ]", "_", text)
