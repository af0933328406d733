"""What is told of recordings that teach the wrong thing, and of clips that stand in two splits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hil_nas.audio.datasets import load_speech_commands, load_test_split
from tests.recordings import Wave, record, splits_of, tone, write_pcm


def warned(folder: Path) -> tuple[str, ...]:
    return load_speech_commands(folder).findings.warnings


def changed(change: Callable[[Wave], Wave], rate_hz: int = 16000) -> Callable[[Path, Wave], None]:
    return lambda path, clip: soundfile.write(path, np.clip(change(clip), -1, 1), rate_hz, subtype="PCM_16")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: 0 * x, "clips hold nothing but zeros: fault (40 of 40); record them again"),
        (lambda x: 10 * x, "clips are clipped: fault (40 of 40); record them softer"),
        (lambda x: 0.3 * np.clip(10 * x, -1, 1), "clips are clipped: fault (40 of 40); record them softer"),
        (lambda x: x + 0.05, "clips have a DC offset: fault (40 of 40); remove it"),
        (lambda x: 0.1 * x - 0.05, "clips have a DC offset: fault (40 of 40); remove it"),
        (lambda x: 0.01 * x, "words are far too quiet, in RMS against full scale: fault (-53 dB); record them louder"),
    ],
)
def test_a_word_with_a_fault_is_told_and_a_sound_one_is_not(
    tmp_path: Path, change: Callable[[Wave], Wave], says: str
) -> None:
    record(tmp_path, ["lamp", "music"])
    record(tmp_path, ["fault"], write=changed(change))
    assert warned(tmp_path) == (says,)


@pytest.mark.parametrize("subtype", ["PCM_U8", "ULAW", "ALAW"])
def test_steps_of_8_bits_are_no_clipping(tmp_path: Path, subtype: str) -> None:
    def write(path: Path, clip: Wave) -> None:
        soundfile.write(path, np.clip(clip, -1, 1), 16000, subtype=subtype)

    record(tmp_path, ["lamp", "music"], write=write)
    assert warned(tmp_path) == ()
    record(tmp_path, ["fault"], write=lambda path, clip: write(path, 5 * clip))
    assert warned(tmp_path) == ("clips are clipped: fault (40 of 40); record them softer",)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".ogg"])
def test_clipping_is_seen_at_the_rate_and_in_the_form_of_the_recording(tmp_path: Path, suffix: str) -> None:
    def write(path: Path, clip: Wave) -> None:
        soundfile.write(path.with_suffix(suffix), np.clip(tone(300, 1.0, 5.0, 44100), -1, 1), 44100)

    record(tmp_path, ["lamp"])
    record(tmp_path, ["fault"], write=write)
    assert any(x.startswith("clips are clipped") and "fault" in x and "lamp" not in x for x in warned(tmp_path))


def test_words_that_are_all_too_quiet_are_told_without_one_to_compare(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], write=changed(lambda x: 0.01 * x))
    (warning,) = warned(tmp_path)
    assert "lamp (-53 dB), music (-53 dB)" in warning


def test_a_word_recorded_at_a_lower_rate_is_told(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    record(tmp_path, ["phone"], write=changed(lambda x: x[::2], 8000))
    (warning,) = warned(tmp_path)
    assert warning.startswith("clips were recorded below 16,000 Hz, without high frequencies: phone (40 of 40)")


def test_one_silent_clip_is_told_and_one_clipped_is_not(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    write_pcm(tmp_path / "lamp" / "alice_lamp_00.wav", 0 * tone(100))
    changed(lambda x: 10 * x)(tmp_path / "music" / "bob_music_01.wav", tone(300))
    assert warned(tmp_path) == ("clips hold nothing but zeros: lamp (1 of 40); record them again",)


def test_silent_noise_is_told(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    (tmp_path / "_background_noise_").mkdir()
    write_pcm(tmp_path / "_background_noise_" / "fan.wav", np.zeros(160000))
    assert warned(tmp_path) == ("noise recordings hold nothing but zeros: _background_noise_/fan.wav",)


def test_a_clip_in_two_splits_is_told_whatever_its_name_and_form(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    splits = splits_of(tmp_path)
    trained = [x for x in sorted(splits["train"]) if x.startswith("lamp/")]
    tested = sorted(splits["test"])[0].rpartition("/")[2].partition("_")[0]
    shutil.copy(tmp_path / trained[0], tmp_path / "music" / f"{tested}_music_77.wav")
    assert splits_of(tmp_path)["test"] - splits["test"] == {f"music/{tested}_music_77.wav"}
    (warning,) = warned(tmp_path)
    assert warning.startswith("1 clip stands in two splits under two names: ")
    assert trained[0] in warning and f"music/{tested}_music_77.wav" in warning
    samples = soundfile.read(tmp_path / trained[1], dtype="int16")[0]
    longer = np.concatenate([samples, np.zeros(800, np.int16)])[: len(samples)]
    soundfile.write(tmp_path / "music" / f"{tested}_music_78.flac", longer, 16000)
    shutil.copy(tmp_path / trained[2], tmp_path / trained[2].replace(".wav", "_again.wav"))  # in one split
    assert any(x.startswith("2 clips stand in two splits") and "_78.flac" in x for x in warned(tmp_path))


def test_many_faults_are_counted_and_not_all_named(tmp_path: Path) -> None:
    words = [f"word{x}" for x in range(9)]
    record(tmp_path, words, "{word}/{person}_{take}.wav", takes=2, write=changed(lambda x: 0 * x))
    (warning,) = warned(tmp_path)
    assert warning.count("16 of 16") == 4 and "and 5 more;" in warning


def test_the_test_split_is_told_of_alone(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    test = {x for x in splits_of(tmp_path)["test"] if x.startswith("lamp/")}
    for name in test:
        write_pcm(tmp_path / name, 0 * tone(100))
    _, findings = load_test_split(tmp_path)
    assert findings.warnings == (f"clips hold nothing but zeros: lamp ({len(test)} of {len(test)}); record them again",)
