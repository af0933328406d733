"""A search for several latency limits on toy words, whole: a run folder for each, resumed to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hil_nas import cli
from hil_nas.budget import Budget
from hil_nas.config import SearchConfig
from hil_nas.errors import InfeasibleError, InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.spaces import KINDS
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.nas.tiny.space import TinySpace
from hil_nas.progress import Progress, silent
from hil_nas.report.again import write_page
from hil_nas.report.page import search_page
from hil_nas.report.sweep_page import sweep_page
from hil_nas.runs import Run, read_result
from hil_nas.workflows import search_limits
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.search_limits import run_search_for_limits, several_limits, with_latency
from tests.sweep_stand_in import result as stand_in
from tests.tones import KEYWORDS, write_tones

ROOT = Path(__file__).resolve().parent.parent
FAST_S, SLOW_S, OUT_OF_REACH_S = 15.2e-3, 16.2e-3, 2e-3  # of networks so small the first allows one front end alone


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Networks of which a limit's best is found at once, and few steps."""
    settings, space = partial(TinySettings, rounds=20, batch=32), partial(TinySpace, positions=2, widths=(8, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "tiny", replace(KINDS["tiny"], settings=settings, space=space))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SearchConfig:
    words = tmp_path_factory.mktemp("words")
    write_tones(words)
    return SearchConfig(
        words=KEYWORDS, data=str(words), grid=(Mfcc(400, 200, 40, 20), Mfcc(640, 320, 40, 20)),
        search_epochs=5, candidates=2, train_epochs=1, measure_every=2, clips=50,
    )  # fmt: skip


def run(
    base: SearchConfig, runs: Path, limits_s: tuple[float | None, ...], *, resume: bool = False, progress: Any = silent
) -> tuple[dict[str, Any], Path]:
    folders = Folders(ROOT / "boards", ROOT / "build", ROOT / "latency_models", runs)
    return run_search_for_limits(
        several_limits([with_latency(base, x) for x in limits_s]), folders, name="test", resume=resume,
        page=search_page, side_by_side=sweep_page, progress=progress,
    )  # fmt: skip


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(
    base: SearchConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, list[Progress]]:
    steps: list[Progress] = []
    result, folder = run(base, tmp_path_factory.mktemp("runs"), (SLOW_S, OUT_OF_REACH_S, FAST_S), progress=steps.append)
    return result, folder, steps


def test_every_limit_has_a_run_as_a_search_at_it_alone_leaves_it(finished: Any) -> None:
    _, folder, _ = finished
    assert sorted(x.name for x in folder.iterdir() if x.is_dir()) == ["15.2ms", "16.2ms"]
    for name, limit_ms in (("15.2ms", 15.2), ("16.2ms", 16.2)):
        own = folder / name
        result = read_result(own)
        assert result["status"] == "complete" and result["limits_held"] and result["bits_equal"]
        assert result["measured"]["latency_ms"] <= limit_ms == pytest.approx(result["limits"]["max_latency_ms"])
        assert result["supernet_limits_ms"] == pytest.approx([15.2, 16.2])
        config = json.loads((own / "config.json").read_text())
        assert config["command"] == "search" and config["budget"]["max_latency_s"] == pytest.approx(limit_ms / 1e3)
        for left in ("environment.json", "network.json", "model.tflite", "plan.bin", "export/Makefile"):
            assert (own / left).stat().st_size > 0
        assert not any(own.glob("candidates-*.pt"))
        assert [x["epoch"] for x in lines(own) if x["phase"] == "search"] == [1, 2, 3, 4, 5]
        assert len([x for x in lines(own) if x["phase"] == "candidates"]) == result["derived"]["of"] > 3
        assert "trained for several latency limits: 15.2 ms, 16.2 ms" in (own / "report.html").read_text()
    taken = [{x["front_end"] for x in lines(folder / y) if x["phase"] == "candidates"} for y in ("15.2ms", "16.2ms")]
    assert len(taken[0]) == 1 and taken[0] < taken[1]  # of front ends each limit has its own


def test_the_whole_says_all_limits_side_by_side(finished: Any) -> None:
    result, folder, steps = finished
    assert read_result(folder) == result and result["status"] == "missed"
    assert [x["point"] for x in result["points"]] == ["2 ms", "15.2 ms", "16.2 ms"]
    infeasible, *ended = result["points"]
    assert infeasible["status"] == "infeasible" and "the limit is 2ms" in infeasible["reason"]
    assert [x.task for x in steps if x.lasting and "left out" in x.task] == ["2 ms is left out"]
    for point in ended:
        own = read_result(folder / point["run"])
        assert (point["status"], point["accuracy"]) == ("complete", own["accuracy_int8"])
        assert point["count"] == own["measured"]["front_end_cycles"] + own["measured"]["network_cycles"]
        assert f'href="{point["run"]}/report.html"' in (folder / "report.html").read_text()
    assert {x["group"]: x["ended"] for x in result["groups"]} == {"2 ms": 0, "15.2 ms": 1, "16.2 ms": 1}
    assert "shared one supernet" in (folder / "report.html").read_text()


def test_its_page_is_made_again_and_a_list_of_runs_has_it(
    finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, _ = finished
    for path in (folder, folder / "15.2ms"):
        page = (path / "report.html").read_text()
        (path / "report.html").unlink()
        assert write_page(path).read_text() == page
    assert cli.main(["runs", "--runs", str(folder.parent)]) == 0
    assert "2 ms, 15.2 ms, 16.2 ms" in capsys.readouterr().out


def test_whatever_comes_between_it_ends_in_the_same_networks(
    base: SearchConfig, finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the supernet, in the race of the second limit, and when it is settled; what is settled ends at once."""
    limits, ended = (SLOW_S, FAST_S), list[str]()

    def end(chosen: Any, config: SearchConfig, data: Any, board: Any, host: Any, own: Run, *_: Any, **more: Any) -> Any:
        if len(ended) == 1:
            ended.append("interrupted")
            raise KeyboardInterrupt
        ended.append(own.name)
        return own.finish("complete", {**stand_in(config), **chosen.search})

    monkeypatch.setattr(search_limits, "finish", end)
    for task, count in (("searching", 3), ("training candidates", 4), ("", 0)):
        left = count

        def interrupt(step: Progress, at: str = task) -> None:
            nonlocal left
            left -= step.task == at and (at == "searching" or bool(ended))
            if step.task == at and not left:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(base, tmp_path, limits, resume=task != "searching", progress=interrupt)
    result, folder = run(base, tmp_path, limits, resume=True)
    assert ended == ["15.2ms", "interrupted", "16.2ms"] and result["status"] == "complete"
    assert [folder] == list(tmp_path.iterdir())
    _, uninterrupted, _ = finished  # a limit out of reach changes nothing for the others
    for name in ("15.2ms", "16.2ms"):
        assert (folder / name / "network.json").read_bytes() == (uninterrupted / name / "network.json").read_bytes()
        told = [[x for x in Run(y / name).metrics() if x["phase"] == "search"] for y in (folder, uninterrupted)]
        assert told[0] == told[1]


def test_limits_that_are_all_out_of_reach_leave_nothing(base: SearchConfig, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="the limit is 3ms"):
        run(base, tmp_path, (3e-3, 2e-3))
    assert not list(tmp_path.iterdir())


def test_limits_are_sorted_and_none_is_the_widest() -> None:
    configs = several_limits([with_latency(SearchConfig(), x) for x in (None, 0.1, 0.04)])
    assert [x.budget.max_latency_s for x in configs] == [0.04, 0.1, None]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--space", "darts"], "--space darts"),
        (["--strategy", "parameters"], "--strategy parameters"),
        (["--front-end", "continuous"], "--front-end continuous"),
    ],
)
def test_what_has_no_supernet_to_share_is_refused_in_a_line(
    options: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["search", "--runs", str(tmp_path), "--max-latency", "40ms,60ms", *options]) == 1
    assert f"share one supernet, which {named} has not" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert cli.main(["search", "--runs", str(tmp_path), "--max-latency", "40ms,0.04s"]) == 2
    assert "names 0.04s twice" in capsys.readouterr().err


def test_searches_that_differ_in_more_than_a_latency_limit_share_nothing() -> None:
    one = SearchConfig(budget=Budget(max_latency_s=0.04))
    with pytest.raises(InputError, match="in their latency limits alone"):
        several_limits([one, SearchConfig(budget=Budget(2**18, None, 0.1))])
    with pytest.raises(InputError, match="told apart, found 40 ms, 40 ms"):
        several_limits([one, with_latency(one, 0.040000001)])
