"""From files to samples: every form that libsndfile reads becomes 16 kHz mono, and all that is refused is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from hil_nas.audio.clips import Reader
from hil_nas.audio.datasets import load_speech_commands, load_test_split
from hil_nas.audio.decode import read_audio
from hil_nas.audio.layout import Recording
from hil_nas.audio.splits import SPLITS
from hil_nas.errors import InputError
from hil_nas.front_ends import ONE_SECOND, ClipFormat
from tests.recordings import PEOPLE, Wave, pitches_hz, record, tone, write_pcm


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_samples_of_every_width_come_out_alike(tmp_path: Path, subtype: str) -> None:
    clip = np.concatenate([tone(440, 0.9), [-1.0, 1.0, 0.5, 0.0]])
    soundfile.write(tmp_path / "a.wav", clip, 16000, subtype=subtype)
    samples = read_audio(tmp_path / "a.wav", 10, 16000).samples
    expected = np.clip(clip * 32768, -32768, 32767)
    assert np.abs(samples - expected).max() <= (300 if subtype == "PCM_U8" else 1)


def test_samples_of_16_bits_are_kept_bit_by_bit(tmp_path: Path) -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", every, 16000)
        assert np.array_equal(read_audio(tmp_path / f"a.{suffix}", 10, 16000).samples, every)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 32000, 44100, 44099, 48000, 96000])
def test_other_rates_keep_pitch_level_and_length(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1000, 1.0, 0.5, rate_hz), rate_hz, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav", 10, 16000).samples
    assert len(samples) == 16000
    inner = slice(1000, -1000)  # the sine begins and ends at once, which rings
    assert np.abs(samples[inner] / 32768 - tone(1000, 1.0, 0.5)[inner]).max() < 1e-3


def test_what_16_khz_cannot_hold_is_filtered_off(tmp_path: Path) -> None:
    """Resampled as scipy does it, and with nothing folded down from above 8 kHz."""
    noise = 0.2 * np.random.default_rng(0).normal(size=48000)
    low = resample_poly(resample_poly(noise, 1, 4), 4, 1)[:48000]  # nothing above 6 kHz, where the two filters agree
    soundfile.write(tmp_path / "a.wav", low + tone(9000, 1.0, 0.3, 48000), 48000, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav", 10, 16000).samples / 32768
    difference = (samples - resample_poly(low, 1, 3))[200:-200]
    assert np.sqrt(np.mean(difference**2)) < 0.01 * np.sqrt(np.mean(samples**2))


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(440), tone(880)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right, 0 * left], 1), 16000, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav", 10, 16000).samples
    assert np.abs(samples - 32768 * (left + right) / 3).max() <= 1


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".opus", ".aiff", ".au", ".caf", ".w64"])
def test_what_libsndfile_reads_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"A{suffix.upper()}"
    form = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    soundfile.write(path, tone(500, 1.0, 0.3, 48000), 48000, **form)
    samples = read_audio(path, 10, 16000).samples.astype(float)[:16000]
    assert abs(len(samples) - 16000) < 400
    spectrum = np.abs(np.fft.rfft(samples, 16000))
    assert abs(int(spectrum.argmax()) - 500) <= 1
    assert samples.std() == pytest.approx(tone(500, 1.0, 0.3).std() * 32768, rel=0.05)


def test_a_data_set_of_many_forms_is_read_as_one(tmp_path: Path) -> None:
    forms = {
        "alice": (44100, 1, "wav"), "bob": (48000, 2, "flac"), "carol": (22050, 1, "mp3"), "dave": (32000, 2, "ogg"),
    }  # fmt: skip
    record(tmp_path, ["lamp", "music"])
    for path in sorted(tmp_path.rglob("*.wav")):
        person = path.stem.split("_")[0]
        if person in forms:
            rate_hz, channels, suffix = forms[person]
            hz = int(np.abs(np.fft.rfft(soundfile.read(path)[0])).argmax())
            path.unlink()
            clip = np.stack([tone(hz, 1.0, 0.3, rate_hz)] * channels, 1)
            soundfile.write(path.with_suffix(f".{suffix}"), clip, rate_hz)
    data = load_speech_commands(tmp_path)
    assert not data.findings.warnings
    for label in range(2):
        actual = sorted(hz for split in ("train", "validation", "test") for hz in pitches_hz(data, split, label))
        expected = [200 + 300 * label + 20 * voice + take for voice in range(len(PEOPLE)) for take in range(5)]
        assert np.abs(np.array(actual) - expected).max() <= 1


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_float_recordings_are_heard_as_words_and_as_noise_and_by_verify(tmp_path: Path, subtype: str) -> None:
    def write(path: Path, clip: Wave) -> None:
        soundfile.write(path, clip, 16000, subtype=subtype)

    record(tmp_path, ["lamp", "music"], write=write)
    (tmp_path / "_background_noise_").mkdir()
    write(tmp_path / "_background_noise_" / "fan.wav", tone(100, 20.0, 0.2))
    data = load_speech_commands(tmp_path)
    assert np.abs(data.background.astype(int)).max() == pytest.approx(0.2 * 32768, abs=2)
    words = data.train.samples[data.train.labels < 2].astype(int)
    assert np.abs(words).max(1).min() > 0.29 * 32768
    test, _ = load_test_split(tmp_path)
    assert np.array_equal(test.samples, data.test.samples) and np.array_equal(test.labels, data.test.labels)


def test_short_clips_are_padded_and_of_long_ones_the_loudest_second_is_kept(tmp_path: Path) -> None:
    quiet, loud = tone(440, 1.5, 0.01), tone(880, 1.0, 0.5)
    write_pcm(tmp_path / "short.wav", tone(440, 0.25))
    write_pcm(tmp_path / "long.wav", np.concatenate([quiet, loud, quiet]))
    recordings = [Recording(tmp_path / x, f"w/{x}", "w", "") for x in ("short.wav", "long.wav")]
    (short, long), _ = Reader(tmp_path, ONE_SECOND).clips(recordings)
    assert np.array_equal(short[:4000], soundfile.read(tmp_path / "short.wav", dtype="int16")[0])
    assert not short[4000:].any()
    assert np.array_equal(long, soundfile.read(tmp_path / "long.wav", dtype="int16", start=24000, frames=16000)[0])


def test_clips_and_noise_of_another_rate_and_length(tmp_path: Path) -> None:
    """A quarter of a second at 8 kHz holds the same tones."""
    record(tmp_path, ["lamp", "music"])
    clip = ClipFormat(8_000, 2_000)
    data = load_speech_commands(tmp_path, clip=clip)
    assert data.clip == clip
    for split in SPLITS:
        actual = data.split(split)
        assert actual.samples.shape == (len(actual), 2_000)
    words = data.train.samples[data.train.labels < 2]
    hz = 4 * np.abs(np.fft.rfft(words)).argmax(1)  # a bin is 4 Hz
    takes = product(range(2), range(8), range(5))
    known = np.array([200 + 300 * label + 20 * voice + take for label, voice, take in takes])
    assert np.abs(hz[:, None] - known).min(1).max() <= 3
    test, _ = load_test_split(tmp_path, clip=clip)
    assert np.array_equal(test.samples, data.test.samples)
    assert not any("were recorded below" in x for x in data.findings.warnings)
    narrow = load_speech_commands(tmp_path, clip=ClipFormat(32_000, 32_000)).findings.warnings
    assert any("were recorded below 32,000 Hz" in x for x in narrow)


def empty(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.int16), 16000)


def minute(path: Path) -> None:
    soundfile.write(path, np.zeros(16000 * 60, np.int16), 16000)


def text(path: Path) -> None:
    path.write_text("not audio")


def text_called_mp3(path: Path) -> None:
    path.with_suffix(".mp3").write_text("not audio " * 50)


def cut_off(path: Path) -> None:
    soundfile.write(path, tone(440), 16000, format="FLAC")
    path.write_bytes(path.read_bytes()[:-3000])


def not_a_number(path: Path) -> None:
    clip = tone(440)
    clip[77] = np.nan
    soundfile.write(path, clip, 16000, subtype="FLOAT")


def integers_as_floats(path: Path) -> None:
    soundfile.write(path, np.round(tone(440) * 32768), 16000, subtype="FLOAT")


def broken_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.wav"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "says", "do"),
    [
        (empty, "holds no samples", "remove the file"),
        (minute, "60 s, expected at most 10 s", "into short ones, one word each"),
        (text, "cannot be read as audio", "remove the file"),
        (text_called_mp3, "cannot be read as audio. cannot be used", "remove the file"),
        (cut_off, "cannot be read as audio", "remove the file"),
        (not_a_number, "no numbers", "remove the file"),
        (integers_as_floats, "float samples reach 9830, expected -1 to 1", "scale float samples"),
        (broken_link, "is no file, or a link to none", "remove the file"),
        (pipe, "is no file", "remove the file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, spoil: Callable[[Path], None], says: str, do: str) -> None:
    record(tmp_path, ["go"])
    bad = sorted((tmp_path / "go").iterdir())[5]
    bad.unlink()
    spoil(bad)
    with pytest.raises(InputError, match=says) as caught:
        load_speech_commands(tmp_path)
    assert f"go/{bad.stem}" in caught.value.message and "\n" not in str(caught.value)
    assert caught.value.hint and do in caught.value.hint


def test_all_that_cannot_be_read_is_told_at_once_and_the_remedy_removes_it(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    for number in range(9):
        (tmp_path / "lamp" / f"alice_lamp_1{number}.m4a").write_bytes(b"....")
    text(tmp_path / "music" / "alice_music_00.wav")  # in one split
    minute(tmp_path / "music" / "bob_music_01.wav")
    text(tmp_path / "music" / "heidi_music_02.wav")
    (tmp_path / "_background_noise_").mkdir()
    text(tmp_path / "_background_noise_" / "fan.wav")
    (tmp_path / "lamp" / "notes.txt").write_text("no audio, and not meant to be")
    with pytest.raises(InputError) as caught:
        load_speech_commands(tmp_path)
    message, hint = caught.value.message, caught.value.hint
    assert message.startswith("13 recordings in ") and "and 8 more" in message and len(message) < 500
    assert "_background_noise_/fan.wav" in message and "lamp/alice_lamp_10.m4a (m4a is not read)" in message
    assert hint and 'rm "$f"' in hint and "one word each" in hint and "remove the file" in hint


def test_every_file_of_a_form_that_is_not_read_is_told_also_of_words_that_are_hardly_drawn_from(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"], takes=2)
    record(tmp_path, ["other"], takes=40)
    for path in sorted((tmp_path / "other").glob("*_00.wav")):
        path.rename(path.with_suffix(".m4a"))
    with pytest.raises(InputError, match="8 recordings in "):
        load_speech_commands(tmp_path, words=["lamp", "music"])


def test_a_word_of_forms_that_are_not_read_is_no_missing_word(tmp_path: Path) -> None:
    record(tmp_path, ["lamp"])
    (tmp_path / "music").mkdir()
    for person in PEOPLE:
        for take in range(2):
            (tmp_path / "music" / f"{person}_music_{take}.wma").write_bytes(b"....")
    with pytest.raises(InputError, match="16 recordings in .* music/alice_music_0.wma .wma is not read."):
        load_speech_commands(tmp_path)


def test_the_hint_for_long_noise_speaks_of_noise(tmp_path: Path) -> None:
    record(tmp_path, ["lamp"])
    (tmp_path / "_background_noise_").mkdir()
    soundfile.write(tmp_path / "_background_noise_" / "fan.flac", np.zeros(16000 * 601, np.int16), 16000)
    with pytest.raises(InputError, match="601 s, expected at most 600 s") as caught:
        load_speech_commands(tmp_path)
    assert caught.value.hint == "cut long noise into recordings of at most 600 s"


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    record(tmp_path, ["lamp", "music"])
    os.rename(tmp_path / "lamp", os.fsencode(tmp_path) + b"/k\xfcche")
    kitchen = os.fsencode(tmp_path) + b"/k\xfcche/"
    os.rename(kitchen + b"alice_lamp_00.wav", kitchen + b"alice_l\xe4mp_00.wav")
    (tmp_path / "speakers.csv").write_bytes(b"file,speaker\nk\xfcche/alice_l\xe4mp_00.wav,alice\n")
    data = load_speech_commands(tmp_path, words=["music", os.fsdecode(b"k\xfcche")])
    assert data.classes == ("k\\xfcche", "music", "silence") and data.digest
    assert sum(len(data.split(x)) for x in ("train", "validation", "test")) == 80 + 40
    with open(kitchen + b"\xff\n.wav", "wb") as bad:
        bad.write(b"no audio")
    with pytest.raises(InputError) as caught:
        load_speech_commands(tmp_path)
    assert r"k\xfcche/\xff\x0a.wav" in caught.value.message
    assert str(caught.value).encode() and "\n" not in str(caught.value)
