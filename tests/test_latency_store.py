"""Rows on disk: what an interruption, damage or another board does to them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from front_end_rows import front_end_row

from hil_nas import cli
from hil_nas.errors import CutOffWarning, InputError
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.latency.measurements import NetworkRow, OperatorRow, network_id
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.provenance import Provenance
from hil_nas.latency.store import Store, model_folder
from hil_nas.network import INPUT, Layer, Network

ROOT = Path(__file__).resolve().parent.parent
HERE = Provenance(
    board="nucleo_l4r5", host="virtual", clock="modelled", cpu_hz=120_000_000, engine="plans",
    kernels="0123456789abcdef", versions="cmsis-nn 4.0.0;gcc 12.2", weights="flash",
)  # fmt: skip
NETWORK = Network(
    (49, 10, 1),
    (
        Layer("conv", (INPUT,), 8, (10, 4), (2, 2), relu=True),
        Layer("depthwise", (0,), kernel=(3, 3), dilation=(2, 1)),
        Layer("add", (0, 1)),
        Layer("concatenation", (2, 0)),
        Layer("max_pool", (3,), kernel=(3, 2), stride=(2, 2), padding="valid"),
        Layer("fully_connected", (4,), 12),
    ),
)


def measured(network: Network, scale: int = 1) -> tuple[NetworkRow, list[OperatorRow]]:
    name = network_id(network)
    operators = [
        OperatorRow(name, i, x, ((i + 1) * 1000 * scale, (i + 1) * 1001 * scale))
        for i, x in enumerate(network.operators())
    ]
    return NetworkRow(name, 4096, (22_000 * scale, 22_010 * scale)), operators


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "nucleo-l4r5@virtual")
    store.open(HERE, build="aaaa")
    store.append_front_end(front_end_row(Mfcc(400, 200, 40, 10), 900_000))
    store.append_network(*measured(NETWORK))
    return store


def test_rows_come_back_as_they_went_in(store: Store) -> None:
    total, operators = measured(NETWORK)
    rows = store.read()
    assert rows.networks == (total,) and rows.front_ends[0].cycles == (900_000,)
    assert [x.cycles for x in rows.operators] == [x.cycles for x in operators]
    for mine, theirs in zip(rows.operators, operators, strict=True):
        wiring = (INPUT,) * len(theirs.operator.inputs)
        assert mine.operator == replace(theirs.operator, layer=replace(theirs.operator.layer, inputs=wiring))
    assert rows.networks[0].median_cycles == 22_005


def test_a_delay_lines_row_says_how_many_it_keeps(tmp_path: Path) -> None:
    """A layer's rows stand in its own shape, and in no other cell."""
    store = Store(tmp_path / "nucleo-l4r5@virtual")
    store.open(HERE, build="aaaa")
    network = Network((1, 1, 8), (Layer("delay", (INPUT,), shape=(3, 1, 8)), Layer("conv", (0,), 8)))
    store.append_network(*measured(network))
    assert [x.operator for x in store.read().operators] == [
        replace(x, layer=replace(x.layer, inputs=(INPUT,))) for x in network.operators()
    ]


def test_two_processes_do_not_measure_into_one_folder(store: Store) -> None:
    """Each would cut off what the other is about to write, and both would measure the same networks."""
    program = (
        "import sys, pathlib; from hil_nas.latency.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).alone(): print('alone', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(store.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None and other.stdout.readline() == b"alone\n"
        with pytest.raises(InputError, match="another process is measuring into"), store.alone():
            pass
        other.kill()  # a lock does not outlive who held it
        other.wait()
    with store.alone(), Store(store.folder.parent / "other").alone():
        pass


@pytest.mark.parametrize("lost", [1, 40, 250, 420])
def test_a_network_cut_off_half_way_is_dropped_and_measured_again(store: Store, lost: int) -> None:
    path = store.folder / "measurements.csv"
    before = path.read_bytes()
    other = Network((49, 10, 1), (*NETWORK.layers[:-1], Layer("fully_connected", (4,), 35)))
    store.append_network(*measured(other))
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.warns(CutOffWarning, match="was cut off: 1 of 2 networks are gone; `hil_nas profile` measures what is"):
        rows = store.read()
    assert [x.network for x in rows.networks] == [network_id(NETWORK)]
    assert {x.network for x in rows.operators} == {network_id(NETWORK)}
    with pytest.warns(CutOffWarning, match="1 of 2 networks are gone; measured again"):
        store.open(HERE, build="aaaa")
    assert path.read_bytes() == before
    store.open(HERE, build="aaaa")  # said once
    store.append_network(*measured(other))
    assert len(store.read().networks) == 2


@pytest.mark.parametrize(("kept", "said"), [(5, "5 rows"), (1, "1 row")])
def test_what_an_interruption_left_half_written_is_told(store: Store, kept: int, said: str) -> None:
    """As the system leaves it where the machine stops within a write: nothing that was counted is gone."""
    path = store.folder / "measurements.csv"
    before, header = path.read_bytes(), (store.folder / "provenance.json").read_bytes()
    store.append_network(*measured(Network((49, 10, 1), (*NETWORK.layers[:-1], Layer("fully_connected", (4,), 35)))))
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[: before.count(b"\n") + kept])[:-3])
    (store.folder / "provenance.json").write_bytes(header)
    with pytest.warns(CutOffWarning, match=f"ends in {said} of what was being measured"):
        assert len(store.read().networks) == 1
    with pytest.warns(CutOffWarning, match=f"ends in {said} .*; measured again"):
        store.open(HERE, build="aaaa")
    assert path.read_bytes() == before


@pytest.mark.parametrize("lines", [0, 1, 8])
def test_a_file_cut_between_two_networks_is_told(store: Store, lines: int) -> None:
    """The rows that are left are whole: only the header knows that there were more."""
    path = store.folder / "measurements.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:lines]))
    gone = "1 of 1 networks are gone" if lines == 8 else "1 of 1 networks and 1 of 1 front ends are gone"
    with pytest.warns(CutOffWarning, match=gone):
        store.read()
    with pytest.warns(CutOffWarning, match=gone):
        store.open(HERE, build="aaaa")
    store.append_network(*measured(NETWORK))
    assert len(store.read().networks) == 1


def test_rows_that_are_gone_altogether_are_told(store: Store) -> None:
    (store.folder / "measurements.csv").unlink()
    with pytest.raises(InputError, match="other"):
        store.open(replace(HERE, board="other"), build="aaaa")
    with pytest.warns(CutOffWarning, match="1 of 1 networks and 1 of 1 front ends are gone"):
        store.open(HERE, build="aaaa")


def test_the_header_counts_what_was_written(store: Store) -> None:
    assert json.loads((store.folder / "provenance.json").read_text())["rows"] == {"networks": 1, "front_ends": 1}
    store.append_front_end(front_end_row(Mfcc(400, 200, 40, 13), 900_000))
    assert json.loads((store.folder / "provenance.json").read_text())["rows"] == {"networks": 1, "front_ends": 2}


@pytest.mark.parametrize("rows", [3, [], {"networks": 1}, {"networks": "1", "front_ends": 1}, {"networks": 1, "x": 1}])
def test_a_header_that_does_not_count_is_refused(store: Store, rows: object) -> None:
    path = store.folder / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rows": rows}))
    with pytest.raises(InputError, match="expected numbers of networks and front_ends"):
        store.read()


def test_a_cut_file_is_told_once_on_the_command_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.folder / "measurements.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:8]))
    assert cli.main(["profile", "--compare", store.name, store.name, "--models", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("was cut off: 1 of 1 networks are gone") == 1 == len(printed.err.splitlines())
    assert json.loads(printed.out)


def test_a_file_cut_inside_its_first_line_starts_anew(store: Store) -> None:
    path = store.folder / "measurements.csv"
    path.write_bytes(path.read_bytes()[:9])
    with pytest.warns(CutOffWarning, match="1 of 1 networks and 1 of 1 front ends are gone"):
        store.open(HERE, build="aaaa")
    store.append_network(*measured(NETWORK))
    assert len(store.read().networks) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"conv,49x10x1,", b"conv,49x10,", "line 9"),
        (b"conv,49x10x1,25x5x8", b"conv,49x10x1,25x5x9x1", "line 9"),
        (b"depthwise,25x5x8,25x5x8", b"depthwise,25x5x8,25x6x8", "does not give"),
        (b"\noperator,", b"\nopera_or,", "no record"),
        (b",same,1,", b",sane,1,", "sane"),
        (b"900000", b"-900000", "no cycles"),
        (b"900000", b"", "no cycles"),
        (b"900000", b"9e5", "line 8"),
        (b"/10,,900000", b",,900000", "no front end of the kind mfcc"),
        (b"stage,,,dct,,,,,,,,mfcc:400/200/40/10,,150000\n", b"", "has the stages"),
        (b"stage,,,spectrum", b"stage,,,spectra", "counted were window, fft, spectra"),
        (b"record,network", b"record,netwerk", "columns"),
        (b"conv,49x10x1,", b"conv,49x10x1,,,", "columns"),
        (b"900000", b"\xff\xfe", "not text"),
    ],
)
def test_damage_is_named_with_its_line(store: Store, old: bytes, new: bytes, words: str) -> None:
    path = store.folder / "measurements.csv"
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        store.read()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("board", "mps2_an386"), ("host", "serial"), ("clock", "silicon"), ("cpu_hz", 80_000_000),
        ("engine", "tflm"), ("kernels", "f" * 16), ("versions", "cmsis-nn 5.0.0"), ("weights", "ram"),
    ],
)  # fmt: skip
def test_rows_of_another_provenance_are_refused(store: Store, key: str, value: object) -> None:
    other = replace(HERE, **{key: value})
    with pytest.raises(InputError) as caught:
        store.open(other, build="aaaa")
    assert str(value) in str(caught.value) and str(getattr(HERE, key)) in str(caught.value)
    with pytest.raises(InputError, match=key):
        LatencyModel.load(store.folder, expected=other)
    assert LatencyModel.load(store.folder, expected=HERE).provenance == HERE


def test_another_build_of_the_same_kernels_goes_on(store: Store) -> None:
    store.open(HERE, build="bbbb")
    header = json.loads((store.folder / "provenance.json").read_text())
    assert header["builds"] == ["aaaa", "bbbb"]
    assert date.today() - date.fromisoformat(header["days"][-1]) <= timedelta(days=1)  # it is in UTC


def test_another_provenance_is_measured_in_a_folder_of_its_own(store: Store) -> None:
    """Measuring again is what was asked: the hint says what makes it possible."""
    with pytest.raises(InputError, match=f"move {store.folder} away"):
        store.open(replace(HERE, kernels="f" * 16), build="aaaa")


def test_a_new_folder_begins_with_the_shipped_rows_of_its_provenance(store: Store, tmp_path: Path) -> None:
    own, shipped_dir = Store(tmp_path / "own" / store.name), store.folder.parent
    assert model_folder(store.name, HERE, own.folder.parent, shipped_dir) == store.folder
    own.open(HERE, "bbbb", shipped_dir)
    assert own.read() == store.read()
    assert json.loads((own.folder / "provenance.json").read_text())["builds"] == ["aaaa", "bbbb"]
    own.append_network(*measured(Network((49, 10, 1), (*NETWORK.layers[:-1], Layer("fully_connected", (4,), 35)))))
    own.open(HERE, "bbbb", shipped_dir)
    assert len(own.read().networks) == 2 and len(store.read().networks) == 1
    assert model_folder(store.name, HERE, own.folder.parent, shipped_dir) == own.folder


def test_shipped_rows_of_another_provenance_are_not_gone_on_with(store: Store, tmp_path: Path) -> None:
    own = Store(tmp_path / "own" / store.name)
    own.open(replace(HERE, versions="cmsis-nn 4.0.0;gcc 13.2"), "bbbb", store.folder.parent)
    assert not own.has_rows() and own.provenance().versions.endswith("13.2")
    with pytest.raises(InputError, match=r"gcc 12.2', this is .*gcc 13.2' \(measure anew with `hil_nas profile`\)"):
        model_folder(store.name, own.provenance(), own.folder.parent, store.folder.parent)


def test_rows_without_their_header_are_of_who_knows_what(store: Store) -> None:
    (store.folder / "provenance.json").unlink()
    with pytest.raises(InputError, match=r"provenance\.json is missing"):
        store.open(HERE, build="aaaa")
    assert store.has_rows()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "hil_nas.measurements", "version": 1}', '{"schema": "x", "version": 2}']
)
def test_a_header_of_another_kind_is_refused(store: Store, text: str) -> None:
    (store.folder / "provenance.json").write_text(text)
    with pytest.raises(InputError, match=r"provenance\.json"):
        LatencyModel.load(store.folder)


def test_a_header_with_other_keys_is_refused(store: Store) -> None:
    path = store.folder / "provenance.json"
    path.write_text(path.read_text().replace('"engine"', '"motor"'))
    with pytest.raises(InputError, match="engine"):
        store.provenance()


def test_a_folder_without_rows_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="hil_nas profile"):
        LatencyModel.load(tmp_path / "nothing")
    store = Store(tmp_path / "empty")
    store.open(HERE, build="aaaa")
    with pytest.raises(InputError, match="no measurements"):
        store.read()
