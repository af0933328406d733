"""The run folder: complete or visibly not, resumed only by the same configuration."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil_nas import runs
from hil_nas.errors import RunError
from hil_nas.runs import Run, read_result


def test_a_run_is_complete_only_with_its_result(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "a b/c", {"seed": 1})
    assert run.folder.name.endswith("-search-a-b-c")
    with pytest.raises(RunError, match="incomplete"):
        read_result(run.folder)
    assert json.loads(run.path("config.json").read_text()) == {"command": "search", "seed": 1}
    result = run.finish("complete", {"figure": 3, "words": ("a", "b"), "folder": Path("x")})
    assert result == read_result(run.folder) == {
        "schema": "hil_nas.run", "version": 2, "status": "complete", "figure": 3, "words": ["a", "b"], "folder": "x"
    }  # fmt: skip


def test_a_folder_is_named_by_the_time_of_the_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            here = datetime(2026, 3, 4, 23, 6, 7, tzinfo=timezone(timedelta(hours=-2)))
            return here.astimezone(tz) if tz else here

    monkeypatch.setattr(runs, "datetime", Then)
    folder = tmp_path / "new" / "runs"
    assert Run.create(folder, "search", "Ab /../c_1.0", {}).folder == folder / "20260305T010607Z-search-Ab-..-c_1.0"


def test_the_environment_names_what_is_installed_and_the_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_PACKAGES", ("numpy", "not-a-package-of-anyone", "pytest"))
    monkeypatch.setattr(sys, "argv", ["hil_nas", "search", "--seed", "1"])
    monkeypatch.chdir(tmp_path)
    environment = json.loads(Run.create(tmp_path, "search", "x", {}).path("environment.json").read_text())
    assert environment["packages"] == {"numpy": np.__version__, "pytest": pytest.__version__}
    assert environment["argv"] == ["search", "--seed", "1"]
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))


def test_two_runs_of_one_second_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, zone: tzinfo | None = None) -> Stopped:
            return cls(2026, 11, 28, 12, 0, 0, tzinfo=zone)

    monkeypatch.setattr(runs, "datetime", Stopped)
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda x: Run.create(tmp_path, "search", "kws", {"seed": x}), range(12)))
    assert len({x.folder for x in made}) == 12
    names = sorted((x.folder.name for x in made), key=lambda x: (len(x), x))
    assert names == ["20261128T120000Z-search-kws", *(f"20261128T120000Z-search-kws-{x}" for x in range(2, 13))]
    assert {json.loads((x.folder / "config.json").read_text())["seed"] for x in made} == set(range(12))
    with pytest.raises(RunError, match=r"^20261128T120000Z-search-kws-12 is of another"):  # the newest
        Run.resume(tmp_path, "search", {"seed": 99})


def test_a_run_of_another_command_is_not_resumed(tmp_path: Path) -> None:
    Run.create(tmp_path, "sweep", "my-search-x", {"seed": 1})
    with pytest.raises(RunError, match="no incomplete search run"):
        Run.resume(tmp_path, "search", {"seed": 1})


def test_damaged_metrics_are_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    run.path("metrics.jsonl").write_text("{}\n{half\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged"):
        run.metrics()


def test_a_result_of_another_version_is_refused_with_both_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    run.finish("complete", {})
    data = json.loads(run.path("result.json").read_text())
    run.path("result.json").write_text(json.dumps({**data, "version": 99}))
    with pytest.raises(RunError, match="version 99, expected hil_nas.run version 2"):
        read_result(run.folder)


def test_resume_takes_the_same_configuration_and_names_what_differs(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {"seed": 1, "words": ("a", "b")})
    assert Run.resume(tmp_path, "search", {"seed": 1, "words": ("a", "b")}).folder == run.folder
    with pytest.raises(RunError, match="seed was 1, is 2") as refused:
        Run.resume(tmp_path, "search", {"seed": 2, "words": ("a", "b")})
    assert "words" not in str(refused.value)


def test_a_run_is_found_by_what_it_says_of_itself_and_not_by_its_folder(tmp_path: Path) -> None:
    """Folders are renamed, and names hold other commands' names."""
    search = Run.create(tmp_path, "search", "x", {"seed": 1})
    Run.create(tmp_path, "sweep", "old-search-1", {"seed": 1})
    Run.create(tmp_path, "baseline", "search-x", {"seed": 1})
    renamed = search.folder.rename(tmp_path / "my best one")
    assert Run.resume(tmp_path, "search", {"seed": 1}).folder == renamed
    with pytest.raises(RunError, match="no incomplete profile run"):
        Run.resume(tmp_path, "profile", {"seed": 1})


def test_the_newest_of_equal_runs_goes_on_and_a_damaged_one_is_in_no_ones_way(tmp_path: Path) -> None:
    first = Run.create(tmp_path, "search", "x", {"seed": 1}).folder.rename(tmp_path / "z")
    second = Run.create(tmp_path, "search", "x", {"seed": 1}).folder.rename(tmp_path / "a")
    damaged = Run.create(tmp_path, "search", "y", {"seed": 1})
    damaged.path("config.json").write_text("{")
    assert Run.resume(tmp_path, "search", {"seed": 1}).folder == second
    (second / "result.json").write_text("{}")
    assert Run.resume(tmp_path, "search", {"seed": 1}).folder == first


def test_an_option_that_an_older_run_did_not_have_is_named(tmp_path: Path) -> None:
    Run.create(tmp_path, "search", "x", {"seed": 1, "skip": 0.5})
    with pytest.raises(RunError, match="skip was 0.5, is None, clips was None, is 60"):
        Run.resume(tmp_path, "search", {"seed": 1, "clips": 60})


def test_a_number_that_json_does_not_have_is_not_written(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    with pytest.raises(ValueError):
        run.log({"phase": "search", "epoch": 1, "loss": float("nan")})
    assert run.metrics() == []


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    Run.create(tmp_path, "search", "x", {"seed": 1}).finish("complete", {})
    with pytest.raises(RunError, match="no incomplete search run"):
        Run.resume(tmp_path, "search", {"seed": 1})


def test_a_line_cut_by_a_kill_is_dropped_and_a_repeated_epoch_counts_once(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    run.log({"phase": "warm-up", "epoch": 1, "loss": 4.0})
    run.log({"phase": "search", "epoch": 1, "loss": 2.0})
    run.log({"phase": "search", "epoch": 2, "loss": 1.0})
    with run.path("metrics.jsonl").open("a") as file:
        file.write('{"phase": "search", "epo')
    again = Run.resume(tmp_path, "search", {})
    assert [x["loss"] for x in again.metrics()] == [4.0, 2.0, 1.0]
    again.log({"phase": "search", "epoch": 2, "loss": 0.75})
    again.log({"phase": "search", "epoch": 3, "loss": 0.5})
    assert [x["loss"] for x in again.metrics()] == [4.0, 2.0, 0.75, 0.5]


def test_points_of_a_sweep_are_lines_of_their_own(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.metrics() == []
    for point, seconds in (("a", 1), ("b", 2), ("a", 3)):
        run.log({"point": point, "seconds": seconds})
    assert run.metrics() == [{"point": "a", "seconds": 3}, {"point": "b", "seconds": 2}]


def test_a_number_that_json_does_not_have_is_refused(tmp_path: Path) -> None:
    for write in (Run(tmp_path).log, lambda x: Run(tmp_path).write_json("x.json", x)):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"loss": float("nan")})
    assert not any(x.stat().st_size for x in tmp_path.iterdir())


def test_nothing_half_written_is_left_where_a_file_belongs(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "search", "x", {})
    with pytest.raises(TypeError):
        run.write_bytes("model.tflite", "text")  # type: ignore[arg-type]
    assert not run.path("model.tflite").exists()
    run.write_bytes("model.tflite", b"whole")
    assert run.path("model.tflite").read_bytes() == b"whole"
