"""What folders mean: words, silence, unknown, noise, speakers; and what is told where one holds nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil_nas.audio.datasets import load_speech_commands
from hil_nas.errors import InputError
from tests.recordings import PEOPLE, in_two, people_in, pitches_hz, record, splits_of, tone, write_pcm

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("silence", "unknown"), [("silence", "unknown"), ("_silence_", "_unknown_"), ("Silence", "_Unknown")]
)
@pytest.mark.parametrize("keywords", [None, ["lamp", "music"]])
def test_silence_and_unknown_are_classes_however_they_are_written(
    tmp_path: Path, silence: str, unknown: str, keywords: list[str] | None
) -> None:
    record(tmp_path, ["lamp", "music", silence, unknown])
    data = load_speech_commands(tmp_path, words=keywords)
    assert data.classes == ("lamp", "music", "silence", "unknown")
    for split in SPLITS:
        assert min(pitches_hz(data, split, 3)) >= 1100  # of the folder for unknown words, above that for silence
        assert all(800 <= x < 1000 for x in pitches_hz(data, split, 2))
        assert len(set(np.bincount(data.split(split).labels)[:3])) == 1


def test_nothing_of_silence_is_an_unknown_word(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music", "silence"])
    assert load_speech_commands(tmp_path, words=["lamp"]).classes == ("lamp", "silence", "unknown")
    assert load_speech_commands(tmp_path, words=["lamp", "music"]).classes == ("lamp", "music", "silence")
    without = load_speech_commands(tmp_path, words=["lamp"], silence=False)
    assert without.classes == ("lamp", "unknown")
    assert all(x < 800 for split in SPLITS for x in pitches_hz(without, split, 1))


def test_silence_of_the_test_set_is_no_unknown_word_either(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    for number, name in enumerate(("lamp", "_silence_", "unknown")):
        (tmp_path / "test_set" / name).mkdir(parents=True)
        write_pcm(tmp_path / "test_set" / name / "1.wav", tone(3000 + number))
    with_silence, without = (load_speech_commands(tmp_path, words=["lamp"], silence=x) for x in (True, False))
    assert [pitches_hz(with_silence, "test", x) for x in range(3)] == [[3000], [3001], [3002]]
    assert [pitches_hz(without, "test", x) for x in range(2)] == [[3000], [3002]]


@pytest.mark.parametrize("word", ["silence", "_unknown_", "_background_noise_"])
def test_silence_is_no_keyword(tmp_path: Path, word: str) -> None:
    record(tmp_path, ["lamp", word])
    with pytest.raises(InputError, match=f"'{word}' is a class of its own"):
        load_speech_commands(tmp_path, words=["lamp", word])


@pytest.mark.parametrize("names", [("_silence_", "_unknown_"), ("silence", "unknown")])
def test_silence_and_unknown_stand_beside_published_lists(tmp_path: Path, names: tuple[str, str]) -> None:
    record(tmp_path, ["lamp", "music", *names])
    for person, name in (("alice", "validation_list.txt"), ("bob", "testing_list.txt")):
        listed = [f"{x}/{person}_{x}_0{i}.wav\n" for x in ("lamp", "music") for i in range(5)]
        (tmp_path / name).write_text("".join(listed))
    data = load_speech_commands(tmp_path)
    assert data.classes == ("lamp", "music", "silence", "unknown")
    assert [np.bincount(data.split(x).labels).tolist() for x in SPLITS] == [[30, 30, 30, 60], [5] * 4, [5] * 4]
    people = people_in(splits_of(tmp_path))
    assert not in_two(people) and people["validation"] == {"alice"} and people["test"] == {"bob"}


def test_short_noise_is_of_one_split_alone(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    (tmp_path / "silence").mkdir()
    for number in range(20):
        write_pcm(tmp_path / "silence" / f"{number}.wav", tone(2000 + 10 * number, 1.5))
    data = load_speech_commands(tmp_path)
    heard = [{round(x, -1) for x in pitches_hz(data, split, 2)} for split in SPLITS]
    assert all(heard) and not heard[0] & heard[1] and not heard[0] & heard[2] and not heard[1] & heard[2]
    assert not any("noise" in x for x in data.findings.warnings)
    for number in range(1, 20):
        (tmp_path / "silence" / f"{number}.wav").unlink()
    assert any("same noise serves" in x for x in load_speech_commands(tmp_path).findings.warnings)


@pytest.mark.parametrize("left", [(), ("notes.txt", ".hidden.wav")])
def test_a_word_without_recordings_is_an_error(tmp_path: Path, left: tuple[str, ...]) -> None:
    record(tmp_path, ["lamp", "music"])
    (tmp_path / "radio").mkdir()
    for name in left:
        (tmp_path / "radio" / name).write_bytes(b"x")
    with pytest.raises(InputError, match="radio holds no audio file") as caught:
        load_speech_commands(tmp_path)
    assert caught.value.hint and "--words" in caught.value.hint
    with pytest.raises(InputError, match="radio holds no audio file"):
        load_speech_commands(tmp_path, words=["lamp", "radio"])
    data = load_speech_commands(tmp_path, words=["lamp", "music"])
    assert data.findings.warnings == ("folders hold no audio file: radio",)


def test_one_of_the_ten_words_without_recordings_is_an_error(tmp_path: Path) -> None:
    record(tmp_path, ["down", "go", "left", "no", "off", "on", "right", "stop", "up"], takes=2)
    (tmp_path / "yes").mkdir()
    with pytest.raises(InputError, match="yes holds no audio file"):
        load_speech_commands(tmp_path)


def test_folders_that_archives_leave_behind_are_passed_over(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    (tmp_path / "__MACOSX" / "lamp").mkdir(parents=True)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "lamp" / "._alice_lamp_00.wav").write_bytes(b"\0\5\x16\7")
    data = load_speech_commands(tmp_path)
    assert data.classes == ("lamp", "music", "silence") and not data.findings.warnings


@pytest.mark.parametrize("pattern", ["{word}/{person}/{take}.wav", "{person}/{word}/{take}.wav"])
def test_words_are_told_from_speakers_by_name_or_asked_for(tmp_path: Path, pattern: str) -> None:
    record(tmp_path, ["lamp", "music"], pattern)
    with pytest.raises(InputError, match="either could be the word") as caught:
        load_speech_commands(tmp_path)
    assert caught.value.hint == "name the words with --words"
    by_request = load_speech_commands(tmp_path, words=["lamp", "music"])
    assert by_request.classes == ("lamp", "music", "silence") and by_request.findings.speakers["train"] == 6
    record(tmp_path, ["unknown"], pattern)
    by_name = load_speech_commands(tmp_path)
    assert by_name.classes == ("lamp", "music", "silence", "unknown") and by_name.findings.speakers["train"] == 6


def test_a_folder_of_words_one_level_down_is_found_when_words_are_named(tmp_path: Path) -> None:
    record(tmp_path / "recordings", ["lamp", "music"])
    data = load_speech_commands(tmp_path, words=["music", "lamp"])
    assert data.classes == ("lamp", "music", "silence") and data.findings.speakers["train"] == 6


def test_a_folder_for_each_split_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        record(tmp_path / split, ["lamp", "music"])
    with pytest.raises(InputError, match=r"a folder for each split .test, train.") as caught:
        load_speech_commands(tmp_path, words=["lamp"])
    assert caught.value.hint and "testing_list.txt" in caught.value.hint


def test_words_may_be_called_as_splits_are(tmp_path: Path) -> None:
    record(tmp_path, ["train", "test"], "{word}/{person}/{take}.wav")
    assert load_speech_commands(tmp_path, words=["train", "test"]).classes == ("test", "train", "silence")


def test_a_link_back_to_the_folder_ends(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], people=PEOPLE[:3], takes=4)
    (tmp_path / "lamp" / "again").symlink_to(tmp_path / "music")
    (tmp_path / "music" / "loop").symlink_to(tmp_path / "music")
    assert load_speech_commands(tmp_path).classes[:2] == ("lamp", "music")


def test_a_test_set_that_lacks_a_word_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    for name in ("lamp", "_silence_"):
        (tmp_path / "test_set" / name).mkdir(parents=True)
        write_pcm(tmp_path / "test_set" / name / "1.wav", tone(3000))
    data = load_speech_commands(tmp_path)
    assert np.bincount(data.test.labels).tolist() == [5, 5, 5]
    assert data.findings.warnings == ("test_set/ is not used, for it has no music: test is split off like validation",)
