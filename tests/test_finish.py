"""The end of every search and baseline: which figure stands where in the result, and what lies in the folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hil_nas.audio.checks import Findings
from hil_nas.audio.clips import Clips
from hil_nas.budget import Budget
from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.errors import InputError
from hil_nas.front_ends import ClipFormat
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import INPUT, Layer, Network
from hil_nas.progress import silent
from hil_nas.runs import Run, read_result
from hil_nas.training.evaluate import Evaluation
from hil_nas.training.product import Product
from hil_nas.training.recipe import Recipe
from hil_nas.words import TEN_WORDS
from hil_nas.workflows import finish as module
from hil_nas.workflows.finish import ChosenNetwork, Folders, finish, load_data
from hil_nas.workflows.finished_run import FinishedRun
from hil_nas.workflows.listen import listening_of
from hil_nas.workflows.run_export import write_export
from hil_nas.workflows.verify import Verification
from hil_nas.workflows.worst_clips import WorstClips

ROOT = Path(__file__).resolve().parent.parent
CONFIG = Mfcc(640, 640, 20, 4)
LABELS = ("a", "b", "c")
CLOCK = {"kind": "modelled", "hz": 120_000_000, "error_percent": 5.0}
NETWORK = Network((CONFIG.frames, CONFIG.coefficients, 1), (Layer("fully_connected", (INPUT,), 3),))
MODEL = attach_front_end(write_tflite(random_graph(NETWORK, 0)), CONFIG)
FOLDERS = Folders(ROOT / "boards", ROOT / "build", ROOT / "latency_models", Path("runs"))


def said(right: int, wrong: int) -> Evaluation:
    return Evaluation(np.array([[right, wrong, 0], [0, 0, 0], [0, 0, 0]]))


ANSWERS = np.eye(3, dtype=np.int8)[np.arange(30) % 3]  # of 30 test clips
PRODUCT = Product(MODEL, said(92, 8), float_test=said(193, 7), int8_test=said(194, 6), test_answers=ANSWERS)


ENERGY = {"mj": 0.21, "active_mw": 42.0, "source": "a page"}


def verified(**more: Any) -> Verification:
    values: dict[str, Any] = {
        "board": "b@h", "clock": CLOCK, "engine": "e", "kernels": ("dsp",), "build": "f",
        "front_end": str(CONFIG), "compared": "features and logits", "clips_compared": 17, "differing_bytes": 0,
        "front_end_cycles": 240_000, "stages": (("fft", 240_000),), "network_cycles": 360_000,
        "operators": (("fully_connected", 359_000),),
        "latency_ms": 5.0, "energy": ENERGY, "ram": {"arena": 11, "stack": 12}, "flash": {"image": 13, "plan": 14},
        "limits": {"max_ram_bytes": 21, "max_flash_bytes": 22, "max_latency_s": 0.023, "max_load": None},
        "missed": (), "accuracy": 0.5,
    }  # fmt: skip
    return Verification(**values | more)


def finished(monkeypatch: pytest.MonkeyPatch, folder: Path, verification: Verification) -> tuple[dict[str, Any], Any]:
    """A finish whose training and board are told what they found; its result, and what they were asked."""
    arguments: dict[str, Any] = {}

    def product(*args: Any, **more: Any) -> Any:
        arguments["product"] = (args, more)
        run.log({"phase": "train", "epoch": 1})
        return PRODUCT

    def verify(*args: Any, **more: Any) -> Verification:
        assert (folder / "model.tflite").read_bytes() == MODEL, "a board that stays away leaves the model"
        arguments["verify"] = (args, more)
        return verification

    def page(run_folder: Path, result: dict[str, Any]) -> str:
        assert not (folder / "result.json").exists(), "result.json is written last"
        assert run_folder == folder and (folder / "plan.bin").is_file(), "a page reads what lies there"
        arguments["page"] = (result, WorstClips.read(folder / "worst_clips.npz"))
        return "<html>"

    monkeypatch.setattr(module, "make_product", product)
    monkeypatch.setattr(module, "verify", verify)
    labels = (np.arange(30) + (np.arange(30) > 26)) % 3
    run, test = Run(folder), Clips(np.zeros((30, 16000), np.int16), labels)
    run.write_json("environment.json", {"git": "0123abc"})
    board: Any = SimpleNamespace(do=lambda work: work("board"))
    data: Any = SimpleNamespace(test=test, classes=LABELS, name="toy", findings=Findings())
    settings: Any = SimpleNamespace(budget=Budget(21, 22, 0.023), clips=17, seed=5, period_samples=None)
    host: Any = SimpleNamespace(features=lambda blob, clips: np.zeros((len(clips), 25, 4), np.int8))
    chosen, recipe = ChosenNetwork(NETWORK, CONFIG, {"latency_ms": 4.5}), Recipe(epochs=7)
    result = finish(chosen, settings, data, board, host, run, FOLDERS, recipe, page=page, progress=silent)
    assert arguments["product"] == ((NETWORK, CONFIG, data, host, run, recipe), {"seed": 5, "progress": silent})
    args, more = arguments["verify"]
    assert (args[0], args[1].data, args[2]) == ("board", MODEL, host)
    assert more["budget"] == settings.budget and more["progress"] is silent
    return result, arguments


def test_every_figure_stands_where_it_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result, arguments = finished(monkeypatch, tmp_path, verified())
    assert result == json.loads((tmp_path / "result.json").read_text()) == read_result(tmp_path)
    assert result == {
        "schema": "hil_nas.run", "version": 2, "status": "complete",
        "board": "b@h", "clock": CLOCK, "engine": "e", "build": "f",
        "front_end": "mfcc:640/640/20/4",
        "limits": {"max_ram_bytes": 21, "max_flash_bytes": 22, "max_latency_ms": pytest.approx(23), "max_load": None},
        "measured": {
            "latency_ms": 5.0, "front_end_ms": pytest.approx(2), "network_ms": pytest.approx(3),
            "front_end_cycles": 240_000, "network_cycles": 360_000, "ram_bytes": 23, "flash_bytes": 27,
        },
        "energy": ENERGY,
        "predicted": {"latency_ms": 4.5}, "limits_held": True, "limits_missed": [], "bits_equal": True,
        "differing_bytes": 0, "clips_compared": 17, "accuracy_int8": 0.97, "accuracy_float": 0.965,
        "validation_accuracy_int8": 0.92, "test_clips": 200, "labels": ["a", "b", "c"],
        "data": {"name": "toy", **Findings().to_json()},
        "confusion": [[194, 6, 0], [0, 0, 0], [0, 0, 0]],
        "macs": 25 * 4 * 3, "parameters": 25 * 4 * 3 + 3,  # one dense layer on 25 frames of 4
        "front_end_cycles": 240_000, "stages": [["fft", 240_000]], "operators": [["fully_connected", 359_000]],
        "ram": {"arena": 11, "stack": 12}, "flash": {"image": 13, "plan": 14},
    }  # fmt: skip
    shown, worst = arguments["page"]
    assert shown["accuracy_int8"] == 0.97 and sorted(worst.places) == [27, 28, 29]  # the only ones answered wrong
    assert (tmp_path / "report.html").read_text() == "<html>"
    figures = re.findall(r"KEYWORDS_VERIFIED_(.*)", (tmp_path / "export" / "src" / "keywords_figures.h").read_text())
    assert figures == [
        'BOARD "b@h"', f'CLOCK "{CLOCK["kind"]}"', f"CLOCK_HZ {CLOCK['hz']}", "FRONT_END_CYCLES 240000",
        "NETWORK_CYCLES 360000", "RAM_BYTES 23", "FLASH_BYTES 27", 'ACCURACY_PERCENT "97.00"', "TEST_CLIPS 200",
        'REVISION "0123abc"',
    ]  # fmt: skip


def test_a_model_that_cannot_listen_is_not_exported_and_is_finished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any) -> None:
        raise InputError("logits in steps of 90")

    monkeypatch.setattr(module, "listening_of", refuse)
    result, _ = finished(monkeypatch, tmp_path, verified())
    assert result["status"] == "complete" and not (tmp_path / "export").exists()


@pytest.mark.parametrize("broken", [{"missed": ("RAM is 3 B, the limit 2 B",)}, {"differing_bytes": 1}])
def test_a_broken_limit_or_bit_is_a_miss_and_leaves_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: dict[str, Any]
) -> None:
    result, _ = finished(monkeypatch, tmp_path, verified(**broken))
    assert result["status"] == "missed"
    assert (result["limits_held"], result["bits_equal"]) == ("missed" not in broken, "missed" in broken)
    assert result["limits_missed"] == list(broken.get("missed", ()))
    assert (tmp_path / "export" / "Makefile").is_file() and (tmp_path / "report.html").is_file()


def test_a_clock_that_counts_instructions_gives_no_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limits = {"max_ram_bytes": None, "max_flash_bytes": None, "max_latency_s": None, "max_load": None}
    clock = {"kind": "instructions", "hz": 25_000_000, "error_percent": None}
    result, _ = finished(monkeypatch, tmp_path, verified(clock=clock, limits=limits, latency_ms=None))
    measured = result["measured"]
    assert [measured[x] for x in ("latency_ms", "front_end_ms", "network_ms")] == [None] * 3
    assert (measured["front_end_cycles"], measured["network_cycles"]) == (240_000, 360_000)
    assert result["limits"] == {
        "max_ram_bytes": None, "max_flash_bytes": None, "max_latency_ms": None, "max_load": None
    }  # fmt: skip


def test_the_clips_for_the_board_are_drawn_by_the_seed() -> None:
    def heard(seed: int, clips: int) -> list[int]:
        settings: Any = SimpleNamespace(budget=Budget(), clips=clips, seed=seed)
        data: Any = SimpleNamespace(test=Clips(np.zeros((30, 16000), np.int16), np.arange(30)))
        seen: dict[str, Any] = {}
        board: Any = SimpleNamespace(do=lambda work: work("board"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "verify", lambda *args, **more: seen.update(more))
            host: Any = None
            module._verified(PRODUCT, settings, data, board, host, silent)
        return [int(x) for x in seen["labels"]]

    assert heard(0, 17) == sorted(set(heard(0, 17))) and len(heard(0, 17)) == 17
    assert heard(0, 17) != heard(1, 17)
    assert heard(0, 30) == heard(0, 100) == list(range(30))


def test_the_export_is_of_the_model_and_replaces_what_an_interrupted_run_left(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "half-written.c").write_text("int x =")
    (tmp_path / "model.tflite").write_bytes(MODEL)
    write_export(run, listening_of(FinishedRun.of_model(tmp_path / "model.tflite", LABELS), None, silent), FOLDERS)
    plan = lower(read_tflite(MODEL))
    assert not (tmp_path / "export" / "half-written.c").exists()
    text = "".join(x.read_text() for x in (tmp_path / "export" / "src").glob("*.[ch]"))
    assert all(f'"{x}"' in text for x in LABELS)
    assert ",".join(map(str, CONFIG.blob(plan.input_scale, plan.input_zero_point))) in re.sub(r"\s|,(?=\n})", "", text)


def test_words_are_spoken_unless_there_is_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def called(name: str) -> Any:
        return lambda *args, **more: (name, args, more)

    monkeypatch.setattr(module, "spoken_keywords", called("spoken"))
    monkeypatch.setattr(module, "load_speech_commands", called("read"))
    clip = ClipFormat(8000, 12000)
    spoken: Any = {"clip": clip, "progress": silent}
    assert load_data(None, ("lamp",), clip, tmp_path, silent) == ("spoken", (("lamp",), tmp_path), spoken)
    assert load_data(None, (), clip, tmp_path, silent) == ("spoken", (TEN_WORDS, tmp_path), spoken)
    folder: Any = ("read", (Path("x"), ("lamp",)), {"silence": True, "clip": clip, "progress": silent})
    assert load_data("x", ("lamp",), clip, tmp_path, silent) == folder
    every: Any = ("read", (Path("x"), None), {"silence": False, "clip": clip, "progress": silent})
    assert load_data("x", (), clip, tmp_path, silent, silence=False) == every
