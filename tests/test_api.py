"""`import hil_nas`: names that are pinned, nothing loaded early, and the same workflows as the command line."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hil_nas
from hil_nas import cli
from hil_nas.api import FinishedListening, FinishedProfile, FinishedSearch, HeardWord
from hil_nas.audio.data_check import DataCheck
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import attach_front_end
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from hil_nas.notebook import html_table
from hil_nas.workflows import listen, profile, search
from hil_nas.workflows.verify import Verification
from tests.recordings import record

NETWORK = Network((25, 10, 1), (Layer("conv", (-1,), 4, kernel=(3, 3), relu=True), Layer("fully_connected", (0,), 3)))
CLOCK = {"kind": "modelled", "hz": 120_000_000, "error_percent": 5.0}
RESULT = {
    "board": "nucleo_l4r5@virtual", "clock": CLOCK, "front_end": "mfcc:400/200/40/13", "limits_held": True,
    "limits_missed": [], "bits_equal": True, "accuracy_int8": 0.925, "test_clips": 40,
    "measured": {"latency_ms": 12.5, "ram_bytes": 50 * 1024, "flash_bytes": 120 * 1024},
}  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert hil_nas.__all__ == [
        "Budget", "Folders", "HilNasError", "SearchConfig", "check_data", "listen", "profile", "search", "verify",
    ]  # fmt: skip
    for name in hil_nas.__all__:
        assert getattr(hil_nas, name).__name__ == name and name in dir(hil_nas)
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        hil_nas.serach  # noqa: B018


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {x.partition(".")[0] for x in done.stdout.split()}


def test_nothing_is_loaded_before_it_is_used() -> None:
    before = modules_after("pass")
    assert {x for x in modules_after("import hil_nas") - before if x not in sys.stdlib_module_names} == {"hil_nas"}
    names = "; ".join(f"hil_nas.{x}" for x in hil_nas.__all__)
    heavy = {"torch", "tensorflow", "sklearn", "rich", "ray", "unicorn", "tflite_micro", "soundfile"}
    assert not modules_after(f"import hil_nas; {names}") & heavy


@pytest.mark.parametrize("name", ["check_data", "listen", "profile", "search", "verify"])
def test_every_function_says_what_it_takes_and_raises(name: str) -> None:
    function = getattr(hil_nas, name)
    docstring = inspect.getdoc(function) or ""
    arguments, _, errors = docstring.partition("Raises:")
    assert "Args:" in arguments and errors.strip()
    missing = [x for x in inspect.signature(function).parameters if x not in arguments]
    assert not missing


@pytest.mark.parametrize("kind", [FinishedSearch, FinishedProfile, FinishedListening, Verification, DataCheck])
def test_results_are_frozen_and_show_in_a_notebook(kind: type) -> None:
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert callable(kind._repr_html_)  # type: ignore[attr-defined]


class Called(Exception):
    """Ends a workflow before it begins."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What the workflows are called with; none of them runs."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def called(*positional: Any, **named: Any) -> None:
        seen.append((positional, {x: y for x, y in named.items() if x not in ("progress", "stop")}))
        raise Called

    for module, name in ((search, "run_search"), (profile, "run_profile"), (listen, "run_listen")):
        monkeypatch.setattr(module, name, called)
    return seen


@pytest.mark.parametrize("way", ["usual", "other"])
@pytest.mark.parametrize("command", ["search", "profile", "listen"])
def test_a_function_calls_what_its_command_calls(
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]], command: str, way: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "runs" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    budget = hil_nas.Budget(max_ram_bytes=128 * 1024, max_latency_s=0.05)
    other = hil_nas.SearchConfig(words=("lamp", "music"), budget=budget, search_epochs=5, seed=3)
    arguments, function = {
        ("search", "usual"): ([], lambda: hil_nas.search(hil_nas.SearchConfig())),
        ("search", "other"): (
            ["--words", "lamp,music", "--max-ram", "128k", "--max-latency", "50ms", "--search-epochs", "5", "--seed",
             "3", "--name", "x", "--resume", "--port", "/dev/x", "--flash"],
            lambda: hil_nas.search(other, name="x", resume=True, port="/dev/x", flash=True),
        ),
        ("profile", "usual"): (["--networks", "160"], hil_nas.profile),
        ("profile", "other"): (
            ["--board", "mps2-an386@qemu", "--networks", "20", "--seed", "4", "--engine", "tflm"],
            lambda: hil_nas.profile("mps2-an386@qemu", networks=20, seed=4, engine="tflm"),
        ),
        ("listen", "usual"): (["runs/x"], lambda: hil_nas.listen("runs/x")),
        ("listen", "other"): (
            ["runs/x", "a.wav", "b", "--listen", "60ms", "--keep", "kept"],
            lambda: hil_nas.listen(
                FinishedSearch(Path("runs/x"), {}), ["a.wav", Path("b")], period_s=0.06, keep="kept"
            ),
        ),
    }[command, way]  # fmt: skip
    with pytest.raises(Called):
        cli.main([command, *arguments])
    with pytest.raises(Called):
        function()
    (of_command, named_of_command), (of_function, named_of_function) = calls
    assert [_plain(x) for x in of_command] == [_plain(x) for x in of_function]
    assert named_of_command == named_of_function


def _plain(x: Any) -> Any:
    return list(x) if isinstance(x, tuple | list) else x


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(attach_front_end(write_tflite(random_graph(NETWORK, 0)), Mfcc(640, 640, 20, 10)))
    return path


def test_a_verification_is_that_of_the_command(
    model: Path, tmp_path: Path, boards_dir: Path, build_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "words", ["lamp", "music"])
    where = ["--boards", str(boards_dir), "--build", str(build_dir), "--board", "native@native"]
    options = ["--data", str(tmp_path / "words"), "--clips", "5", "--max-ram", "1k", "--json"]
    assert cli.main(["verify", str(model), *where, *options]) == 3
    answer = json.loads(capsys.readouterr().out)
    folders = hil_nas.Folders(boards_dir, build_dir, tmp_path / "models", tmp_path / "runs")
    budget = hil_nas.Budget(max_ram_bytes=1024)
    checked = hil_nas.verify(
        str(model), "native@native", budget=budget, data=tmp_path / "words", clips=5, folders=folders
    )
    own = json.loads(json.dumps(checked.to_json()))
    counts = {"network_cycles", "front_end_cycles", "operators", "stages"}  # of the host's clock: never twice the same
    assert {x: y for x, y in answer.items() if x not in {*counts, "data"}} == {
        x: y for x, y in own.items() if x not in counts
    }
    assert not checked.ok and checked.bits_equal and checked.clips_compared == 5
    page = checked._repr_html_()
    assert "equal over 5" in page and f"limit missed</th><td>{checked.missed[0]}" in page


def test_a_check_of_data_is_that_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "words", ["lamp", "music"], people=("alice", "bob"))
    assert cli.main(["data", "check", str(tmp_path / "words"), "--json"]) == 1
    checked = hil_nas.check_data(str(tmp_path / "words"))
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(checked.to_json())) and not checked.ok
    assert "problem" in checked._repr_html_() and "split by speaker" in checked._repr_html_()


def test_mistakes_are_the_errors_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(hil_nas.HilNasError, match="none.tflite: cannot be read"):
        hil_nas.verify(tmp_path / "none.tflite")
    with pytest.raises(hil_nas.HilNasError, match="is no folder"):
        hil_nas.check_data(tmp_path / "none")
    with pytest.raises(hil_nas.HilNasError, match="is no run folder"):
        hil_nas.listen(tmp_path, folders=hil_nas.Folders(tmp_path, tmp_path, tmp_path, tmp_path))


def test_results_give_what_result_json_says() -> None:
    found = FinishedSearch(Path("runs/x"), RESULT)
    assert (found.ok, found.accuracy_int8, found.latency_ms, found.ram_bytes) == (True, 0.925, 12.5, 51_200)
    assert found.model == Path("runs/x/model.tflite") and found.report == Path("runs/x/report.html")
    page = found._repr_html_()
    for text in ("12.50 ms ± 5 %", "50.0 KiB", "92.50% of 40 clips", "modelled clock", "bits</th><td>equal"):
        assert text in page
    missed = FinishedSearch(Path("runs/x"), {**RESULT, "limits_held": False, "limits_missed": ["RAM is <big>"]})
    assert not missed.ok and "limit missed</th><td>RAM is &lt;big&gt;" in missed._repr_html_()
    heard = {"time_s": 1.5, "word": "lamp", "posterior": 0.9}
    result = {"hours": 0.5, "recordings": [{"name": "a.wav", "heard": [heard]}, {"name": "b.wav", "heard": []}]}
    listened = FinishedListening(Path("runs/y"), result)
    assert listened.heard == (HeardWord("a.wav", 1.5, "lamp", 0.9),)
    assert "1 heard in 0.500 h" in listened._repr_html_()
    measured = {"folder": "m", "clock": CLOCK, "networks": 160, "operators": 9, "front_ends": 7,
                "network_mean_error_percent": 0.26}  # fmt: skip
    assert "0.26 %" in FinishedProfile(Path("runs/z"), measured)._repr_html_()


def test_a_table_is_escaped() -> None:
    shown = html_table("<a>", [("<b>", "&")], ("<c>",))
    assert shown == (
        "<table><caption>&lt;a&gt;</caption><thead><tr><th>&lt;c&gt;</th></tr></thead>"
        "<tr><th>&lt;b&gt;</th><td>&amp;</td></tr></table>"
    )
