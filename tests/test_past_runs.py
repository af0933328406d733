"""Runs that are there: listed, compared, removed, and their pages made again, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_clocks import result_of

from hil_nas import cli
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.errors import RunError
from hil_nas.network import Layer, Network
from hil_nas.runs import Run
from hil_nas.workflows.past_runs import PastRun, remove, runs_in

NETWORK = Network((4, 4, 1), (Layer("conv", (-1,), 2, kernel=(3, 3)), Layer("fully_connected", (0,), 2)))
BUDGET = {"max_latency_s": 0.05, "max_ram_bytes": 9000, "max_flash_bytes": None}


def finished(runs: Path, name: str, kind: str = "modelled", **more: Any) -> Path:
    """A finished search with all that its page reads."""
    run = Run.create(runs, "search", name, {"board": "b@h", "budget": BUDGET})
    run.write_json("network.json", {"network": NETWORK.to_json()})
    run.write_bytes("plan.bin", lower(random_graph(NETWORK, 0)).to_bytes())
    run.log({"phase": "train", "epoch": 1, "loss": 1.0, "accuracy": 0.5})
    run.finish("complete", {**result_of(kind), **more})
    return run.folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main([*words, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_runs_are_listed_the_oldest_first_whatever_became_of_them(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = finished(runs, "one"), finished(runs, "two", "instructions")
    Run.create(runs, "sweep", "three", {})
    (damaged := finished(runs, "four") / "result.json").write_text("{")
    (runs / "notes").mkdir()
    (runs / "notes" / "config.json").write_text("{}")
    listed = shown(capsys, "runs", "--runs", str(runs))["runs"]
    assert [(x["command"], x["status"]) for x in listed] == [
        ("search", "complete"), ("search", "complete"), ("sweep", "incomplete"), ("search", "damaged")
    ]  # fmt: skip
    assert [x["name"] for x in listed[:2]] == [first.name, second.name] and listed[3]["name"] == damaged.parent.name
    assert listed[0]["limits"] == BUDGET and listed[0]["accuracy_int8"] == 0.9 and listed[1]["latency_ms"] is None
    assert cli.main(["runs", "--runs", str(runs)]) == 0
    one, two, *_ = capsys.readouterr().out.splitlines()[1:]
    for text in (first.name, "b@h", "50 ms, 8.8 KiB RAM", "90.00%", "3.33 ms ± 5 %", "1000 B", "complete"):
        assert text in one
    assert " ms " not in two.replace("50 ms", "")  # instructions are no time


def test_a_folder_without_runs_is_no_error(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == f"no runs in {runs}\n"


def test_two_runs_stand_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = finished(runs, "a")
    b = finished(runs, "b", macs=3000, measured={**result_of("modelled")["measured"], "network_cycles": 150_000})
    data = shown(capsys, "runs", "compare", a.name, str(b), "--runs", str(runs))
    assert data["same_board"] and data["same_data"]
    assert data["ratios"]["network_cycles"] == 0.5 and data["ratios"]["macs"] == 3.0 == 3 * data["ratios"]["ram_bytes"]
    assert [x["name"] for x in data["runs"]] == [a.name, b.name]
    assert cli.main(["runs", "compare", a.name, b.name, "--runs", str(runs)]) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if "network" in x)
    assert "300,000 cycles" in line and "150,000 cycles" in line and "0.500" in line


def test_counts_of_different_clocks_have_no_ratio(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = finished(runs, "a"), finished(runs, "b", "instructions", test_clips=8)
    data = shown(capsys, "runs", "compare", a.name, b.name, "--runs", str(runs))
    assert not data["same_board"] and not data["same_data"]
    assert set(data["ratios"]) == {"ram_bytes", "flash_bytes", "macs", "parameters"}
    assert cli.main(["runs", "compare", a.name, b.name, "--runs", str(runs)]) == 0
    text = capsys.readouterr().out
    assert "300,000 cycles" in text and "300,000 instructions" in text
    assert "counts and times do not compare" in text and "accuracies do not compare" in text


def test_runs_are_removed_and_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, kept = finished(runs, "a"), finished(runs, "b"), finished(runs, "c")
    unfinished = Run.create(runs, "baseline", "d", {}).folder
    assert shown(capsys, "runs", "remove", a.name, f"{b}/", unfinished.name, "--runs", str(runs)) == {
        "removed": [str(a), str(b), str(unfinished)]
    }
    assert list(runs.iterdir()) == [kept]
    assert cli.main(["runs", "remove", kept.name, "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == f"removed {kept}\n" and not list(runs.iterdir())


@pytest.mark.parametrize("other", ["notes", ".", "..", "", "none", "link", "a"])
def test_nothing_is_removed_where_one_is_no_run(
    other: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(runs, "a").rename(runs / "a")
    (runs / "notes").mkdir()
    (runs / "notes" / "config.json").write_text('{"command": "mine"}')
    (runs / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["runs", "remove", "a", other, "--runs", "runs"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("hil_nas: ") and "Traceback" not in said
    assert sorted(x.name for x in runs.iterdir()) == ["a", "link", "notes"] and (folder / "result.json").is_file()
    with pytest.raises(RunError):
        remove(["a", other], runs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "a"], "takes two runs, 1 given"), (["compare"], "takes two runs, none given"),
        (["remove"], "takes runs, none given"), (["delete", "a"], "no action 'delete'"),
    ],
)  # fmt: skip
def test_wrong_usage_says_what_to_write(
    words: list[str], said: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["runs", *words, "--runs", str(runs)]) == 2
    assert said in (text := capsys.readouterr().err) and "runs remove RUN..." in text


def test_what_has_no_figures_is_not_compared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = finished(runs, "a"), Run.create(runs, "search", "b", {}).folder
    assert cli.main(["runs", "compare", a.name, b.name, "--runs", str(runs)]) == 1
    assert f"{b} is a search that is incomplete" in capsys.readouterr().err


def test_a_page_is_made_again_from_its_folder(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished(runs, "a")
    data = shown(capsys, "report", folder.name, "--runs", str(runs))
    page = folder / "report.html"
    assert data == {"report": str(page), "size_bytes": page.stat().st_size}
    first = page.read_bytes()
    assert b"arena over time" in first and b"Training from scratch" in first
    assert cli.main(["report", str(folder)]) == 0
    assert page.read_bytes() == first and str(page) in capsys.readouterr().out


def test_a_page_that_cannot_be_made_again_leaves_the_one_there_is(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished(runs, "a")
    (folder / "report.html").write_text("old")
    plan = (folder / "plan.bin").read_bytes()
    for name, broken in (("network.json", b"{}"), ("plan.bin", plan[:-1]), ("worst_clips.npz", b"x")):
        whole = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_bytes(broken)
        assert cli.main(["report", str(folder)]) == 1
        assert name in capsys.readouterr().err
        (folder / name).write_bytes(whole) if whole else (folder / name).unlink()
    assert (folder / "report.html").read_text() == "old"
    heard = Run.create(runs, "listen", "x", {})
    heard.finish("complete", {})
    assert cli.main(["report", str(heard.folder)]) == 1 and "a run of listen" in capsys.readouterr().err
    unfinished = Run.create(runs, "search", "b", {}).folder
    assert cli.main(["report", str(unfinished)]) == 1 and "incomplete" in capsys.readouterr().err
    assert cli.main(["report", "nothing", "--runs", str(runs)]) == 1
    assert "there is no run 'nothing'" in capsys.readouterr().err


def test_a_run_that_is_read_says_what_it_found(runs: Path) -> None:
    folder = finished(runs, "a")
    (only,) = runs_in(runs)
    assert only == PastRun.read(folder) and only.figures["accuracy_interval"][0] < 0.9
