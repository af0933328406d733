"""What finished searches left becomes the zoo: the front of it, without a place of this machine, wholly anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gather_zoo import gather

from hil_nas.errors import InputError
from hil_nas.folders import usual_folders, zoo_folder
from hil_nas.workflows.zoo import INDEX, give, zoo_networks

NETWORKS = zoo_networks(zoo_folder())
CLIP = next(x for x in NETWORKS if x.period_ms is None)
HERE = Path(__file__).resolve().parent  # a place of this machine, which no entry may name


def page(folder: Path, result: dict[str, Any]) -> str:
    return "a page"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search on clips."""
    folder = tmp_path_factory.mktemp("source") / "run"
    give(CLIP, folder, usual_folders(), page=page)
    return folder


def change(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def finished(source: Path, folder: Path, accuracy: float, count: int, *more: str, status: str = "complete") -> None:
    """A search on this machine that validated so and takes so many cycles."""
    shutil.copytree(source, folder)
    cycles = {"front_end_cycles": count - 1, "network_cycles": 1, "latency_ms": count / 1e5}
    measured = {**CLIP.result["measured"], **cycles}
    change(folder / "result.json", validation_accuracy_int8=accuracy, measured=measured, status=status)
    data, talk = str(HERE / "speech_commands"), str(HERE / "talk")
    change(folder / "config.json", data=data, negatives=[talk])
    argv = ["search", "--data", data, f"--negatives={talk}", "--runs", str(HERE / "left")]
    change(
        folder / "environment.json", argv=[*argv, "--json", "--name=mine", "--max-latency", "8ms,9ms", *more],
        platform="Linux-6.1.0-18-amd64-x86_64-with-glibc2.36",
    )  # fmt: skip


def files_of(zoo: Path) -> dict[str, bytes]:
    return {x.relative_to(zoo).as_posix(): x.read_bytes() for x in zoo.rglob("*") if x.is_file()}


def test_what_was_given_is_gathered_again(tmp_path: Path) -> None:
    for network in NETWORKS:
        give(network, tmp_path / "runs" / network.name, usual_folders(), page=page)
    assert sorted(gather([tmp_path / "runs"], tmp_path / "zoo")) == sorted(x.name for x in NETWORKS)
    again, shipped = files_of(tmp_path / "zoo"), files_of(zoo_folder())
    assert json.loads(again.pop(INDEX)) == json.loads(shipped.pop(INDEX)) and again == shipped


def test_the_front_is_kept_and_nothing_of_before(source: Path, tmp_path: Path) -> None:
    """Chosen by validation: test accuracy is the same of all. The limits of one search lie in folders of their own."""
    runs, zoo = tmp_path / "runs", tmp_path / "zoo"
    (runs / "shared").mkdir(parents=True)
    result = {"schema": "hil_nas.run", "version": 2, "status": "missed", "points": []}
    (runs / "shared" / "result.json").write_text(json.dumps(result))
    finished(source, runs / "shared" / "8ms", 0.90, 800_000)
    finished(source, runs / "shared" / "9ms", 0.89, 900_000)  # no more accurate and dearer
    finished(source, runs / "alone", 0.95, 1_000_000)
    finished(source, runs / "better", 0.99, 700_000, status="missed")
    shutil.copytree(runs / "alone", runs / "unfinished")
    (runs / "unfinished" / "result.json").unlink()
    gather([runs / "shared" / "9ms"], zoo)
    assert {x.name for x in zoo_networks(zoo)} == {"clip-9.00ms"}
    assert gather([runs], zoo) == ["clip-8.00ms", "clip-10.00ms"]
    cheap, good = zoo_networks(zoo)
    assert (cheap.count, good.count) == (800_000, 1_000_000) and {x.name for x in zoo.iterdir()} == {
        "clip-8.00ms", "clip-10.00ms", INDEX
    }  # fmt: skip
    assert cheap.command == "hil_nas search --data speech_commands --negatives talk --max-latency 8ms,9ms"
    assert cheap.environment["platform"] == "Linux-x86_64-with-glibc2.36"
    config = json.loads(cheap.files["config.json"])
    assert (config["data"], config["negatives"]) == ("speech_commands", ["talk"])
    assert not [x for x, data in files_of(zoo).items() if str(HERE).encode() in data or b"mine" in data]


def test_what_cannot_be_shipped_is_refused_and_the_zoo_stays(source: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    finished(source, tmp_path / "good", 0.9, 800_000)
    gather([tmp_path / "good"], zoo)
    before = files_of(zoo)
    finished(source, tmp_path / "place", 0.9, 810_000, "--also", "--data /srv/words")
    finished(source, tmp_path / "words", 0.9, 820_000)
    change(tmp_path / "words" / "result.json", labels=["lamp", "silence", "unknown"])
    finished(source, tmp_path / "plan", 0.9, 830_000)
    (tmp_path / "plan" / "plan.bin").write_bytes(b"another")
    finished(source, tmp_path / "wheel", 0.9, 840_000)
    change(tmp_path / "wheel" / "environment.json", git=None)
    finished(source, tmp_path / "twin", 0.95, 800_001)
    (tmp_path / "nothing").mkdir()
    for name, why in (
        ("place", "names a place of this machine"), ("words", "learnt lamp"), ("plan", "not what this version makes"),
        ("wheel", "names no revision"), ("twin", "one name: clip-8.00ms, clip-8.00ms"),
        ("nothing", "no finished search"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=why):
            gather([tmp_path / "good", tmp_path / name], zoo)
    assert files_of(zoo) == before
