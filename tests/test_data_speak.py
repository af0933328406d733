"""`hil_nas data speak`: the clips of a search without recordings as a folder, by espeak-ng and by a fake piper."""

from __future__ import annotations

import json
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hil_nas import cli
from hil_nas.audio.datasets import KeywordData, load_speech_commands
from hil_nas.audio.espeak import TIMBRES
from hil_nas.audio.layout import SILENCE, find_recordings
from hil_nas.audio.speakers import find_speakers
from hil_nas.audio.speech import spoken_keywords
from hil_nas.audio.splits import SPLITS
from hil_nas.audio.spoken_folder import speak_words
from hil_nas.errors import InputError
from tests.recordings import tone

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt install espeak-ng")
WORDS = ("lamp", "music")

# Takes piper's options and a line of text; what it says is a tone of the speaker's own pitch.
FAKE = """#!/bin/sh
while [ $# -gt 0 ]; do
    case "$1" in
        -m) model=$2 ;;
        -f) file=$2 ;;
        -s) speaker=$2 ;;
        --length_scale) scale=$2 ;;
        *) exit 2 ;;
    esac
    shift 2
done
read -r text && [ -n "$text" ] && [ -n "$scale" ] || exit 3
case "$model" in *broken*) echo "no such phoneme" >&2; exit 1 ;; esac
exec /bin/cp "$(/usr/bin/dirname "$0")/said$speaker.wav" "$file"
"""


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "speech"


@pytest.fixture(autouse=True)
def no_piper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has: espeak-ng alone is on the PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "espeak-ng").symlink_to(shutil.which("espeak-ng") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "piper", None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def piper(tmp_path: Path) -> Path:
    """A piper with three English speakers of two models, and one German: the folder of its voices."""
    program = tmp_path / "bin" / "piper"
    program.write_text(FAKE)
    program.chmod(0o755)
    for speaker in range(2):
        soundfile.write(program.parent / f"said{speaker}.wav", tone(300 * (1 + speaker), 0.5, 0.3, 22050), 22050)
    voices = tmp_path / "data" / "piper-voices"
    (voices / "en").mkdir(parents=True)
    for name, language, speakers in (("en/en_US-a-low", "en-us", 1), ("en_GB-b", "en-gb-x-rp", 2), ("de", "de", 5)):
        (voices / f"{name}.onnx").write_bytes(b"")
        described = {"espeak": {"voice": language}, "num_speakers": speakers}
        (voices / f"{name}.onnx.json").write_text(json.dumps(described))
    (voices / "undescribed.onnx").write_bytes(b"")
    return voices


def rows(data: KeywordData, split: str, word: str) -> list[bytes]:
    clips = data.split(split)  # type: ignore[arg-type]
    return sorted(x.tobytes() for x in clips.samples[clips.labels == data.classes.index(word)])


def strongest_hz(path: Path) -> int:
    samples, rate_hz = soundfile.read(path)
    return int(np.abs(np.fft.rfft(samples, rate_hz)).argmax())


def test_the_folder_holds_the_clips_that_a_search_learns_from(tmp_path: Path, cache: Path) -> None:
    spoken = spoken_keywords(WORDS, cache, clips=20)
    done = speak_words(WORDS, tmp_path / "words", cache, clips=20)
    loaded = load_speech_commands(tmp_path / "words")
    assert loaded.classes == spoken.classes == ("lamp", "music", "silence", "unknown")
    for split in SPLITS:
        for word in ("lamp", "music"):
            assert rows(loaded, split, word) == rows(spoken, split, word)
        assert set(rows(loaded, split, "unknown")) == set(rows(spoken, split, "unknown"))  # a training takes some twice
    assert loaded.findings.clips_without_speaker == 0 and not loaded.findings.warnings
    assert done.clips == sum(np.count_nonzero(spoken.split(x).labels != 2) for x in SPLITS)
    assert done.voices == {"espeak-ng": len(TIMBRES)} and done.speakers == loaded.findings.speakers
    noise, _ = soundfile.read(tmp_path / "words" / "_background_noise_" / "spoken.wav", dtype="int16")
    assert np.array_equal(noise, spoken.background)


def test_names_alone_tell_the_voices_and_no_voice_is_in_two_splits(tmp_path: Path, cache: Path) -> None:
    speak_words(WORDS, tmp_path / "words", cache, clips=20)
    table = dict(x.split(",") for x in (tmp_path / "words" / "speakers.csv").read_text().splitlines()[1:])
    recordings = [x for x in find_recordings(tmp_path / "words").recordings if x.name in table]
    assert len(recordings) == len(table)
    tested = set((tmp_path / "words" / "testing_list.txt").read_text().split("\n"))
    validated = set((tmp_path / "words" / "validation_list.txt").read_text().split("\n"))
    splits: dict[str, set[str]] = defaultdict(set)
    for name, speaker in table.items():
        splits[speaker].add("test" if name in tested else "validation" if name in validated else "train")
    assert all(len(x) == 1 for x in splits.values()) and set().union(*splits.values()) == set(SPLITS)
    (tmp_path / "words" / "speakers.csv").unlink()
    words = [x for x in recordings if x.word in WORDS]
    by_name = find_speakers(tmp_path / "words", words)  # of one clip a name alone says nothing
    assert all(x in (None, table[y.name].casefold()) for x, y in zip(by_name, words, strict=True)) and any(by_name)


def test_piper_says_as_many_clips_again_by_voices_of_its_own(tmp_path: Path, cache: Path, piper: Path) -> None:
    done = speak_words(WORDS, tmp_path / "words", cache, clips=10)
    assert done.voices == {"espeak-ng": len(TIMBRES), "piper": 3}
    table = dict(x.split(",") for x in (tmp_path / "words" / "speakers.csv").read_text().splitlines()[1:])
    by_piper = {x for x, y in table.items() if y.startswith("piper")}
    assert {table[x] for x in by_piper} == {"piperenusalows0", "piperengbbs0", "piperengbbs1"}
    for word in (*WORDS, "_unknown_"):
        own = {x for x in table if x.startswith(f"{word}/")}
        assert len(own & by_piper) == len(own - by_piper) > 0
    heard = [(strongest_hz(tmp_path / "words" / x), 300 * (1 + int(table[x][-1]))) for x in sorted(by_piper)]
    assert sum(abs(hz - said) <= 3 for hz, said in heard) > len(heard) / 2  # over noise and babble
    data = load_speech_commands(tmp_path / "words")
    assert data.findings.clips_without_speaker == 0 and not data.findings.warnings
    assert [int(np.count_nonzero(data.split(x).labels == 0)) for x in SPLITS] == [16, 2, 2]


def test_a_piper_that_fails_leaves_no_folder(tmp_path: Path, cache: Path, piper: Path) -> None:
    for ending in (".onnx", ".onnx.json"):
        (piper / f"en_GB-b{ending}").rename(piper / f"en_GB-broken{ending}")
    with pytest.raises(InputError, match="piper could not say '.*' as en_GB-broken.onnx: no such phoneme"):
        speak_words(WORDS, tmp_path / "words", cache, clips=10)
    assert {x.name for x in tmp_path.iterdir()} == {"bin", "data"}


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds something already"):
        speak_words(WORDS, tmp_path / "words", cache, clips=10)
    with pytest.raises(InputError, match="is no word to speak"):
        speak_words(["go2"], tmp_path / "other", cache, clips=10)
    assert {x.name for x in tmp_path.iterdir()} == {"bin", "words"} and len(list((tmp_path / "words").iterdir())) == 1


def test_the_command_writes_a_folder_that_check_takes(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "speak", "music,lamp", "--folder", str(tmp_path / "words"), "--clips", "20"]
    assert cli.main([*command, "--build", str(cache.parent), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["clips"] == sum(1 for _ in (tmp_path / "words").rglob("*.wav")) - 1
    assert cli.main(["data", "check", str(tmp_path / "words"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    assert SILENCE not in {x.name for x in (tmp_path / "words").iterdir()}
