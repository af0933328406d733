"""Long recordings: block by block the samples of the whole, who speaks, and words in noise at the ratio asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from recordings import tone

from hil_nas.audio.decode import audio_blocks, read_audio
from hil_nas.audio.embedding import embedded, word_span
from hil_nas.audio.long_audio import long_recordings
from hil_nas.errors import InputError
from hil_nas.workflows.tune import halved

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 8_000])
def test_blocks_are_the_samples_of_the_whole(suffix: str, channels: int, rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / f"long{suffix}"
    soundfile.write(path, RNG.uniform(-0.5, 0.5, (25 * rate_hz + 77, channels)), rate_hz, subtype="PCM_16")
    blocks = list(audio_blocks(path, 16_000))
    whole = read_audio(path, 30, 16_000).samples
    assert len(blocks) >= 3 and all(x.dtype == np.int16 for x in blocks)
    streamed = np.concatenate(blocks)
    if rate_hz == 16_000:
        assert np.array_equal(streamed, whole)
    else:  # soxr in pieces rounds otherwise
        assert len(streamed) == len(whole)
        assert np.abs(streamed.astype(int) - whole).max() <= 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.m4a", b"x", "m4a is not read"), ("a.wav", b"x", "cannot be read as audio"), ("none.wav", None, "no file")],
)
def test_what_cannot_be_read(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(audio_blocks(path, 16_000))


def speak(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(300, 0.1), 16_000)
    return folder


def test_speakers_of_names_of_folders_and_of_nothing(tmp_path: Path) -> None:
    libri = speak(tmp_path / "libri", "103-1240-0000.flac", "103-1241-0007.flac", "26-495-0000.flac")
    assert [x.speaker for x in long_recordings([libri])] == ["103", "103", "26"]
    folders = speak(tmp_path / "people", "ann/monday.wav", "ann/friday.wav", "bob/monday.wav", "bob/x.wav")
    assert [x.speaker for x in long_recordings([folders])] == ["ann", "ann", "bob", "bob"]
    some = speak(tmp_path / "some", "radio.wav", "tv.wav")
    assert len({x.speaker for x in long_recordings([some])}) == 2
    assert [x.name for x in long_recordings([some / "tv.wav", libri])][:2] == ["tv.wav", "103-1240-0000.flac"]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a file nor a folder"):
        long_recordings([tmp_path / "nothing"])
    with pytest.raises(InputError, match="holds no audio file"):
        long_recordings([tmp_path])


def test_no_speaker_stands_in_both_halves(tmp_path: Path) -> None:
    names = [f"{speaker}-{chapter}-{i:04d}.flac" for speaker in range(100, 109) for chapter in (1, 2) for i in range(3)]
    first, second = halved(long_recordings([speak(tmp_path, *names)]))
    assert {x.speaker for x in first}.isdisjoint(x.speaker for x in second)
    assert len(first) + len(second) == len(names) and abs(len(first) - len(second)) <= 6
    with pytest.raises(InputError, match="1 speaker or file"):
        halved(first[:3])


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0])
def test_words_stand_at_their_ratio_in_the_bed(snr_db: float) -> None:
    clips = (3000 * np.sin(np.arange(16_000) / 9)).astype(np.int16)[None].repeat(4, 0)
    bed = RNG.normal(0, 200, 90_000).astype(np.int16)
    starts = np.array([0, 16_000, 20_000, 30_000])
    streams = embedded(clips, [bed], snr_db, starts, 46_000, np.random.default_rng(0))
    silent = embedded(np.zeros_like(clips), [bed], snr_db, starts, 46_000, np.random.default_rng(0))
    assert streams.shape == (4, 46_000)
    for stream, clip, start in zip(streams.astype(float), clips, starts, strict=True):
        stream[start : start + 16_000] -= clip
        ratio = np.sqrt(np.mean(clip.astype(float) ** 2) / np.mean(stream**2))
        assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=0.05)
    assert np.abs(silent).max() < 100  # no word, so no noise is brought up to it


def test_without_a_bed_there_is_silence_around() -> None:
    clip = RNG.integers(-9000, 9000, (1, 400)).astype(np.int16)
    (stream,) = embedded(clip, [], 0.0, np.array([100]), 1000, RNG)
    assert np.abs(stream[100:500].astype(int) - clip[0]).max() <= 1
    assert not stream[:100].any() and not stream[500:].any()


def test_a_bed_that_is_too_short_is_repeated() -> None:
    (stream,) = embedded(np.full((1, 10), 1000, np.int16), [np.full(7, 50, np.int16)], 0.0, np.array([50]), 100, RNG)
    assert np.all(stream[:50] == stream[0]) and abs(int(stream[0])) in (999, 1000, 1001)


def test_where_a_word_begins_and_ends() -> None:
    clip = (3 * np.sin(np.arange(16_000))).astype(np.int16)
    clip[4000:8000] = 9000 * np.sin(np.arange(4000))
    begins, ends = word_span(clip, 16_000)
    assert 3680 < begins <= 4000 and 8000 <= ends < 8320
    assert word_span(np.zeros(16_000, np.int16), 16_000) == (0, 16_000)
