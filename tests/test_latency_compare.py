"""Two latency models side by side, on rows made up so that every ratio is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from front_end_rows import front_end_row

from hil_nas import cli
from hil_nas.baselines import ds_cnn
from hil_nas.errors import InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.latency.compare import compare
from hil_nas.latency.kernel_work import is_executed, kernel_path
from hil_nas.latency.measurements import NetworkRow, OperatorRow
from hil_nas.latency.provenance import Provenance
from hil_nas.latency.store import Store

PROVENANCE = Provenance("nucleo_l4r5", "virtual", "modelled", 120_000_000, "plans", "a" * 16, "gcc 12", "flash")
CONFIG = Mfcc(400, 200, 40, 10)


def write(folder: Path, provenance: Provenance, factors: dict[str, int], front_end: int = 7000) -> Path:
    """A network whose operators take 100 cycles times the factor of their kernel path."""
    store = Store(folder)
    store.open(provenance, "build")
    store.append_front_end(front_end_row(CONFIG, front_end))
    operators = [x for x in ds_cnn().operators() if is_executed(x)]
    rows = [OperatorRow("n", i, x, (100 * factors.get(kernel_path(x), 1),)) for i, x in enumerate(operators)]
    store.append_network(NetworkRow("n", 1, (sum(x.cycles[0] for x in rows),)), rows)
    return folder


def test_ratios_are_by_kernel_path_and_front_end(tmp_path: Path) -> None:
    first = write(tmp_path / "a@virtual", PROVENANCE, {"dsp_1x1": 2})
    second = write(tmp_path / "b@virtual", replace(PROVENANCE, kernels="b" * 16), {"dsp_1x1": 6}, 10_500)
    comparison = compare(first, second)
    ratios = {x.what: x.median for x in comparison.operators}
    assert ratios["dsp_1x1"] == 3 and ratios["dsp_depthwise"] == 1 and ratios["dsp_fully_connected"] == 1
    assert [(x.what, x.median) for x in comparison.front_ends] == [(str(CONFIG), 1.5)]
    assert comparison.networks is not None and 1 < comparison.networks.median < 3
    assert comparison.same_clock and comparison.differences == {"kernels": ("a" * 16, "b" * 16)}


def test_an_operator_that_occurs_several_times_counts_once(tmp_path: Path) -> None:
    comparison = compare(write(tmp_path / "a@virtual", PROVENANCE, {}), write(tmp_path / "b@virtual", PROVENANCE, {}))
    assert {x.what: x.count for x in comparison.operators} == dict.fromkeys(
        ("dsp_average_pool", "dsp_1x1", "dsp_im2col_words", "dsp_fully_connected", "dsp_depthwise"), 1
    )


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a@virtual", PROVENANCE, {})
    store = Store(tmp_path / "b@virtual")
    store.open(PROVENANCE, "build")
    store.append_front_end(front_end_row(Mfcc(640, 320, 40, 10), 6))
    with pytest.raises(InputError, match="in common"):
        compare(first, store.folder)


def test_other_clocks_are_named_and_never_made_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "nucleo-l4r5@virtual", PROVENANCE, {})
    provenance = replace(PROVENANCE, board="mps2_an386", clock="instructions")
    write(tmp_path / "mps2-an386@qemu", provenance, {"dsp_fully_connected": 4})
    names = ["nucleo_l4r5@virtual", "mps2-an386@qemu"]
    assert cli.main(["profile", "--compare", *names, "--models", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "instructions / cycles" in shown and "no ratio of times" in shown and " ms" not in shown
    assert cli.main(["profile", "--compare", *names, "--models", str(tmp_path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["same_clock"] is False and data["differences"]["clock"] == ["modelled", "instructions"]
    assert next(x for x in data["operators"] if x["what"] == "dsp_fully_connected")["median"] == 4


def test_a_model_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", "--compare", "nucleo-l4r5", "x@virtual", "--models", str(tmp_path)]) == 1
    assert "nucleo-l4r5@serial" in capsys.readouterr().err
