"""`hil_nas data record` at a microphone of the test's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from hil_nas import cli
from hil_nas.audio.datasets import load_speech_commands
from hil_nas.audio.decode import Samples
from hil_nas.audio.layout import find_recordings
from hil_nas.audio.record import record_word
from hil_nas.audio.speakers import find_speakers
from hil_nas.errors import InputError
from hil_nas.extras import pip_install
from hil_nas.progress import Progress
from tests.recordings import Wave, tone

PAUSE, TAKE = 11_200, 32_000  # samples: 0.7 s and 2 s


def said(word: Wave, late_s: float = 0.5) -> Samples:
    """A pause and a take with the word somewhere in it, over a microphone's faint noise."""
    whole = np.random.default_rng(0).normal(0, 1e-4, PAUSE + TAKE)
    start = PAUSE + round(16_000 * late_s)
    whole[start : start + len(word)] += word
    return np.clip(whole * 32768, -32768, 32767).astype(np.int16)


def blocks(*takes: Samples, size: int = 777) -> Iterator[Samples]:
    audio = np.concatenate(takes)
    return iter([audio[x : x + size] for x in range(0, len(audio), size)])


WORD = tone(440, 0.6)


def test_each_take_is_a_whole_file_with_the_word_in_it(tmp_path: Path) -> None:
    takes = record_word("lamp", tmp_path, blocks(said(WORD, 0.1), said(WORD, 1.3)), speaker="anna", count=2)
    assert [x.file for x in takes] == [str(tmp_path / "lamp" / f"anna_lamp_0{x}.wav") for x in (1, 2)]
    for take in takes:
        samples, rate_hz = soundfile.read(take.file, dtype="int16")
        assert (rate_hz, samples.shape) == (16_000, (16_000,))
        power = np.mean((samples / 32768) ** 2)
        assert take.level_db == pytest.approx(10 * np.log10(power), abs=0.1)
        assert power == pytest.approx(0.3**2 / 2 * 0.6, rel=0.01)  # all 0.6 s of the tone


def test_numbers_go_on_and_nothing_is_overwritten(tmp_path: Path) -> None:
    there = tmp_path / "lamp"
    there.mkdir()
    for name in ("anna_lamp_01.wav", "anna_lamp_07.flac", "bob_lamp_30.wav", "anna_lamp_x.wav"):
        (there / name).write_bytes(name.encode())
    record_word("lamp", tmp_path, blocks(said(WORD)), speaker="anna", count=1)
    record_word("lamp", tmp_path, blocks(said(WORD)), count=1)
    new = {x.name for x in there.iterdir() if x.read_bytes() != x.name.encode()}
    assert new == {"anna_lamp_08.wav", "lamp_01.wav"} and len(list(there.iterdir())) == 6


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (0 * said(WORD), "nothing but zeros"),
        (said(10 * WORD), "it is clipped, at -"),
        (said(0 * WORD), "nothing was heard, at -"),
    ],
)
def test_a_take_that_cannot_be_used_is_said_and_taken_again(tmp_path: Path, bad: Samples, says: str) -> None:
    steps: list[Progress] = []
    (take,) = record_word("lamp", tmp_path, blocks(bad, bad, said(WORD)), count=1, progress=steps.append)
    notes = [x.note for x in steps]
    assert [says in x and x.endswith("; again") for x in notes] == [False, True, False, True, False, False]
    assert notes.count("say 'lamp'") == 3 and notes[-1] == "lamp_01.wav, -16 dB"
    assert [str(x) for x in (tmp_path / "lamp").iterdir()] == [take.file]


def test_a_microphone_that_never_works_ends_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 takes in a row cannot be used: the microphone gives nothing"):
        record_word("lamp", tmp_path, blocks(*[0 * said(WORD)] * 9), count=1)
    with pytest.raises(InputError, match="gave no more samples"):
        record_word("lamp", tmp_path, blocks(said(WORD), said(WORD)[:PAUSE]), count=2)
    assert [x.name for x in (tmp_path / "lamp").iterdir()] == ["lamp_01.wav"]


@pytest.mark.parametrize(
    ("word", "speaker"),
    [
        ("../lamp", ""), ("a/b", ""), ("", ""), (".x", ""), ("_unknown_", ""), ("silence", ""), ("test_set", ""),
        ("lamp", "an/na"), ("lamp", "anna maria"), ("lamp", "a_b"),
    ],
)  # fmt: skip
def test_names_that_would_not_come_back_are_refused(tmp_path: Path, word: str, speaker: str) -> None:
    with pytest.raises(InputError, match="is no"):
        record_word(word, tmp_path, iter(()), speaker=speaker)
    assert not list(tmp_path.iterdir())


def test_what_is_recorded_is_found_again_and_can_be_learned(tmp_path: Path) -> None:
    """The reader of other people's folders is the oracle for names."""
    for number, word in enumerate(("lamp", "turn on", "music")):
        for voice, speaker in enumerate(("anna", "Bob", "eve3", "Zoé")):
            takes = [said(tone(300 + 100 * number + 10 * voice + x, 0.5)) for x in range(4)]
            record_word(word, tmp_path, blocks(*takes), speaker=speaker, count=4)
    recordings = find_recordings(tmp_path).recordings
    assert {(x.word, y) for x, y in zip(recordings, find_speakers(tmp_path, recordings), strict=True)} == {
        (word, speaker) for word in ("lamp", "turn on", "music") for speaker in ("anna", "bob", "eve3", "zoé")
    }
    data = load_speech_commands(tmp_path)
    assert data.classes == ("lamp", "music", "turn on", "silence") and not data.findings.warnings


def test_the_command_hears_the_microphone_of_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = np.concatenate([0 * said(WORD), said(WORD), said(WORD)])

    class Stream:
        def __init__(self, rate_hz: int, block: int, channels: int, dtype: str) -> None:
            assert (rate_hz, block, channels, dtype) == (16_000, 800, 1, "int16")
            self.at = 0

        def __enter__(self) -> Stream:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def read(self, count: int) -> tuple[bytes, bool]:
            self.at += count
            return audio[self.at - count : self.at].tobytes(), False

    error = type("PortAudioError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(RawInputStream=Stream, PortAudioError=error))
    command = ["data", "record", "lamp", "--folder", str(tmp_path), "--speaker", "anna", "--count", "2", "--json"]
    assert cli.main(command) == 0
    shown = capsys.readouterr()
    names = [str(tmp_path / "lamp" / f"anna_lamp_0{x}.wav") for x in (1, 2)]
    assert [x["file"] for x in json.loads(shown.out)["takes"]] == names
    assert "1 of 2: the microphone gives nothing but zeros; again" in shown.err and "anna_lamp_02.wav, -" in shown.err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(command) == 1 and pip_install("microphone") in capsys.readouterr().err
    assert cli.main(["data", "record", "lamp"]) == 2 and "required: --folder" in capsys.readouterr().err
