"""The command line: one line for a person's mistake, JSON alone on standard output, the exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from every_operator import every_operator
from rich.table import Table

from hil_nas import cli
from hil_nas.cli import commands
from hil_nas.cli.arguments import parser
from hil_nas.cli.console import Console
from hil_nas.cli.parsing import settings
from hil_nas.config import SearchConfig
from hil_nas.errors import InfeasibleError, LimitsMissedError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.progress import Progress


def test_a_mistake_is_one_line_and_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(tmp_path / "none.tflite")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"hil_nas: {tmp_path}/none.tflite: cannot be read") and "Traceback" not in shown.err


def test_a_log_says_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the pace since its first step; nothing while there is none, or where it is no minute."""
    now = iter((100.0, 130.0, 190.0, 700.0, 710.0, 800.0, 1000.0, 1060.0, 1120.0, 5000.0, 5060.0))
    monkeypatch.setattr("hil_nas.cli.console.time", SimpleNamespace(monotonic=lambda: next(now)))
    console = Console(as_json=False)
    for done in (0, 1, 3, 10):
        console.step(Progress("searching", done, 10, "loss 1"))
    for done in (4, 5):  # gone on with
        console.step(Progress("training", done, 20))
    for done in (1, 2, 6, 1, 2):  # a second round under the same name
        console.step(Progress("candidates", done, 6))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "searching 0/10  loss 1", "searching 1/10, 4 min left  loss 1", "searching 3/10, 4 min left  loss 1",
        "searching 10/10  loss 1", "training 4/20", "training 5/20, 22 min left",
        "candidates 1/6", "candidates 2/6, 4 min left", "candidates 6/6",
        "candidates 1/6", "candidates 2/6, 4 min left",
    ]  # fmt: skip


@pytest.mark.parametrize("command", [["search"], ["baseline", "ds-cnn"]])
def test_a_folder_without_recordings_is_told_before_torch_is_loaded(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "yes").mkdir()
    program = "import sys; from hil_nas import cli; status = cli.main(sys.argv[1:]); "
    program += "print(status, 'torch' in sys.modules, 'tensorflow' in sys.modules)"
    arguments = [*command, "--data", str(tmp_path)]
    shown = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert shown.stdout == "1 False False\n" and "has no subfolder with recordings" in shown.stderr


@pytest.mark.parametrize(("set_before", "threads"), [({}, "1"), ({"OMP_NUM_THREADS": "2"}, "2")])
def test_it_trains_on_one_thread_unless_told_otherwise(
    set_before: dict[str, str], threads: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="pip install 'hil_nas[search]'")
    program = "import sys; from hil_nas import cli; cli.main(['runs', '--runs', sys.argv[1], '--json']); "
    program += "import torch; print(torch.get_num_threads(), file=sys.stderr)"
    before = {x: y for x, y in os.environ.items() if not x.startswith("OMP_")}
    shown = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env={**before, **set_before}, capture_output=True, text=True
    )
    assert shown.stderr == f"{threads}\n"


def test_json_is_alone_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(tmp_path / "none.tflite"), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["status"] == "failed" and data["error"] == "InputError"


@pytest.mark.parametrize("options", [["--max-ram", "lots"], ["--max-latency", "50"], ["--front-end", "400/200"]])
def test_wrong_usage_says_what_to_write(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["search", *options]) == 2
    assert "write" in capsys.readouterr().err


def test_configurations_are_a_list_or_found_by_gradient() -> None:
    for text, grid in (("400/200/40/10", (Mfcc(400, 200, 40, 10),)), ("continuous", ())):
        assert parser().parse_args(["search", "--front-end", text]).grid == grid


@pytest.mark.parametrize(
    ("options", "align"),
    [([], "conv"), (["--space", "darts"], "pad"), (["--space", "darts", "--align", "conv"], "conv")],
)
def test_a_space_has_its_usual_alignment(options: list[str], align: str) -> None:
    assert settings(SearchConfig, parser().parse_args(["search", *options])).align == align


def test_limits_that_cannot_be_met_have_a_status_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(arguments: object, console: object) -> int:
        raise InfeasibleError("no network holds the limits", hint="raise the limit")

    monkeypatch.setattr(commands, "search", refuse)
    assert cli.main(["search", "--max-ram", "8k"]) == 3
    assert "no network holds" in capsys.readouterr().err


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object, console: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(commands, "search", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["search"])


def test_an_unknown_board_lists_the_known_ones(boards_dir: Path, build_dir: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    model = tmp_path / "m.tflite"
    model.write_bytes(every_operator(6, 5, classes=4))
    where = ["--boards", str(boards_dir), "--build", str(build_dir)]
    assert cli.main(["verify", str(model), "--board", "nucleo-l4r6@virtual", *where]) == 1
    assert "nucleo_l4r5" in capsys.readouterr().err


def test_a_result_that_missed_a_limit_is_the_only_object(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.result({"latency_ms": 9.0}, "")
    console.error(LimitsMissedError("latency is 9 ms, the limit 8 ms"))
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"latency_ms": 9.0} and "the limit 8 ms" in printed.err
    Console(as_json=True).error(LimitsMissedError("latency is 9 ms, the limit 8 ms"))
    assert "the limit 8 ms" in json.dumps(json.loads(capsys.readouterr().out))


def test_a_search_that_missed_a_limit_prints_its_result_and_has_the_status_of_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = {"latency_ms": 9.0, "front_end_ms": 5.0, "network_ms": 4.0, "ram_bytes": 50_000, "flash_bytes": 90_000}
    missed = {
        "status": "missed", "board": "nucleo-l4r5@virtual", "front_end": "mfcc:400/200/40/10",
        "clock": {"kind": "modelled", "error_percent": 5.0},
        "measured": measured, "predicted": {}, "limits": {"max_latency_ms": 8.0}, "bits_equal": False,
        "limits_missed": ["latency is 9 ms, the limit 8 ms"], "differing_bytes": 2, "clips_compared": 60,
        "accuracy_int8": 0.9, "accuracy_float": 0.9, "test_clips": 100,
    }  # fmt: skip
    monkeypatch.setattr("hil_nas.workflows.search.run_search", lambda *x, **y: (missed, tmp_path))
    for options in (["--json"], []):
        assert cli.main(["search", *options]) == 3
        printed = capsys.readouterr()
        assert "the limit 8 ms; 2 int8 values differ" in printed.err and "report.html" in printed.err
        if options:
            assert json.loads(printed.out) == {**missed, "run": str(tmp_path)}
        else:
            assert "9.00 ms" in printed.out and "NOT equal" in printed.out


def test_tables_do_not_wrap_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(*("a column of some width" for _ in range(6)))
    Console(as_json=False).result({}, table)
    assert "┃".join([" a column of some width "] * 6) in capsys.readouterr().out


def test_warnings_are_lines_of_their_own_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    with console:
        for name in ("[/red] one", "[bold]two[/bold]"):
            console.step(Progress("data", 0, 0, name, lasting=True))
        console.step(Progress("reading clips", 1, 1, "[/] three"))
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["data: [/red] one", "data: [bold]two[/bold]", "reading clips 1/1  [/] three"]


def test_a_path_that_is_no_utf_8_is_printed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"runs/\xff")

    def show(arguments: object, console: Console) -> int:
        console.result({"run": name}, f"{name}/report.html")
        raise InfeasibleError(f"nothing fits in {name}")

    monkeypatch.setattr(commands, "search", show)
    for options, shown in (([], r"runs/\udcff/report.html"), (["--json"], r'"run": "runs/\udcff"')):
        assert cli.main(["search", *options]) == 3
        printed = capfd.readouterr()
        assert shown in printed.out and "nothing fits in runs/" in printed.err
