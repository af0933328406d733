"""The run folder: complete or visibly not, resumed only by the same configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil_nas.errors import RunError
from hil_nas.runs import Run, read_result


def test_a_run_is_complete_only_with_its_result(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "a b/c", {"seed": 1})
    assert run.folder.name.endswith("-search-a-b-c")
    with pytest.raises(RunError, match="incomplete"):
        read_result(run.folder)
    run.finish("complete", {"figure": 3})
    assert read_result(run.folder)["figure"] == 3


def test_a_result_of_another_version_is_refused_with_both_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    run.finish("complete", {})
    data = json.loads(run.path("result.json").read_text())
    run.path("result.json").write_text(json.dumps({**data, "version": 99}))
    with pytest.raises(RunError, match="version 99, expected hil_nas.run version 1"):
        read_result(run.folder)


def test_resume_takes_the_same_configuration_and_names_what_differs(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {"seed": 1, "words": ("a", "b")})
    assert Run.resume(tmp_path, "search", {"seed": 1, "words": ("a", "b")}).folder == run.folder
    with pytest.raises(RunError, match="seed was 1, is 2"):
        Run.resume(tmp_path, "search", {"seed": 2, "words": ("a", "b")})


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    Run.create(tmp_path, "search", "x", {"seed": 1}).finish("complete", {})
    with pytest.raises(RunError, match="no incomplete search run"):
        Run.resume(tmp_path, "search", {"seed": 1})


def test_a_line_cut_by_a_kill_is_dropped_and_a_repeated_epoch_counts_once(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    run.log({"phase": "search", "epoch": 1, "loss": 2.0})
    with run.path("metrics.jsonl").open("a") as file:
        file.write('{"phase": "search", "epo')
    again = Run.resume(tmp_path, "search", {})
    again.log({"phase": "search", "epoch": 1, "loss": 1.0})
    again.log({"phase": "search", "epoch": 2, "loss": 0.5})
    assert [x["loss"] for x in again.metrics()] == [1.0, 0.5]


def test_nothing_half_written_is_left_where_a_file_belongs(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    with pytest.raises(TypeError):
        run.write_bytes("model.tflite", "text")  # type: ignore[arg-type]
    assert not run.path("model.tflite").exists()
