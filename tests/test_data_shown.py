"""Where people see what was found in their data: while it is read, in verify, in result.json and in its page."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hil_nas import cli
from hil_nas.audio.datasets import load_speech_commands
from hil_nas.config import BaselineConfig
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import attach_front_end
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.hosts import open_device
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import Layer, Network
from hil_nas.progress import Progress, silent
from hil_nas.report.page import search_page
from hil_nas.runs import Run
from hil_nas.training.evaluate import Evaluation
from hil_nas.training.product import Product
from hil_nas.training.recipe import Recipe
from hil_nas.workflows import finish
from hil_nas.workflows.patience import PatientBoard
from hil_nas.workflows.verify import host_library
from tests.recordings import record, tone, write_pcm

CONFIG = Mfcc(640, 640, 20, 10)
NETWORK = Network((25, 10, 1), (Layer("conv", (-1,), 4, kernel=(3, 3), relu=True), Layer("fully_connected", (0,), 3)))
WARNING = "clips hold nothing but zeros: lamp (40 of 40); record them again"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """`lamp` is silent, and the folder's own name is no UTF-8."""
    record(tmp_path / "words", ["lamp", "music"])
    for path in (tmp_path / "words" / "lamp").iterdir():
        write_pcm(path, 0 * tone(100))
    return (tmp_path / "words").rename(tmp_path / os.fsdecode(b"w\xf6rter"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(attach_front_end(write_tflite(random_graph(NETWORK, 0)), CONFIG))
    return path


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_verify_reads_and_tells_as_a_search_does(
    words: Path, model: Path, boards_dir: Path, build_dir: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    where = ["--boards", str(boards_dir), "--build", str(build_dir), "--board", "native@native"]
    test = load_speech_commands(words).test
    shown = "clips hold nothing but zeros: lamp (5 of 5); record them again"
    assert cli.main(["verify", str(model), "--data", str(words), *where, *options]) == 0
    printed = capsys.readouterr()
    assert f"data: {shown}" in printed.err
    if options:
        result = json.loads(printed.out)
        assert result["data"]["warnings"] == [shown] and result["clips_compared"] == len(test) and result["bits_equal"]
        assert result["data"]["speakers"] == {"train": 6, "validation": 1, "test": 1}
    else:
        assert f"data: {shown}" in printed.out


def test_a_result_and_its_page_say_what_was_found(
    words: Path, model: Path, tmp_path: Path, boards_dir: Path, build_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finish whose training is left out."""
    data = load_speech_commands(words)
    seen = Evaluation(np.eye(3, dtype=np.int64))
    answers = np.zeros((len(data.test), 3), np.int8)
    product = Product(model.read_bytes(), seen, seen, seen, answers)
    monkeypatch.setattr(finish, "make_product", lambda *x, **y: product)
    folders = finish.Folders(boards_dir, build_dir, tmp_path / "models", tmp_path / "runs")
    config = BaselineConfig("ds-cnn", data=str(words), clips=50)
    run = Run.create(folders.runs, "baseline", "test", config.to_json())
    run.write_json("network.json", {"front_end": str(CONFIG), "network": NETWORK.to_json()})
    opened = partial(open_device, "native@native", boards_dir=boards_dir, build_dir=build_dir)
    with PatientBoard(opened(), opened, silent) as board:
        result = finish.finish(
            finish.ChosenNetwork(NETWORK, CONFIG, {}), config, data, board, host_library(boards_dir, build_dir),
            run, folders, Recipe(), page=search_page, progress=silent,
        )  # fmt: skip
    assert json.loads(run.path("result.json").read_text()) == result
    assert result["data"] == {
        "name": "w\\xf6rter", "speakers": {"train": 6, "validation": 1, "test": 1},
        "speaker_names": ["alice", "bob", "carol", "dave"], "clips_without_speaker": 0, "warnings": [WARNING],
    }  # fmt: skip
    page = run.path("report.html").read_text(encoding="utf-8")
    assert WARNING in page and "6 in train, 1 in validation, 1 in test" in page and "w\\xf6rter" in page


def test_clips_are_counted_while_they_are_read(words: Path) -> None:
    steps: list[Progress] = []
    load_speech_commands(words, progress=steps.append)
    assert [(x.task, x.done, x.total) for x in steps if not x.lasting] == [("reading clips", 80, 80)]
    who = "speakers like alice, bob, carol, dave: 6 in train, 1 in validation, 1 in test"
    assert [x.note for x in steps if x.lasting] == [who, WARNING]
