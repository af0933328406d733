"""compare: every model on every board, and what is wrong with one keeps none of the others from its row."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from hil_nas import cli
from hil_nas.deploy.ends import End
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.hosts import emulator
from hil_nas.errors import MissingToolError
from hil_nas.network import Layer, Network

CONVS = (Layer("conv", (-1,), 4, (3, 3)), Layer("conv", (0,), 4, (1, 1)), Layer("softmax", (1,)))
DEPTHWISE = (Layer("depthwise", (-1,), kernel=(3, 3)), Layer("softmax", (0,)))


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    paths = []
    for name, layers in (("convs", CONVS), ("depthwise", DEPTHWISE)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(write_tflite(random_graph(Network((5, 4, 2), layers), 1)))
        paths.append(str(path))
    return paths


@pytest.fixture
def where(boards_dir: Path, build_dir: Path) -> list[str]:
    return ["--boards", str(boards_dir), "--build", str(build_dir), "--clips", "2"]


def compared(options: list[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> list[dict[str, Any]]:
    assert cli.main(["compare", "--json", *options]) == status
    return json.loads(capsys.readouterr().out)["compared"]


def test_each_model_has_a_row_for_each_board(
    models: list[str], where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    boards = ["nucleo-l4r5@virtual", "native@native"]
    rows = compared([*models, "--board", boards[0], "--board", boards[1], *where], capsys)
    assert [(x["board"], x["model"]) for x in rows] == [(x, y) for x in boards for y in models]
    assert all(x["bits_equal"] and x["clips_compared"] == 2 for x in rows)
    assert [list(x["kinds"]) for x in rows[:2]] == [["conv", "softmax"], ["depthwise", "softmax"]]
    first, _, native, _ = rows
    conv = [count for kind, count in first["operators"] if kind == "conv"]
    assert len(conv) == 2 and first["kinds"]["conv"] == sum(conv)
    assert first["latency_ms"] == pytest.approx(first["network_cycles"] / 120e6 * 1e3)
    assert native["latency_ms"] is None


def test_rows_are_what_verify_finds(models: list[str], where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = compared([models[0], "--board", "nucleo-l4r5@virtual", *where], capsys)
    assert cli.main(["verify", "--json", models[0], "--board", "nucleo-l4r5@virtual", *where]) == 0
    alone = json.loads(capsys.readouterr().out)
    for key in ("network_cycles", "operators", "ram_bytes", "flash_bytes", "latency_ms", "clock"):
        assert row[key] == alone[key]


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="needs qemu-system-arm")
def test_instructions_are_never_shown_as_milliseconds(
    models: list[str], where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", *models, "--board", "mps2-an386@qemu", *where]) == 0
    shown = capsys.readouterr().out
    assert "counts are instructions" in shown and " ms" not in shown and "latency" not in shown
    assert cli.main(["compare", *models, "--board", "nucleo-l4r5@virtual", *where]) == 0
    shown, steps = capsys.readouterr()
    assert "counts are cycles" in shown and " ms ± 5 %" in shown
    assert re.search(r"front end +│? *none +│? *none", shown)  # these models are networks alone
    assert all(f"nucleo-l4r5@virtual: {x}: comparing bits" in steps for x in models)


def test_a_model_that_cannot_run_stops_no_other(
    models: list[str], where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model at all")
    missing = str(tmp_path / "missing.tflite")
    assert cli.main(["compare", "--json", missing, str(bad), models[0], "--board", "native@native", *where]) == 1
    out, said = capsys.readouterr()
    none, broken, good = json.loads(out)["compared"]
    assert (none["status"], none["error"]) == ("failed", "InputError") and "cannot be read" in none["message"]
    assert (broken["status"], broken["model"]) == ("failed", str(bad)) and "are no .tflite" in broken["message"]
    assert good["status"] == "complete" and good["bits_equal"]
    assert f"native@native, {missing}: cannot be read" in said and f"native@native, {bad}: " in said


def test_a_board_that_cannot_start_stops_no_other(
    models: list[str], where: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise MissingToolError("qemu-system-arm is not installed")

    monkeypatch.setattr(emulator, "start_qemu", missing)
    boards = ["--board", "mps2-an386@qemu", "--board", "native@native"]
    without, native = compared([models[0], *boards, *where], capsys, status=1)
    assert (without["status"], without["error"]) == ("failed", "MissingToolError")
    assert native["status"] == "complete"


def test_other_bits_than_the_hosts_have_a_status_of_their_own(
    models: list[str], where: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = End.to_int8
    monkeypatch.setattr(End, "to_int8", lambda self, values: right(self, values) ^ 0x55)
    assert cli.main(["compare", *models, "--board", "native@native", *where]) == 3
    out, said = capsys.readouterr()
    assert "values differ" in out and f"values differ from the host's: {models[0]} on native@native" in said


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], 2, "the following arguments are required: MODEL.tflite"),
        (["a", "--board", "nucleo-l4r5", "--board", "native@native", "--port", "x"], 2, "--port x with 2 boards"),
        (["a", "--board", "nucleo-l4r6@virtual"], 1, "did you mean 'nucleo_l4r5'?"),
    ],
)
def test_wrong_usage_runs_nothing(
    options: list[str], status: int, said: str, where: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("hil_nas.workflows.compare.open_device", None)
    assert cli.main(["compare", *options, *where]) == status
    assert said in capsys.readouterr().err
