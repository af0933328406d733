"""`hil_nas data check` says of a folder what a training takes of it, file by file."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hil_nas import cli
from hil_nas.audio.data_check import LEFT_OUT, NOISE, NOTHING, TESTED_ELSEWHERE, check_data
from hil_nas.audio.datasets import load_speech_commands
from hil_nas.audio.layout import SILENCE
from hil_nas.audio.splits import SPLITS
from hil_nas.errors import InputError
from tests.recordings import PEOPLE, record, splits_of, tone, write_pcm


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Two words and a third, noise, and one file with each fault; `erin_lamp_00` is the only one that is whole."""
    folder = tmp_path / "words"
    record(folder, ["lamp", "music", "other"])
    (folder / "_background_noise_").mkdir()
    write_pcm(folder / "_background_noise_" / "fan.wav", tone(100, 20.0))
    lamp = folder / "lamp"
    write_pcm(lamp / "alice_lamp_00.wav", 0 * tone(100))
    write_pcm(lamp / "alice_lamp_01.wav", np.clip(5 * tone(100), -1, 1))
    write_pcm(lamp / "alice_lamp_02.wav", tone(100) + 0.05)
    write_pcm(lamp / "alice_lamp_03.wav", tone(100, 0.4))
    write_pcm(lamp / "alice_lamp_04.wav", tone(100, 2.5))
    soundfile.write(lamp / "bob_lamp_00.wav", tone(500, 1.0, 0.3, 44100), 44100)
    shutil.copy(lamp / "carol_lamp_00.wav", lamp / "carol_lamp_77.wav")
    return folder


def checked(folder: Path, *options: str, status: int, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert cli.main(["data", "check", str(folder), "--json", *options]) == status
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_every_clip_of_a_training_is_counted_and_no_other(words: Path) -> None:
    report, data = check_data(words, ["lamp", "music"]), load_speech_commands(words, ["lamp", "music"])
    for split in SPLITS:
        counts = Counter(data.classes[x] for x in data.split(split).labels)
        del counts[SILENCE]
        uses = Counter(
            use.removesuffix(", 2 times").removeprefix(f"{split}, as ")
            for x in report.files for use in x.use.split("; ") if use.startswith(split)
            for _ in range(1 + use.endswith(", 2 times"))
        )  # fmt: skip
        assert uses == counts
    assert [x.name for x in report.classes] == ["lamp", "music", "unknown"]
    assert {x.name: x.clips for x in report.classes}["lamp"] == {
        x: int(np.count_nonzero(data.split(x).labels == 0)) for x in SPLITS
    }
    assert report.findings == data.findings and report.ok
    left = {x.name for x in report.files if x.use == LEFT_OUT}
    assert all(x.startswith("other/") for x in left)
    assert [x.name for x in report.files if x.use == NOISE] == ["_background_noise_/fan.wav"]


def test_speakers_and_splits_are_those_of_a_training(words: Path) -> None:
    report = check_data(words)
    splits = splits_of(words)
    by_split = {x: {y.name for y in report.files if y.split == x and y.use != NOISE} for x in SPLITS}
    assert by_split == splits
    assert {x.speaker for x in report.files if x.word == "lamp"} == set(PEOPLE)
    assert {x.name: x.speakers for x in report.classes} == {"lamp": 8, "music": 8, "other": 8}


def test_each_fault_is_seen_in_its_file_and_counted(words: Path) -> None:
    report = check_data(words)
    lamp = report.classes[0]
    assert lamp.faults == {"clipped": 1, "silent": 1, "offset": 1}
    assert lamp.changes == {"padded": 1, "cut": 1, "resampled": 1}
    assert lamp.seconds == (0.4, 1.0, 2.5)
    assert lamp.level_db is not None and lamp.level_db[0] == -120.0
    assert lamp.level_db[1] == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.1)
    facts = {x.name: x.facts for x in report.files}
    for name, seen in (("00", "silent"), ("01", "clipped"), ("02", "has_offset")):
        assert getattr(facts[f"lamp/alice_lamp_{name}.wav"], seen)
    assert facts["lamp/bob_lamp_00.wav"].rate_hz == 44100  # type: ignore[union-attr]
    assert report.same == (("lamp/carol_lamp_00.wav", "lamp/carol_lamp_77.wav"),)
    music = report.classes[1]
    assert not any({**music.faults, **music.changes}.values()) and music.seconds == (1.0, 1.0, 1.0)


def test_files_that_cannot_be_read_are_all_named_and_the_rest_is_told(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        (words / "music" / f"dave_music_9{number}.wav").write_bytes(b"no audio")
    (words / "music" / "dave_music_99.m4a").write_bytes(b"x")
    report = checked(words, status=1, capsys=capsys)
    assert not report["ok"] and len(report["problems"]) == 8
    assert report["problems"][-1]["message"] == "music/dave_music_99.m4a: m4a is not read"
    assert "ffmpeg" in report["problems"][-1]["hint"]
    refused = {x["name"] for x in report["files"] if x["use"] == "refused"}
    assert refused == {x["message"].partition(": ")[0] for x in report["problems"]}
    assert sum(report["classes"][1]["clips"].values()) == 40 and report["classes"][1]["seconds"] == [1.0, 1.0, 1.0]
    with pytest.raises(InputError, match="8 recordings in .* cannot be used"):
        load_speech_commands(words)
    assert cli.main(["data", "check", str(words)]) == 1
    assert capsys.readouterr().out.count("problem:") == 6  # five, and how many more


@pytest.mark.parametrize(
    ("people", "options", "says", "hint"),
    [
        (PEOPLE[:2], [], "the split by speaker leaves no", "add clips of more speakers"),
        (PEOPLE, ["--words", "lamb"], "has no clips of 'lamb'", "did you mean 'lamp'?"),
    ],
)
def test_what_no_training_takes_is_a_problem_beside_what_names_say(
    tmp_path: Path, people: tuple[str, ...], options: list[str], says: str, hint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    record(tmp_path / "words", ["lamp", "music"], people=people)
    report = checked(tmp_path / "words", *options, status=1, capsys=capsys)
    (problem,) = report["problems"]
    assert says in problem["message"] and hint in problem["hint"]
    assert {x["name"]: x["speakers"] for x in report["classes"]} == {"lamp": len(people), "music": len(people)}
    assert sum(sum(x["clips"].values()) for x in report["classes"]) == len(report["files"]) == 10 * len(people)
    assert report["uses"] == {NOTHING: len(report["files"])}


def test_a_folder_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", str(tmp_path / "none")]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_with_a_test_set_the_own_test_clips_are_left_out(words: Path) -> None:
    for word in ("lamp", "music", "other"):
        record(words / "test_set", [word], people=("zoe",), takes=3)
    record(words / "test_set", ["_silence_"], people=("zoe",), takes=3)
    report = check_data(words, ["lamp", "music"])
    uses = {x.name: x.use for x in report.files}
    assert uses["test_set/lamp/zoe_lamp_00.wav"] == "test, as lamp"
    assert uses["test_set/other/zoe_other_00.wav"] == "test, as unknown"
    assert uses["test_set/_silence_/zoe__silence__00.wav"] == "test, as silence"
    own = [x for x in report.files if x.split == "test"]
    assert own and {x.use for x in own} == {TESTED_ELSEWHERE}


def test_the_table_is_for_people(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", str(words), "--words", "lamp,music"]) == 0
    shown = capsys.readouterr().out
    for text in ("122 recordings", "0.40 1.00 2.50", "equal: lamp/carol_lamp_00.wav = lamp/carol_lamp_77.wav"):
        assert text in shown
    assert "data: clips hold nothing but zeros: lamp (1 of" in shown and "problem:" not in shown
