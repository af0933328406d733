"""Attempts to mix the clocks: silicon, modelled cycles and instructions are never taken for one another."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from device_fake import FakeBoard
from front_end_rows import front_end_row
from rich.console import Console as Rich

from hil_nas import cli
from hil_nas.budget import Budget
from hil_nas.cli.commands import _verify_table, search_table
from hil_nas.device.device import Device
from hil_nas.device.hosts import CLOCK_KINDS, open_device
from hil_nas.device.link import Link
from hil_nas.errors import InputError
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.provenance import Provenance
from hil_nas.latency.store import Store
from hil_nas.network import Layer, Network
from hil_nas.report.page import page_of
from hil_nas.report.search_run import SearchRun
from hil_nas.workflows.measure import folder_name, latency_ms, provenance_of
from hil_nas.workflows.verify import Model, verify

KINDS = ("silicon", "modelled", "instructions", "host")
HERE = Provenance("nucleo_l4r5", "virtual", "modelled", 120_000_000, "plans", "aa" * 8, "gcc 12.2.1", "flash")
OTHERS = {
    "board": "nucleo_h743zi", "host": "serial", "clock": "silicon", "cpu_hz": 80_000_000, "engine": "tflm",
    "kernels": "bb" * 8, "versions": "gcc 13.1.0", "weights": "ram",
}  # fmt: skip
ROW = front_end_row(Mfcc(640, 320, 40, 10), 1000)
MILLISECONDS = re.compile(r"[0-9]\s*ms\b")


def measured(folder: Path, provenance: Provenance) -> Store:
    store = Store(folder)
    store.open(provenance, "build")
    store.append_front_end(ROW)
    return store


@pytest.mark.parametrize(("there", "here"), list(permutations(KINDS, 2)))
def test_a_model_of_one_clock_is_refused_for_another(there: str, here: str, tmp_path: Path) -> None:
    measured(tmp_path / "model", replace(HERE, clock=there))
    with pytest.raises(InputError, match=f"measured with clock '{there}', this is '{here}'"):
        LatencyModel.load(tmp_path / "model", expected=replace(HERE, clock=here))


@pytest.mark.parametrize("key", OTHERS)
def test_a_model_of_anything_else_is_refused_with_both_named(key: str, tmp_path: Path) -> None:
    measured(tmp_path / "model", HERE)
    with pytest.raises(InputError, match=f"with {key} '{getattr(HERE, key)}', this is '{OTHERS[key]}'"):
        LatencyModel.load(tmp_path / "model", expected=replace(HERE, **{key: OTHERS[key]}))
    assert LatencyModel.load(tmp_path / "model", expected=HERE).provenance == HERE


def test_rows_of_another_clock_are_not_appended(tmp_path: Path) -> None:
    store = measured(tmp_path / "model", HERE)
    before = {x.name: x.read_bytes() for x in store.folder.iterdir()}
    with pytest.raises(InputError, match="'modelled', this is 'instructions'"):
        store.open(replace(HERE, clock="instructions"), "build")
    assert {x.name: x.read_bytes() for x in store.folder.iterdir()} == before


def test_a_renamed_folder_is_found_out(boards_dir: Path, build_dir: Path, tmp_path: Path) -> None:
    """QEMU's instructions where the virtual board's cycles are looked for."""
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as device:
        identity = device.identify()
    here = provenance_of(identity)
    measured(tmp_path / "mps2-an386@qemu", replace(here, board="mps2_an386", host="qemu", clock="instructions"))
    shutil.move(tmp_path / "mps2-an386@qemu", tmp_path / folder_name(identity))
    with pytest.raises(InputError, match="'mps2_an386', this is 'nucleo_l4r5'"):
        LatencyModel.load(tmp_path / folder_name(identity), expected=here)


def test_shipped_models_say_their_clock() -> None:
    shipped = Path(__file__).resolve().parent.parent / "latency_models"
    for folder in (x for x in shipped.iterdir() if x.is_dir()):
        provenance = Store(folder).provenance()
        host = folder.name.partition("@")[2] or "serial"
        assert (provenance.host, provenance.clock) == (host, CLOCK_KINDS[host])  # type: ignore[index]


def test_a_count_is_time_only_where_a_clock_ticks() -> None:
    assert latency_ms("silicon", 120_000_000, 1_200_000) == latency_ms("modelled", 120_000_000, 1_200_000) == 10
    assert latency_ms("instructions", 120_000_000, 1_200_000) is None
    assert latency_ms("host", 120_000_000, 1_200_000) is None
    assert latency_ms("of a kind that nobody knows", 120_000_000, 1_200_000) is None


def test_only_one_place_makes_time_of_counts() -> None:
    """Whatever divides by a board's clock stands in `latency_ms`; a limit becomes cycles in the search alone."""
    package = Path(__file__).resolve().parent.parent / "hil_nas"
    uses = re.compile(r"[*/]\s*(\w+\.)*(clock_hz|cpu_hz|hz)\b|(clock_hz|cpu_hz)\s*[*/]")
    places = {
        (str(path.relative_to(package)), line.strip())
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if uses.search(line) and "virtual" not in path.parts  # which is a clock itself
    }
    assert places == {
        ("workflows/measure.py", 'return cycles / clock_hz * 1e3 if clock_kind in ("silicon", "modelled") else None'),
        (
            "workflows/search_board.py",
            "cycles = None if budget.max_latency_s is None else budget.max_latency_s * self.identity.clock_hz",
        ),
    }


@pytest.mark.parametrize("kind", ["instructions", "host"])
def test_verify_checks_no_milliseconds_there(kind: Any) -> None:
    board = FakeBoard(board="mps2_an386")
    device = Device(Link(board), "qemu", kind)
    with pytest.raises(InputError, match=f"mps2_an386@qemu counts {kind}, so a limit in milliseconds cannot be"):
        verify(device, None, None, budget=Budget(max_latency_s=0.1))  # type: ignore[arg-type]
    assert not any(x.startswith("hil load") for x in board.commands)


def test_verify_on_instructions_shows_no_milliseconds(
    boards_dir: Path, build_dir: Path, kws_model: bytes
) -> None:
    host = HostFrontEnd(build_host_library(boards_dir, build_dir))
    with open_device("mps2-an386@qemu", boards_dir=boards_dir, build_dir=build_dir) as device:
        verification = verify(device, Model.read(kws_model), host, budget=Budget(), count=2).to_json()
    assert verification["latency_ms"] is None and verification["clock"]["kind"] == "instructions"
    text = io.StringIO()
    Rich(file=text, width=120).print(_verify_table(verification))
    assert f"{verification['network_cycles']:,} instructions" in text.getvalue()
    assert "cycles" not in text.getvalue() and not MILLISECONDS.search(text.getvalue())


def test_a_search_within_milliseconds_is_refused_on_instructions(
    boards_dir: Path, build_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once: nothing is searched, and no folder is left."""
    folders = ["--boards", boards_dir, "--build", build_dir, "--models", tmp_path / "none", "--runs", tmp_path / "runs"]
    limits = ["--board", "mps2-an386@qemu", "--max-latency", "50ms"]
    assert cli.main(["search", *limits, *map(str, folders)]) == 1
    shown = capsys.readouterr().err
    assert "mps2-an386@qemu counts instructions" in shown and "@virtual" in shown
    assert not (tmp_path / "runs").exists()


def result_of(kind: str) -> dict[str, Any]:
    """A search's result as that clock leaves it."""
    cycles = {"front_end": 100_000, "network": 300_000}
    shown = {f"{x}_ms": latency_ms(kind, 120_000_000, y) for x, y in cycles.items()}
    cost = {**shown, "latency_ms": latency_ms(kind, 120_000_000, 400_000), "ram_bytes": 1000, "flash_bytes": 2000}
    cost |= {f"{x}_cycles": y for x, y in cycles.items()}
    return {
        "board": "b@h", "engine": "plans", "build": "0", "front_end": "mfcc:400/200/40/10",
        "clock": {"kind": kind, "hz": 120_000_000, "error_percent": 5.0 if kind == "modelled" else None},
        "limits": {"max_ram_bytes": 9000, "max_flash_bytes": None, "max_latency_ms": None},
        "energy": None,
        "measured": cost, "predicted": cost, "bits_equal": True, "clips_compared": 5, "accuracy_int8": 0.9,
        "accuracy_float": 0.9, "test_clips": 9, "labels": ["a", "b"], "confusion": [[1, 0], [0, 1]],
        "macs": 1000, "parameters": 100, "front_end_cycles": 100_000, "stages": [["fft", 100_000]],
        "operators": [["conv", 200_000], ["fully_connected", 100_000]],
        "ram": {"arena": 1000}, "flash": {"image": 2000},
        "data": {"name": "words", "speakers": {}, "speaker_names": [], "clips_without_speaker": 0, "warnings": []},
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["modelled", "instructions"])
def test_a_report_names_its_clock_and_shows_time_only_for_cycles(kind: str) -> None:
    network = Network((4, 4, 1), (Layer("conv", (-1,), 2, kernel=(3, 3)), Layer("fully_connected", (0,), 2)))
    history = [
        {"phase": "search", "expected_latency_ms": latency_ms(kind, 120_000_000, x * 100_000)} for x in range(1, 4)
    ]
    page = page_of(SearchRun(result_of(kind), network, history))
    text = io.StringIO()
    Rich(file=text, width=120).print(search_table(result_of(kind), Path("runs")))
    timed = kind == "modelled"
    assert bool(MILLISECONDS.search(text.getvalue())) == timed and kind in text.getvalue()
    assert bool(MILLISECONDS.search(page)) == timed
    assert ("Expected latency" in page) == timed and ("MHz" in page) == timed
    assert ('<th scope="col">instructions</th>' in page) != timed
    assert ("no time" in page) != timed
    measured = f"{400_000 / 120_000:.2f} ms ± 5 %"
    assert (measured in page and measured in text.getvalue()) == timed  # a model says what it may be off by
    assert ("± 5 %" in text.getvalue()) == ("within 5 % of silicon" in page) == timed


