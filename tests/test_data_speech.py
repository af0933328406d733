"""Keywords spoken by espeak-ng: the same bytes for the same seed, and no voice in two splits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from hil_nas.audio import espeak, speech
from hil_nas.audio.espeak import Voice, available_timbres, say
from hil_nas.audio.speech import spoken_keywords
from hil_nas.errors import InputError, MissingToolError
from hil_nas.front_ends import ONE_SECOND, ClipFormat

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt install espeak-ng")


@needs_espeak
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = spoken_keywords(["stop", "go"], tmp_path / "a", clips=10, seed=3)
    again = spoken_keywords(["go", "stop"], tmp_path / "b", clips=10, seed=3)
    other = spoken_keywords(["go", "stop"], tmp_path / "c", clips=10, seed=4)
    assert first.classes == ("go", "stop", "silence", "unknown")
    assert first.digest == again.digest != other.digest
    assert np.array_equal(first.test.samples, again.test.samples)
    assert np.bincount(first.train.labels).tolist() == [8, 8, 8, 24]
    assert np.bincount(first.test.labels).tolist() == [1, 1, 1, 1]
    rms = first.train.samples.astype(float).std(1)
    assert rms.min() > 1 and first.train.samples.dtype == np.int16


@needs_espeak
def test_words_are_spoken_at_another_rate_and_length(tmp_path: Path) -> None:
    clip = ClipFormat(8000, 12000)
    usual, other = (spoken_keywords(["stop"], tmp_path, clips=10, clip=x) for x in (ONE_SECOND, clip))
    assert other.clip == clip and other.train.samples.shape == (len(usual.train), 12_000)
    assert len(other.background) * 2 == len(usual.background) and len(list(tmp_path.iterdir())) == 2
    rms = other.train.samples.astype(float).std(1)
    assert rms.min() > 1


@needs_espeak
def test_the_cache_is_read_and_a_damaged_one_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spoken_keywords(["go"], tmp_path, clips=10)
    (path,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(speech, "say", lambda *_: pytest.fail("said again what was in the cache"))
        assert spoken_keywords(["go"], tmp_path, clips=10).digest == made.digest
    path.write_bytes(path.read_bytes()[:5000])
    assert spoken_keywords(["go"], tmp_path, clips=10).digest == made.digest
    assert list(tmp_path.iterdir()) == [path]


@needs_espeak
def test_no_timbre_stands_in_two_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, str]] = []
    real_voice = speech._voice

    def voice(timbres: list[str], rng: np.random.Generator) -> Voice:
        chosen = real_voice(timbres, rng)
        heard.append((",".join(timbres), chosen.timbre))
        return chosen

    monkeypatch.setattr(speech, "_voice", voice)
    spoken_keywords(["go"], tmp_path, clips=30)
    by_split: dict[str, set[str]] = {}
    for split, timbre in heard:
        by_split.setdefault(split, set()).add(timbre)
    assert len(by_split) == 3
    assert sum(len(x) for x in by_split.values()) == len(set.union(*by_split.values())) > 10


@needs_espeak
def test_words_differ_more_than_silence_around_them(tmp_path: Path) -> None:
    voice = Voice("en-us", "m3", 150, 50)
    stop, go = say("stop", voice, 16000), say("go", voice, 16000)
    assert 0.15 < len(stop) / 16000 < 1.0 and abs(stop[0]) < 0.1
    assert len(stop) != len(go)
    faster = say("stop", Voice("en-us", "m3", 300, 50), 16000)
    assert len(faster) < len(stop)
    assert len(available_timbres()) >= 12


@pytest.mark.parametrize("word", ["", "go2", "--help", "a\nb", "silence", "go;ls", "$(x)"])
def test_what_is_no_word_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(InputError, match="is no word to speak"):
        spoken_keywords([word], tmp_path)


def test_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no words"):
        spoken_keywords([], tmp_path)
    with pytest.raises(InputError, match="3 clips a word are too few"):
        spoken_keywords(["go"], tmp_path, clips=3)


def test_without_espeak_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak.shutil, "which", lambda _: None)
    with pytest.raises(MissingToolError, match="apt install espeak-ng"):
        spoken_keywords(["go"], tmp_path)
