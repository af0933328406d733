"""The zoo: what is shipped is whole, answers as it did, is as accurate as it says, and is given as a run folder."""

from __future__ import annotations

import json
import shutil
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from gather_zoo import LABELS, clips, heard, names_a_place
from listened_export import export_words, words_of
from test_deploy_c_export import make, noise, run, scores

from hil_nas import cli, folders
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import load_test_split
from hil_nas.deploy.host_engine import HostEngine, build_engine_library
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import read_front_end, read_tflite
from hil_nas.device.firmware import find_third_party
from hil_nas.folders import Folders, usual_folders, zoo_folder
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.progress import silent
from hil_nas.runs import read_result
from hil_nas.workflows import zoo
from hil_nas.workflows.finished_run import FinishedRun
from hil_nas.workflows.listen import host_listener, listening_of
from hil_nas.workflows.zoo import KEPT, ZooNetwork, digest, give, zoo_network, zoo_networks

NETWORKS = {x.name: x for x in zoo_networks(zoo_folder())}
NAMES = list(NETWORKS)
INDEX = json.loads((zoo_folder() / zoo.INDEX).read_text())
MOST_BYTES = 1_500_000  # of all, as a wheel packs them


def no_page(folder: Path, result: dict[str, Any]) -> str:
    return "a page"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The run folder of a network by its name, made once."""
    runs = tmp_path_factory.mktemp("runs")

    @cache
    def folder(name: str) -> Path:
        assert cli.main(["zoo", name, str(runs / name)]) == 0
        return runs / name

    return folder


@pytest.fixture(scope="module")
def test_split(speech_commands: Path) -> Clips:
    return load_test_split(speech_commands)[0]


def json_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main([*words, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_the_zoo_is_what_its_index_says_and_small() -> None:
    there = {x.relative_to(zoo_folder()).as_posix() for x in zoo_folder().rglob("*") if x.is_file()}
    assert there == {zoo.INDEX} | {f"{x}/{y}" for x in INDEX["networks"] for y in KEPT}
    assert {x.parent for x in zoo_folder().rglob("*.json")} - {zoo_folder()} == {zoo_folder() / x for x in NAMES}
    assert sum(len(zlib.compress((zoo_folder() / x).read_bytes())) for x in there) < MOST_BYTES
    assert len({x.period_ms is None for x in NETWORKS.values()}) == 2, "both clips and a stream"


@pytest.mark.parametrize("name", NAMES)
def test_no_file_names_a_place_of_the_machine_that_made_it(name: str) -> None:
    for file, data in NETWORKS[name].files.items():
        assert not names_a_place(file, data), file
    config = json.loads(NETWORKS[name].files["config.json"])
    assert config["data"] == "speech_commands" and NETWORKS[name].command.startswith("hil_nas ")
    assert "--data speech_commands" in NETWORKS[name].command and "--runs" not in NETWORKS[name].command


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ('{"data": "/data/speech"}', True), ("--data=/srv/words", True), ("in ~/words", True),
        ('"argv": ["--front-end", "mfcc:400/100/40/40"]', False), ('"separable 3x1 /2x1"', False),
        ('"https://example.org/a"', False), ('"0.5/h", "a and/or b"', False),
    ],
)  # fmt: skip
def test_places_are_told_from_other_text(data: str, place: bool) -> None:
    assert names_a_place("config.json", data.encode()) is place
    assert names_a_place("model.tflite", b"\0/home/anna/x\0") and not names_a_place("model.tflite", b"\0/a\0~/b")


@pytest.mark.parametrize("name", NAMES)
def test_a_network_answers_as_it_did(name: str, boards_dir: Path, build_dir: Path) -> None:
    """TFLM and the device's engine, on features that the device's front end makes of clips that all machines make."""
    network = NETWORKS[name]
    model = network.files["model.tflite"]
    features = heard(model)
    answers = Tflm(model).run(features)
    assert digest(answers.tobytes()) == INDEX["networks"][name]["answers"]
    assert len(np.unique(answers.argmax(axis=1))) > 1 and len(np.unique(answers)) > 20
    library = build_engine_library(boards_dir, find_third_party().cmsis_nn, build_dir)
    assert np.array_equal(HostEngine(library, lower(read_tflite(model))).run(features), answers)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_as_accurate_as_it_says(name: str, test_split: Clips, boards_dir: Path, build_dir: Path) -> None:
    network = NETWORKS[name]
    model = network.files["model.tflite"]
    front_end, plan = read_front_end(model), lower(read_tflite(model))
    assert front_end is not None
    host = HostFrontEnd(build_host_library(boards_dir, build_dir))
    engine = HostEngine(build_engine_library(boards_dir, find_third_party().cmsis_nn, build_dir), plan)
    features = host.features(front_end.blob(plan.input_scale, plan.input_zero_point), test_split.samples)
    confusion = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(confusion, (test_split.labels, engine.run(features).argmax(axis=1)), 1)
    assert confusion.tolist() == network.result["confusion"]
    assert np.trace(confusion) / confusion.sum() == pytest.approx(network.result["accuracy_int8"], abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_given_folder_is_a_run(
    name: str, given: Any, build_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that goes on from a run does: its page again, the list of runs, a board."""
    network, folder = NETWORKS[name], given(name)
    assert read_result(folder) == network.result and {x.name for x in folder.iterdir()} >= {*KEPT, "export", "plan.bin"}
    page = (folder / "report.html").read_text()
    assert network.result["front_end"] in page and network.command.replace("'", "&#39;") in page
    assert cli.main(["report", str(folder)]) == 0 and (folder / "report.html").read_text() == page
    capsys.readouterr()
    listed = json_of(capsys, "runs", "--runs", str(folder.parent))["runs"]
    assert network.result["accuracy_int8"] in [x["accuracy_int8"] for x in listed if x["name"] == name]
    board = ["--board", "native@native", "--build", str(build_dir)]
    for file in ("model.tflite", *(["stream.tflite"] if network.period_ms else [])):
        verified = json_of(capsys, "verify", str(folder / file), "--clips", "2", *board)
        assert verified["bits_equal"] and verified["clips_compared"] == 2
    soundfile.write(tmp_path / "all.wav", np.concatenate([*clips(FinishedRun.read(folder).front_end)]), 16_000)
    verified = json_of(capsys, "verify", str(folder), "--listen", str(tmp_path / "all.wav"), *board)
    assert verified["bits_equal"] and verified["decisions"] > 50
    assert verified["way"] == ("as a stream" if network.period_ms else "in sliding windows")


@pytest.mark.parametrize("name", NAMES)
def test_a_given_export_builds_and_gives_the_same_bits(
    name: str, given: Any, tmp_path: Path, boards_dir: Path, build_dir: Path
) -> None:
    network, folder = NETWORKS[name], given(name)
    make(folder / "export")
    finished, plan = FinishedRun.read(folder), lower(read_tflite(network.files["model.tflite"]))
    samples = np.concatenate([*clips(finished.front_end)])
    soundfile.write(tmp_path / "all.wav", samples, 16_000)
    host = host_listener(listening_of(finished, None, silent), boards_dir, build_dir)
    words = words_of(host.push(samples), finished.labels, 16_000)
    assert export_words(folder / "export", tmp_path / "all.wav") == words
    if network.period_ms is None:  # the example then says the scores of a clip too
        blob = finished.front_end.blob(plan.input_scale, plan.input_zero_point)
        features = HostFrontEnd(build_host_library(boards_dir, build_dir)).features(blob, noise()[np.newaxis])
        assert scores(run(folder / "export").stdout) == Tflm(finished.model).run(features[..., np.newaxis])[0].tolist()
    figures = (folder / "export" / "src" / "keywords_figures.h").read_text()
    assert f"RAM_BYTES {network.result['measured']['ram_bytes']}" in figures and network.environment["git"] in figures


def test_the_list_shows_every_network_with_what_measured_it(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json_of(capsys, "zoo")["networks"]
    assert [x["name"] for x in listed] == NAMES
    for entry in listed:
        result = NETWORKS[entry["name"]].result
        assert entry["accuracy_int8"] == result["accuracy_int8"]
        assert entry["ram_bytes"] == result["measured"]["ram_bytes"]
        low, high = entry["accuracy_interval"]
        assert low < entry["accuracy_int8"] < high and entry["board"] == result["board"] and entry["revision"]
    assert cli.main(["zoo"]) == 0
    shown = capsys.readouterr().out
    for network in NETWORKS.values():
        measured = network.result["measured"]
        line = next(x for x in shown.splitlines() if f" {network.name} " in x)
        for text in (f"{network.count:,}", f"{measured['latency_ms']:.2f}", f"{network.result['accuracy_int8']:.2%}"):
            assert text in line
    assert "modelled clock, ± 5 %" in shown and "10 words: down, go" in shown


def counting(network: ZooNetwork, name: str) -> ZooNetwork:
    """The same by a clock that counts instructions, which are no time."""
    result = {**network.result, "clock": {"kind": "instructions", "hz": 1, "error_percent": None}}
    result["measured"] = {**result["measured"], "latency_ms": None}
    return ZooNetwork(name, network.files, result, network.environment, network.figures)


def test_instructions_stand_in_a_table_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = NETWORKS[NAMES[0]]
    monkeypatch.setattr(zoo, "zoo_networks", lambda folder: [first, counting(first, "counted")])
    assert cli.main(["zoo"]) == 0
    cycles, instructions = capsys.readouterr().out.split(f"{first.result['board']} (")[1:]
    assert " cycles " in cycles and " ms " in cycles and "counted" not in cycles
    assert " instructions " in instructions and " ms " not in instructions and "cycles" not in instructions


def test_a_network_goes_where_runs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert json_of(capsys, "zoo", NAMES[0])["run"] == f"runs/{NAMES[0]}"
    assert FinishedRun.read(Path("runs", NAMES[0])).name == NAMES[0]
    assert json_of(capsys, "zoo", NAMES[0], "elsewhere")["revision"] and Path("elsewhere/export/Makefile").is_file()


def test_mistakes_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["zoo", NAMES[0][:-1]]) == 1
    told = capsys.readouterr().err
    assert f"did you mean '{NAMES[0]}'" in told and "`hil_nas zoo` shows them" in told
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("")
    (tmp_path / "file").write_text("")
    for name in ("taken", "file", "file/below"):
        assert cli.main(["zoo", NAMES[0], name]) == 1
        assert name.partition("/")[0] in capsys.readouterr().err
    assert sorted(x.name for x in tmp_path.rglob("*")) == ["file", "mine.txt", "taken"]
    (tmp_path / "empty").mkdir()
    assert cli.main(["zoo", NAMES[0], "empty"]) == 0 and (tmp_path / "empty" / "result.json").is_file()


def test_what_ends_half_way_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(folder: Path, result: dict[str, Any]) -> str:
        assert (folder / "export" / "Makefile").is_file()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give(NETWORKS[NAMES[0]], tmp_path / "run", usual_folders(), page=interrupted)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_what_was_shipped_is_our_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "hil_nas"
    shutil.copytree(zoo_folder(), package / "zoo")
    (package / "boards").symlink_to(usual_folders().boards)
    monkeypatch.setattr(folders, "_package", lambda: package)
    assert cli.main(["zoo"]) == 0
    model = package / "zoo" / NAMES[-1] / "model.tflite"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    for words in (["zoo"], ["zoo", NAMES[-1], str(tmp_path / "run")]):
        with pytest.raises(AssertionError, match="model.tflite is not the file that was shipped"):
            cli.main(words)
    assert not (tmp_path / "run").exists()


def test_networks_are_given_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [x for x in sys.modules if x.partition(".")[0] in ("torch", "tensorflow")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("torch", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    usual = usual_folders()
    only_boards = Folders(usual.boards, tmp_path / "no", tmp_path / "no", tmp_path / "no")
    give(zoo_network(NAMES[-1], zoo_folder()), tmp_path / "run", only_boards, page=no_page)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["run"]
