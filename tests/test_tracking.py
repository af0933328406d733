"""Trackers get what run folders say, once each, whatever comes between; TensorFlow and MLflow read it back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil_nas import cli, tracking
from hil_nas.config import SearchConfig
from hil_nas.errors import InputError, MissingToolError, OutputError
from hil_nas.extras import pip_install
from hil_nas.folders import Folders
from hil_nas.progress import Progress, silent
from hil_nas.runs import Run
from hil_nas.tracking import Tracking, tracked
from hil_nas.tracking.figures import Point, points
from hil_nas.tracking.tracker import AGAIN_S
from hil_nas.workflows import baseline as baseline_workflow
from hil_nas.workflows import search as search_workflow
from hil_nas.workflows.sweep import Job, JobRunner, sweep_points
from tests.sweep_stand_in import result

CONFIG = {"board": "b@h", "budget": {"max_ram_bytes": 5, "max_load": None}, "words": ["a|b", "c"], "seed": 3}
LINE = {
    "train_loss": 1.5, "validation_loss": None, "stage": "warm-up", "expected": {"cycles": 7, "deep": {"er": 8.5}},
    "gammas": {"mfcc:400/100/40/40": 0.25}, "alpha": [1.0, 2.0], "derived": [{"x": 1}], "settled": True,
}  # fmt: skip
OF_LINE = {
    "train_loss": 1.5, "expected/cycles": 7.0, "expected/deep/er": 8.5, "gammas/mfcc:400/100/40/40": 0.25,
    "settled": 1.0,
}  # fmt: skip
RESULT = {
    "accuracy_int8": 0.9375, "limits": {"max_ram_bytes": None}, "ram": {"the stack's (all)": 12}, "operators": [[1]],
}  # fmt: skip
OF_RESULT = {"result/accuracy_int8": 0.9375, "result/ram/the stack's (all)": 12.0}
Curves = dict[str, dict[int, float]]  # by figure, its value at each step


def begun(runs_dir: Path) -> Run:
    return Run.create(runs_dir, "search", "kws", CONFIG)


def log(run: Run, *epochs: int, phase: str = "search") -> None:
    for epoch in epochs:
        run.log({"epoch": epoch, "phase": phase, **LINE, "train_loss": epoch + 0.5})


def expected(epochs: dict[str, int], *, ended: bool = True) -> Curves:
    """After so many epochs of each phase."""
    of_phases: Curves = {
        f"{phase}/{key}": {x: x + 0.5 if key == "train_loss" else value for x in range(1, count + 1)}
        for phase, count in epochs.items() for key, value in OF_LINE.items()
    }  # fmt: skip
    return {**of_phases, **({k: {0: v} for k, v in OF_RESULT.items()} if ended else {})}


def test_numbers_go_by_their_path_and_all_else_stays_in_the_folder(tmp_path: Path) -> None:
    run = begun(tmp_path)
    log(run, 1, 2)
    run.log({"point": "of a sweep", "accuracy": 0.5})
    log(run, 2, phase="train")
    run.finish("complete", RESULT)
    assert list(points(run)) == [
        *(Point(x, {f"search/{k}": v for k, v in {**OF_LINE, "train_loss": x + 0.5}.items()}) for x in (1, 2)),
        Point(2, {f"train/{k}": v for k, v in {**OF_LINE, "train_loss": 2.5}.items()}),
        Point(0, OF_RESULT),
    ]


class Memory:
    """A backend that keeps what it gets, and refuses it while it is `down`."""

    errors = (ConnectionError,)

    def __init__(self) -> None:
        self.name, self.down = "memory", False
        self.got: dict[str, list[tuple[int, str]]] = {}
        self.ends: list[tuple[str, bool]] = []
        self.tries = 0

    def expect_reachable(self) -> None:
        if self.down:
            raise InputError("nobody answers")

    def open(self, run: Run, name: str) -> Any:
        self._answer()
        memory = self

        class Kept:
            points = memory.got.setdefault(name, [])
            known = list(points)

            def steps(self, figure: str) -> set[int]:
                return {step for step, first in self.known if first == figure}

            def send(self, point: Point) -> None:
                memory._answer()
                self.points.append((point.step, next(iter(point.figures))))

            def end(self, *, finished: bool) -> None:
                memory._answer()
                memory.ends.append((name, finished))

        return Kept()

    def _answer(self) -> None:
        self.tries += 1
        if self.down:
            raise ConnectionError("nobody\nanswers")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    backend = Memory()
    monkeypatch.setattr(tracking, "_backends", lambda of: iter([backend]))
    return backend


SEARCHED = [(x, "search/train_loss") for x in (1, 2, 3, 4)]


def test_a_tracker_that_fails_costs_no_run_is_told_of_once_and_gets_the_rest_later(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, told = [0.0], list[Progress]()
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    with tracked(Tracking(), tmp_path, told.append):
        run = begun(tmp_path)
        log(run, 1)
        memory.down = True
        log(run, 2)
        tries = memory.tries
        log(run, 3)
        assert memory.tries == tries, "a server that is away is not asked at every line"
        now_s[0] += 2 * AGAIN_S
        log(run, 4)
        assert memory.tries > tries and memory.got == {run.name: SEARCHED[:1]}
        memory.down = False
        run.finish("complete", RESULT)
    assert memory.got == {run.name: [*SEARCHED, (0, "result/accuracy_int8")]} and memory.ends == [(run.name, True)]
    (warning,) = told
    assert (warning.task, warning.lasting) == ("memory takes no figures", True)
    assert warning.note == "nobody; the run goes on, its folder holds every figure"
    assert len(run.metrics()) == 4


def test_a_run_that_ends_without_a_result_is_shown_so_and_gone_on_with(memory: Memory, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tracked(Tracking(), tmp_path, silent):
        run = begun(tmp_path)
        log(run, 1, 2)
        raise KeyboardInterrupt
    assert memory.ends == [(run.name, False)]
    log(run, 3)  # outside: nobody follows
    with tracked(Tracking(), tmp_path, silent):
        resumed = Run.resume(tmp_path, "search", CONFIG)
        assert memory.got == {run.name: SEARCHED[:3]}, "before it goes on"
        log(resumed, 3, 4)
        resumed.finish("complete", RESULT)
    assert memory.got == {run.name: [*SEARCHED, (0, "result/accuracy_int8")]}
    assert memory.ends == [(run.name, False), (run.name, True)]


def test_every_part_of_a_run_is_one_of_its_own_and_what_holds_them_is_none(memory: Memory, tmp_path: Path) -> None:
    with tracked(Tracking(), tmp_path, silent):
        whole = begun(tmp_path)
        parts = [whole.part(x, "search", CONFIG) for x in ("40ms", "60ms")]
        log(parts[0], 1)
        log(parts[1], 1, 2)
        parts[0].finish("complete", RESULT)
    result = (0, "result/accuracy_int8")
    assert memory.got == {f"{whole.name}/40ms": [*SEARCHED[:1], result], f"{whole.name}/60ms": SEARCHED[:2]}
    with tracked(Tracking(), tmp_path, silent):
        whole = Run.resume(tmp_path, "search", CONFIG)
        for name in ("40ms", "60ms"):
            part = whole.part(name, "search", CONFIG)
        part.finish("missed", RESULT)
        whole.finish("missed", RESULT)
    assert memory.got == {f"{whole.name}/40ms": [*SEARCHED[:1], result], f"{whole.name}/60ms": [*SEARCHED[:2], result]}


def read_events(folder: Path) -> tuple[Curves, dict[str, str]]:
    """The curves and texts of a run, read by TensorFlow; a value that is there twice is refused."""
    import tensorflow as tf

    curves, texts = Curves(), dict[str, str]()
    for path in sorted(folder.iterdir()):
        events = tf.compat.v1.train.summary_iterator(str(path))
        while True:
            try:
                event = next(events)
            except StopIteration:
                break
            except tf.errors.DataLossError:  # a last record that is cut short
                break
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "text":
                    assert value.tag not in texts
                    texts[value.tag] = tf.make_ndarray(value.tensor).item().decode()
                else:
                    assert event.step not in curves.setdefault(value.tag, {}), f"{value.tag} is there twice"
                    curves[value.tag][event.step] = value.simple_value
    return curves, texts


def test_tensorboard_has_every_figure_once_whatever_came_between(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs tensorflow: make setup")
    events, runs_dir = Tracking(tensorboard=tmp_path / "events"), tmp_path / "runs"
    run = begun(runs_dir)
    log(run, 1)  # before there is a tracker
    with pytest.raises(KeyboardInterrupt), tracked(events, runs_dir, silent):
        log(Run.resume(runs_dir, "search", CONFIG), 2, 3)
        raise KeyboardInterrupt
    folder = tmp_path / "events" / run.name
    assert read_events(folder)[0] == expected({"search": 3}, ended=False)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # killed while it wrote epoch 3
    with tracked(events, runs_dir, silent):
        resumed = Run.resume(runs_dir, "search", CONFIG)
        log(resumed, 3, 4)  # the third again: it was not in the checkpoint
        log(resumed, 1, 2, phase="train")
        resumed.finish("complete", RESULT)
    curves, texts = read_events(folder)
    assert curves == expected({"search": 4, "train": 2}) and len(list(folder.iterdir())) == 2
    assert texts == {
        "configuration": "| | |\n|---|---|\n| command | search |\n| board | b@h |\n| budget/max_ram_bytes | 5 |\n"
        '| budget/max_load | null |\n| words | ["a\\|b", "c"] |\n| seed | 3 |'
    }


def test_a_folder_for_event_files_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"), tracked(
        Tracking(tensorboard=tmp_path / "file" / "x"), tmp_path, silent
    ):
        raise AssertionError("nothing begins")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    for library in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(library, reason="needs all of MLflow: pip install mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        patch.chdir(tmp_path)
        yield f"sqlite:///{tmp_path}/mlflow.db"


def read_mlflow(uri: str, experiment: str = "hil_nas") -> dict[str, tuple[Any, Curves]]:
    """Runs and their curves by MLflow's client; a value that is there twice is refused."""
    import mlflow

    client, read = mlflow.MlflowClient(tracking_uri=uri), {}
    for run in client.search_runs([client.get_experiment_by_name(experiment).experiment_id]):
        curves = Curves()
        for key in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, key)
            curves[key] = {x.step: x.value for x in history}
            assert len(curves[key]) == len(history), f"{key} is there twice"
        read[run.info.run_name] = run, curves
    return read


@pytest.mark.filterwarnings("default")
def test_mlflow_has_every_figure_once_whatever_came_between(
    database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at, runs_dir = Tracking(mlflow=database), tmp_path / "runs"
    run = begun(runs_dir)
    log(run, 1)
    with pytest.raises(KeyboardInterrupt), tracked(at, runs_dir, silent):
        resumed = Run.resume(runs_dir, "search", CONFIG)
        log(resumed.part("40ms", "search", CONFIG), 1)
        log(resumed, 2, 3)
        raise KeyboardInterrupt
    assert {k: x.info.status for k, (x, _) in read_mlflow(database).items()} == {
        run.name: "FAILED", f"{run.name}/40ms": "FAILED"
    }  # fmt: skip
    with tracked(at, runs_dir, silent):
        resumed = Run.resume(runs_dir, "search", CONFIG)
        log(resumed, 3, 4)
        assert read_mlflow(database)[run.name][0].info.status == "RUNNING"
        log(resumed, 1, 2, phase="train")
        resumed.finish("complete", RESULT)
    assert capfd.readouterr().out == "", "where --json prints one object"
    read = read_mlflow(database)
    assert read.keys() == {run.name, f"{run.name}/40ms"}
    found, curves = read[run.name]
    assert {k.replace("the stack_s _all_", "the stack's (all)"): v for k, v in curves.items()} == expected(
        {"search": 4, "train": 2}
    )
    assert found.info.status == "FINISHED" and found.data.params == {
        "command": "search", "board": "b@h", "budget/max_ram_bytes": "5", "budget/max_load": "null",
        "words": '["a|b", "c"]', "seed": "3",
    }  # fmt: skip


@pytest.mark.filterwarnings("default")
def test_an_experiment_is_named_by_mlflows_variable_and_a_deleted_one_refused(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "/mine")
    with tracked(Tracking(mlflow=database), tmp_path / "runs", silent):
        log(begun(tmp_path / "runs"), 1)
    assert len(read_mlflow(database, "/mine")) == 1
    client = mlflow.MlflowClient(tracking_uri=database)
    client.delete_experiment(client.get_experiment_by_name("/mine").experiment_id)
    with pytest.raises(InputError, match="the experiment /mine of MLflow at sqlite.* was deleted"), tracked(
        Tracking(mlflow=database), tmp_path, silent
    ):
        raise AssertionError("nothing begins")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nothing://known"])
def test_an_mlflow_out_of_reach_is_one_line_before_anything_begins(uri: str, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="needs MLflow: pip install 'hil_nas[mlflow]'")
    with pytest.raises(InputError, match=f"^MLflow at {uri} takes no figures: .") as refused, tracked(
        Tracking(mlflow=uri), tmp_path, silent
    ):
        raise AssertionError("nothing begins")
    assert "\n" not in refused.value.message and "leave out --mlflow" in str(refused.value.hint)


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [x for x in sys.modules if x.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingToolError, match="--mlflow needs mlflow") as missing, tracked(
        Tracking(mlflow="http://127.0.0.1:9"), tmp_path, silent
    ):
        raise AssertionError("nothing begins")
    assert missing.value.hint == pip_install("mlflow")


@pytest.mark.parametrize("command", ["search", "search --max-latency 40ms,60ms", "baseline ds-cnn"])
def test_a_command_s_run_is_followed_and_its_configuration_says_nothing_of_it(
    command: str, memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hil_nas.workflows import search_limits

    asked: list[Tracking] = []
    backends = tracking._backends
    monkeypatch.setattr(tracking, "_backends", lambda x: asked.append(x) or backends(x))
    configs: list[dict[str, Any]] = []

    def run_it(config: Any, folders: Any, **more: Any) -> Any:
        said = (config[0] if isinstance(config, tuple) else config).to_json()
        run = Run.create(folders.runs, "x", "y", said)
        log(run, 1)
        configs.append(json.loads(run.path("config.json").read_text()))
        raise InputError("enough")

    for module, name in (
        (search_workflow, "run_search"), (search_limits, "run_search_for_limits"), (baseline_workflow, "run_baseline"),
    ):
        monkeypatch.setattr(module, name, run_it)
    where = ["--runs", str(tmp_path / "runs")]
    assert cli.main([*command.split(), *where, "--tensorboard", "events", "--mlflow", "http://h:5000"]) == 1
    assert cli.main([*command.split(), *where]) == 1
    assert asked == [Tracking(Path("events"), "http://h:5000"), Tracking()]
    assert configs[0] == configs[1] and [x for x, *_ in memory.got.values()] == [SEARCHED[0]] * 2


@pytest.mark.parametrize("down", [False, True])
def test_jobs_of_a_sweep_are_runs_of_their_own_and_go_on_without_their_tracker(
    down: bool, memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_it(config: Any, folders: Folders, **_: Any) -> None:
        run = Run.create(folders.runs, "baseline", config.network, config.to_json())
        log(run, 1)
        run.finish("complete", result(config))

    monkeypatch.setattr(baseline_workflow, "run_baseline", run_it)
    (point, *_) = sweep_points([SearchConfig()], ["ds-cnn"], 1)[1:]
    points = tmp_path / "sweep" / "points"
    memory.down = down
    runner = JobRunner(Folders(points, points, points, points), lambda *_: "", lambda _: "")
    (outcome,) = runner(Job((point,)))
    assert outcome["status"] == "complete"
    (folder,) = (points / point.label).glob("*-baseline-ds-cnn")
    name = f"sweep/points/{point.label}/{folder.name}"
    assert {k: v[0] for k, v in memory.got.items()} == ({} if down else {name: SEARCHED[0]})
    notes = points / point.label / "notes.txt"
    assert notes.exists() == down
    if down:
        (note,) = notes.read_text().splitlines()
        assert note.startswith("memory takes no figures: nobody; ")
