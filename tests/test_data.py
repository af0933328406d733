"""Folders of recorded words: who stands in which split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hil_nas.audio.datasets import balanced_indices, load_speech_commands, word_count
from hil_nas.audio.splits import SPLITS, which_set
from hil_nas.errors import InputError
from hil_nas.words import TEN_WORDS
from tests.recordings import splits_of

SPEAKERS = 40


def tone(hz: float, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    time_s = np.arange(round(16000 * seconds)) / 16000
    return np.round(32767 * level * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


def write_words(folder: Path, words: dict[str, int], suffix: str = ".wav") -> None:
    """Clips of each word by speakers 0, 1, ... in the names of Speech Commands; each word is a tone of its own."""
    for number, (word, count) in enumerate(words.items()):
        (folder / word).mkdir(parents=True)
        for speaker in range(count):
            name = f"{speaker * 2654435761 % 2**32:08x}_nohash_0{suffix}"
            soundfile.write(folder / word / name, tone(200 + 50 * number + speaker), 16000)


def speakers_of(names: set[str]) -> set[str]:
    return {Path(x).name.split("_nohash_")[0] for x in names}


@pytest.mark.parametrize(
    ("name", "split"),
    [  # from the published lists and the published test archive
        ("yes/56eb74ae_nohash_0.wav", "validation"),
        ("yes/ad63d93c_nohash_2.wav", "validation"),
        ("right/dbaf8fc6_nohash_2.wav", "validation"),
        ("yes/0fa1e7a9_nohash_0.wav", "test"),
        ("yes/2c6d3924_nohash_1.wav", "test"),
        ("yes/012c8314_nohash_0.wav", "train"),
        ("yes/0135f3f2_nohash_0.wav", "train"),
    ],
)
def test_official_rule_gives_the_published_splits(name: str, split: str) -> None:
    assert which_set(name) == split


def test_official_rule_agrees_with_the_lists_of_the_whole_folder(speech_commands: Path) -> None:
    listed = set((speech_commands / "validation_list.txt").read_text().split())
    paths = [p for p in speech_commands.glob("*/*_nohash_*") if p.parent.name != "test_set"]
    assert len(paths) > 5000
    for path in paths:
        expected = "validation" if f"{path.parent.name}/{path.stem}.flac" in listed else "train"
        assert which_set(path.name) == expected


def test_speech_commands_loads_as_twelve_classes(speech_commands: Path) -> None:
    data = load_speech_commands(speech_commands)
    assert data.classes == (*TEN_WORDS, "silence", "unknown")
    assert np.bincount(data.test.labels).tolist() == [131, 129, 126, 125, 136, 132, 140, 139, 134, 133, 102, 139]
    assert data.train.samples.shape[1] == 16000 and data.train.samples.dtype == np.int16
    validation = np.bincount(data.validation.labels)
    assert validation.min() >= 49 and set(validation[-2:]) == {round(validation[:10].mean())}
    assert not data.findings.clips_without_speaker and not data.findings.warnings
    assert word_count(data.classes) == 10


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_speakers_are_split_by_the_official_rule_without_lists(tmp_path: Path, suffix: str) -> None:
    write_words(tmp_path, {"ja": SPEAKERS, "nein": SPEAKERS}, suffix)
    splits = splits_of(tmp_path)
    for split in SPLITS:
        assert {which_set(x) for x in splits[split]} == {split}
    data = load_speech_commands(tmp_path)
    assert data.classes == ("ja", "nein", "silence")
    words = sum(len(x) - np.bincount(x.labels)[2] for x in (data.train, data.validation, data.test))
    assert words == 2 * SPEAKERS


def test_published_lists_decide(tmp_path: Path) -> None:
    write_words(tmp_path, {"go": 30, "stop": 30, "cat": 30})
    names = {word: sorted(x.name for x in (tmp_path / word).iterdir()) for word in ("go", "stop", "cat")}
    (tmp_path / "validation_list.txt").write_text("".join(f"{w}/{n[0]}\n{w}/{n[1]}\n" for w, n in names.items()))
    (tmp_path / "testing_list.txt").write_text("".join(f"{w}/{n[2]}\n" for w, n in names.items()))
    data = load_speech_commands(tmp_path, words=["stop", "go"])
    assert data.classes == ("go", "stop", "silence", "unknown")
    assert np.bincount(data.validation.labels).tolist() == [2, 2, 2, 2]
    assert np.bincount(data.test.labels).tolist() == [1, 1, 1, 1]
    assert np.bincount(data.train.labels).tolist() == [27, 27, 27, 54]
    held = soundfile.read(tmp_path / "go" / names["go"][2], dtype="int16")[0]
    assert np.array_equal(data.test.samples[data.test.labels == 0], held[None])


def test_with_a_validation_list_alone_no_test_speaker_is_trained_on(tmp_path: Path) -> None:
    write_words(tmp_path, {"go": 60, "stop": 60})
    names = sorted(x.name for x in (tmp_path / "go").iterdir())
    (tmp_path / "validation_list.txt").write_text(f"go/{names[0]}\nstop/{names[0]}\n")
    splits = splits_of(tmp_path)
    test, train = (speakers_of(splits[x]) for x in ("test", "train"))
    assert test and not test & train
    assert splits["validation"] == {f"go/{names[0]}", f"stop/{names[0]}"}


def test_own_words_are_split_by_file_and_no_split_is_empty(tmp_path: Path) -> None:
    for number, word in enumerate(("hallo", "licht")):
        (tmp_path / word).mkdir()
        for take in range(10 + 10 * number):
            soundfile.write(tmp_path / word / f"take {take}.flac", tone(300 + take), 16000)
    data = load_speech_commands(tmp_path)
    assert np.bincount(data.train.labels)[:2].tolist() == [8, 16]
    assert np.bincount(data.validation.labels)[:2].tolist() == [1, 2]
    assert np.bincount(data.test.labels)[:2].tolist() == [1, 2]


def test_the_official_test_folder_becomes_the_test_split(tmp_path: Path) -> None:
    write_words(tmp_path, {"go": 40, "stop": 40, "cat": 40})
    for number, name in enumerate(("go", "stop", "up", "_silence_", "_unknown_")):
        (tmp_path / "test_set" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "test_set" / name / "1.wav", tone(1000 + number), 16000)
    data = load_speech_commands(tmp_path, words=["go", "stop"])
    actual = {label: data.test.samples[data.test.labels == label] for label in range(4)}
    assert [len(actual[x]) for x in range(4)] == [1, 1, 1, 2]  # up was not asked for
    assert np.array_equal(actual[2][0], tone(1003))


def test_rare_other_words_weigh_more_than_their_number_of_clips(tmp_path: Path) -> None:
    write_words(tmp_path, {"wow": 12, "go": 100, "cat": 100})
    data = load_speech_commands(tmp_path, words=["go"])
    unknown = data.train.samples[data.train.labels == 2]
    pitch_hz = np.abs(np.fft.rfft(unknown.astype(float))).argmax(1)  # wow is 200 to 211 Hz, cat from 300 Hz
    trained = splits_of(tmp_path)["train"]
    rare = {speaker for speaker in range(12) if f"wow/{speaker * 2654435761 % 2**32:08x}_nohash_0.wav" in trained}
    repeated = np.bincount(pitch_hz)[[200 + speaker for speaker in rare]]
    assert repeated.min() >= 2
    assert len(unknown) == 2 * (len(rare) + (np.bincount(data.train.labels)[0]))


def test_noise_recordings_give_background_and_silence(tmp_path: Path) -> None:
    write_words(tmp_path, {"go": 40, "stop": 40})
    (tmp_path / "_background_noise_").mkdir()
    noise = np.concatenate([tone(500, 16), tone(1000, 2), tone(2000, 2)])  # train's, validation's and test's part
    soundfile.write(tmp_path / "_background_noise_" / "fan.wav", noise, 16000)
    data = load_speech_commands(tmp_path)
    assert np.array_equal(data.background, tone(500, 16))
    for clips, hz in ((data.train, 500), (data.validation, 1000), (data.test, 2000)):
        silent = clips.samples[clips.labels == 2].astype(float)
        assert len(silent) == round((clips.labels < 2).sum() / 2)
        assert set(np.abs(np.fft.rfft(silent)).argmax(1)) == {hz}
        levels_db = 20 * np.log10(silent.std(1) / 32767)
        assert levels_db.min() > -72 and levels_db.max() < -9
    assert np.ptp(levels_db) > 10


def test_the_same_seed_gives_the_same_data(tmp_path: Path) -> None:
    write_words(tmp_path, {"go": 40, "cat": 40, "dog": 40, "bed": 40, "wow": 40, "six": 40})
    first, again, other = (load_speech_commands(tmp_path, words=["go"], seed=x).digest for x in (1, 1, 2))
    assert first == again != other


def test_an_epoch_has_every_class_equally_often() -> None:
    labels = np.repeat([0, 1, 2, 3], [30, 50, 7, 400])
    order = balanced_indices(labels, 2, np.random.default_rng(0))
    assert np.bincount(labels[order]).tolist() == [40, 40, 40, 40]
    assert len(set(order[labels[order] == 3].tolist())) == 40
    repeats = np.bincount(order[labels[order] == 2])
    assert repeats[repeats > 0].min() >= 5  # 7 clips for 40 places
    assert order.tolist() != sorted(order.tolist())


def test_folders_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        load_speech_commands(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no subfolder with recordings"):
        load_speech_commands(tmp_path)
    write_words(tmp_path, {"stop": 40, "few": 4})
    with pytest.raises(InputError, match="no clips of 'stopp'.*did you mean 'stop'"):
        load_speech_commands(tmp_path, words=["stopp"])
    with pytest.raises(InputError, match="has 4 clips, expected at least 10"):
        load_speech_commands(tmp_path, words=["few"])
    (tmp_path / "validation_list.txt").write_text("other/file.wav\n")
    with pytest.raises(InputError, match="none of which is in"):
        load_speech_commands(tmp_path, words=["stop"])


def test_a_split_left_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    for take in range(12):  # one speaker cannot stand in three splits
        soundfile.write(tmp_path / "go" / f"0132a06d_nohash_{take}.wav", tone(300), 16000)
    with pytest.raises(InputError, match="leaves no .* clip of its 12"):
        load_speech_commands(tmp_path)


def test_silence_is_no_class_where_it_is_not_asked_for(tmp_path: Path) -> None:
    write_words(tmp_path, {"go": 30, "stop": 30})
    data = load_speech_commands(tmp_path, words=["go", "stop"], silence=False)
    assert data.classes == ("go", "stop") and word_count(data.classes) == 2
    assert set(data.train.labels.tolist()) == {0, 1} and len(data.background) >= 16000
