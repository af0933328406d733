"""A sweep's logic, its points trivial and run in this process: names, resume, failures, the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sweep_stand_in import ONE, TWO, Workflows, in_this_process

from hil_nas.budget import Budget
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.errors import DeviceError, InfeasibleError, InputError, RunError
from hil_nas.progress import Progress, silent
from hil_nas.report.sweep_page import sweep_page
from hil_nas.runs import read_result
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.sweep import JobRunner, Point, run_sweep, sweep_config, sweep_jobs, sweep_points


@pytest.fixture
def workflows(monkeypatch: pytest.MonkeyPatch) -> Workflows:
    return Workflows(monkeypatch)


def no_page(folder: Path, result: dict[str, Any]) -> str:
    return ""


def sweep(points: Sequence[Point], runs: Path, *, resume: bool = False, progress: Any = silent) -> tuple[Any, Path]:
    folders = Folders(runs, runs, runs, runs)
    return run_sweep(
        points, folders, lambda where: JobRunner(where, no_page, sweep_page), in_this_process,
        name="test", resume=resume, page=sweep_page, progress=progress,
    )  # fmt: skip


def test_points_are_named_by_what_sets_them_apart() -> None:
    other = replace(TWO, align="pad", board="mps2-an386@qemu", budget=Budget())
    points = sweep_points([ONE, TWO, other], ["ds-cnn"], 2)
    assert [x.label for x in points[::2]] == [
        "nucleo-l4r5@virtual-40-ms-conv-seed0", "nucleo-l4r5@virtual-100-ms-conv-seed0",
        "mps2-an386@qemu-any-latency-pad-seed0", "nucleo-l4r5@virtual-ds-cnn-seed0", "mps2-an386@qemu-ds-cnn-seed0",
    ]  # fmt: skip
    assert {x.label: x.config.seed for x in points[-2:]} == {
        "mps2-an386@qemu-ds-cnn-seed0": 0, "mps2-an386@qemu-ds-cnn-seed1": 1
    }  # fmt: skip
    assert [x.group for x in sweep_points([ONE], ["ds-cnn"], 1)] == ["search", "ds-cnn"]


def test_published_networks_are_trained_on_the_same_words_and_held_to_no_limit() -> None:
    search = replace(ONE, words=("a", "b"), data="folder", train_epochs=7, clips=50)
    config = sweep_points([search], ["ds-cnn"], 1)[-1].config
    assert config == BaselineConfig("ds-cnn", words=("a", "b"), data="folder", train_epochs=7, clips=50)


def test_one_thing_twice_is_refused() -> None:
    with pytest.raises(InputError, match="named twice"):
        sweep_points([ONE, TWO], ["ds-cnn", "ds-cnn"], 1)


def test_the_configuration_tells_every_sweep_apart() -> None:
    some = sweep_config(sweep_points([ONE, TWO], ["ds-cnn"], 2))
    assert some["groups"]["40 ms"] == {"max_latency_s": 0.04} and some["seeds"] == [0, 1]
    others = [
        sweep_points([ONE, TWO], ["ds-cnn"], 3), sweep_points([ONE, TWO], [], 2), sweep_points([ONE], ["ds-cnn"], 2),
        sweep_points([replace(x, words=("a",)) for x in (ONE, TWO)], ["ds-cnn"], 2),
    ]  # fmt: skip
    assert all(sweep_config(x) != some for x in others)


def test_the_result_is_written_last_and_says_means_and_spreads(workflows: Workflows, tmp_path: Path) -> None:
    result, folder = sweep(sweep_points([ONE, TWO], ["ds-cnn"], 3), tmp_path)
    assert read_result(folder) == result and result["status"] == "complete"
    group = result["groups"][0]
    assert (group["group"], group["points"], group["held"]) == ("40 ms", 3, 3)
    assert group["accuracy"] == pytest.approx({"mean": 0.85, "sd": 0.01})  # 0.84, 0.85, 0.86
    assert group["count"] == {"mean": 4_001_000, "sd": 0.0}
    assert [x["on_front"] for x in result["groups"]] == [True, True, True]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 9
    page = (folder / "report.html").read_text()
    assert page.count('class="chart"') == 2 and "85.00 % ± 1.00 %" in page
    links = [x["run"] for x in result["points"]]
    assert all((folder / x / "result.json").is_file() for x in links)
    assert all(page.count(f'href="{x}/report.html"') == 3 for x in links)  # a point in both figures, and a row


def test_a_published_network_is_compared_at_its_accuracy_and_at_its_count(
    workflows: Workflows, tmp_path: Path
) -> None:
    result, _ = sweep(sweep_points([ONE, replace(ONE, budget=Budget(max_latency_s=0.2))], ["ds-cnn"], 1), tmp_path)
    (beside,) = result["beside"]  # the stand-in gives it 15 M and 95 %, the searches 4 M, 84 % and 20 M, 100 %
    assert beside["least"]["group"] == "200 ms" and beside["least"]["ratio"] == pytest.approx(20_001 / 15_001)
    assert beside["best"]["group"] == "40 ms" and beside["best"]["gain"] == pytest.approx(-0.11)


def test_what_no_network_can_hold_is_recorded_and_stops_nothing(workflows: Workflows, tmp_path: Path) -> None:
    def refuse(config: SearchConfig) -> None:
        if config.budget == ONE.budget:
            raise InfeasibleError("no network holds 40 ms")

    workflows.does = refuse
    result, folder = sweep(sweep_points([ONE, TWO], [], 2), tmp_path)
    assert [x["status"] for x in result["points"]] == ["infeasible", "infeasible", "complete", "complete"]
    assert result["status"] == "complete" and result["groups"][0]["accuracy"] is None
    assert "no network holds 40 ms" in (folder / "report.html").read_text()


def test_a_missed_limit_keeps_its_figures_and_stays_off_the_front(workflows: Workflows, tmp_path: Path) -> None:
    workflows.missed = lambda config: ["latency 41 ms exceeds 40 ms"] if config.budget == ONE.budget else []
    result, folder = sweep(sweep_points([ONE, TWO], ["ds-cnn"], 1), tmp_path)
    point, group = result["points"][0], result["groups"][0]
    assert (point["status"], point["reason"]) == ("missed", "latency 41 ms exceeds 40 ms")
    assert point["count"] == group["count"]["mean"] == 4_001_000
    assert (group["ended"], group["held"], group["on_front"]) == (1, 0, False)
    assert result["groups"][1]["on_front"] and result["beside"][0]["best"]["group"] == "100 ms"
    assert "0 of 1" in (folder / "report.html").read_text()


@pytest.mark.parametrize("error", [DeviceError("silence"), ZeroDivisionError("a bug")])
def test_a_failed_point_stops_no_other_and_is_run_again(
    error: Exception, workflows: Workflows, tmp_path: Path
) -> None:
    def fail(config: SearchConfig) -> None:
        if (config.budget, config.seed) == (ONE.budget, 1):
            raise error

    workflows.does = fail
    points = sweep_points([ONE, TWO], [], 2)
    result, folder = sweep(points, tmp_path)
    assert result["status"] == "incomplete" and not (folder / "result.json").exists()
    assert str(error) in result["points"][1]["reason"]
    workflows.ran.clear()
    workflows.does = lambda config: None
    again, same = sweep(points, tmp_path, resume=True)
    assert same == folder and again["status"] == "complete"
    assert workflows.ran == [("40-ms-seed1", 1, True)]


def test_an_interrupted_sweep_goes_on_to_the_same_result(workflows: Workflows, tmp_path: Path) -> None:
    points = sweep_points([ONE, TWO], ["ds-cnn"], 2)
    expected, _ = sweep(points, tmp_path / "whole")

    def interrupt(config: SearchConfig) -> None:
        if config.seed == 1 and config.budget == TWO.budget:
            raise KeyboardInterrupt

    workflows.does = interrupt
    with pytest.raises(KeyboardInterrupt):
        sweep(points, tmp_path)
    workflows.ran.clear()
    workflows.does = lambda config: None
    result, folder = sweep(points, tmp_path, resume=True)
    assert workflows.ran == [("100-ms-seed1", 1, True), ("ds-cnn-seed0", 0, False), ("ds-cnn-seed1", 1, False)]
    assert result["groups"] == expected["groups"] and result["beside"] == expected["beside"]
    with pytest.raises(RunError, match="no incomplete sweep"):
        sweep(points, tmp_path, resume=True)


def test_a_point_that_ended_unseen_is_not_run_again(workflows: Workflows, tmp_path: Path) -> None:
    """The sweep was killed between the end of a point and its line."""
    points = sweep_points([ONE], [], 2)
    _, folder = sweep(points, tmp_path)
    (folder / "result.json").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0] + lines[1][:20])  # a kill in the middle of the second
    workflows.ran.clear()
    result, _ = sweep(points, tmp_path, resume=True)
    assert result["status"] == "complete" and not workflows.ran
    assert [json.loads(x)["point"] for x in (folder / "metrics.jsonl").read_text().splitlines()] == [
        x.label for x in points
    ]


def shared(*limits_s: float) -> list[SearchConfig]:
    return [replace(ONE, strategy="gradient", budget=Budget(max_latency_s=x)) for x in limits_s]


def test_searches_that_differ_in_their_latency_limits_alone_are_one_job(workflows: Workflows, tmp_path: Path) -> None:
    points = sweep_points([*shared(0.1, 0.04), ONE, *(replace(x, align="pad") for x in shared(0.1))], ["ds-cnn"], 2)
    jobs = sweep_jobs(points)
    assert [x.label for x in jobs[::2]] == [
        "40-ms-gradient-conv-to-100-ms-gradient-conv-seed0", "40-ms-parameters-conv-seed0",
        "100-ms-gradient-pad-seed0", "ds-cnn-seed0",
    ]  # fmt: skip
    assert [x.config.budget.max_latency_s for x in jobs[1].points] == [0.04, 0.1]
    assert {x.config.seed for x in jobs[1].points} == {1} and {y for x in jobs for y in x.points} == set(points)
    result, folder = sweep(points, tmp_path)
    assert [x for x, *_ in workflows.ran] == [x.label for x in jobs]
    assert [x["point"] for x in result["points"]] == [x.label for x in points]
    assert [x["accuracy"] for x in result["points"][:4]] == pytest.approx([0.9, 0.91, 0.84, 0.85])
    assert [x["supernet_limits_ms"] for x in result["points"]] == [[40.0, 100.0]] * 4 + [None] * 6
    page = (folder / "report.html").read_text()
    assert "shared one supernet" in page
    for x in result["points"]:
        assert (folder / x["run"] / "result.json").is_file() and f"{x['run']}/report.html" in page


def test_a_shared_supernet_that_failed_goes_on_where_it_stopped(workflows: Workflows, tmp_path: Path) -> None:
    def fail(config: SearchConfig) -> None:
        if config.budget.max_latency_s == 0.03:
            raise InfeasibleError("no network holds 30 ms")
        if (config.budget.max_latency_s, config.seed) == (0.1, 1):
            raise DeviceError("silence")

    points = sweep_points(shared(0.1, 0.04, 0.03), [], 2)
    workflows.does = fail
    result, folder = sweep(points, tmp_path)
    assert result["status"] == "incomplete"
    assert [x["status"] for x in result["points"]] == ["complete", "failed"] * 2 + ["infeasible", "failed"]
    workflows.ran.clear()
    workflows.does = lambda config: fail(config) if config.budget.max_latency_s == 0.03 else None
    again, same = sweep(points, tmp_path, resume=True)
    assert same == folder and again["status"] == "complete"
    assert workflows.ran == [("30-ms-to-100-ms-seed1", 1, True)]
    assert [x["status"] for x in again["points"]] == ["complete"] * 4 + ["infeasible"] * 2


def test_resume_refuses_another_sweep_and_says_what_differs(workflows: Workflows, tmp_path: Path) -> None:
    workflows.does = lambda config: (_ for _ in ()).throw(DeviceError("silence"))
    sweep(sweep_points([ONE], [], 2), tmp_path)
    with pytest.raises(RunError, match=r"seeds was \[0, 1\], is \[0, 1, 2\]"):
        sweep(sweep_points([ONE], [], 3), tmp_path, resume=True)
    with pytest.raises(RunError, match="of another configuration: align was 'conv', is 'pad'"):
        sweep(sweep_points([replace(ONE, align="pad")], [], 2), tmp_path, resume=True)


def test_progress_says_what_is_under_way(workflows: Workflows, tmp_path: Path) -> None:
    steps: list[Progress] = []

    def look(config: SearchConfig) -> None:
        if config.seed == 1:
            raise KeyboardInterrupt

    points = sweep_points([ONE], [], 2)
    workflows.does = look
    with pytest.raises(KeyboardInterrupt):
        sweep(points, tmp_path, progress=steps.append)
    assert {(x.done, x.total) for x in steps} == {(0, 2), (1, 2)}
    (folder,) = tmp_path.iterdir()
    assert (folder / "points" / "search-seed1" / "now").read_text() == "training 1/2"


def test_clocks_get_a_figure_and_a_table_each(workflows: Workflows, tmp_path: Path) -> None:
    workflows.clock = "instructions"
    result, folder = sweep(sweep_points([SearchConfig(), replace(SearchConfig(), align="pad")], [], 1), tmp_path)
    page = (folder / "report.html").read_text()
    assert result["groups"][0]["latency_ms"] is None
    assert "M instructions" in page and " ms" not in page and "cycles" not in page


def test_boards_are_never_in_one_front(workflows: Workflows, tmp_path: Path) -> None:
    boards = ("nucleo-l4r5@virtual", "mps2-an386@qemu")
    result, folder = sweep(sweep_points([replace(ONE, board=x) for x in boards], ["ds-cnn"], 1), tmp_path)
    assert [x["on_front"] for x in result["groups"]] == [True] * 4  # the same figures: each on its own board's
    assert {x["least"] for x in result["beside"]} == {None} and len(result["beside"]) == 2
    assert (folder / "report.html").read_text().count('class="chart"') == 4
