"""What a stream holds beside keywords, made of clips whose words can be told apart by their pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.long_audio import LongRecording
from hil_nas.audio.negatives import between_words, cuts, with_unknown
from hil_nas.errors import InputError
from hil_nas.progress import silent
from hil_nas.workflows.finish import with_negatives

RATE_HZ, SIZE = 16_000, 16_000
KEYWORD_HZ, OTHER_HZ = 500, 2000
BEGINS, ENDS = 5000, 11_000


def word(hz: int) -> np.ndarray:
    clip = np.zeros(SIZE)
    clip[BEGINS:ENDS] = 8000 * np.sin(2 * np.pi * hz * np.arange(ENDS - BEGINS) / RATE_HZ)
    return clip.astype(np.int16)


def data(classes: tuple[str, ...] = ("lamp", "silence", "unknown")) -> KeywordData:
    clips = np.stack([word(KEYWORD_HZ), np.zeros(SIZE, np.int16), word(OTHER_HZ)])
    part = Clips(np.repeat(clips, 4, axis=0), np.repeat(np.arange(3), 4))
    return KeywordData("toy", classes, part, part, part, np.zeros(SIZE, np.int16))


def samples_at(hz: int, clip: np.ndarray) -> int:
    """How many samples of a clip hold a tone: frames of 10 ms in which it is the strongest, counted."""
    frames = clip[: SIZE // 160 * 160].reshape(-1, 160).astype(float)
    spectra = np.abs(np.fft.rfft(frames, axis=1))
    return 160 * int(np.sum((spectra.argmax(axis=1) == hz * 160 // RATE_HZ) & (spectra.max(axis=1) > 1e5)))


def test_windows_between_words_hold_a_part_of_any_word_and_another_that_is_no_keyword() -> None:
    windows = between_words(data(), 200, seed=0)
    assert windows.shape == (200, SIZE) and windows.dtype == np.int16
    length, parts = ENDS - BEGINS, []
    for clip in windows:
        if part := samples_at(KEYWORD_HZ, clip):
            parts.append(part)
            assert samples_at(OTHER_HZ, clip) > 0.9 * length  # the whole other word
    assert 60 < len(parts) < 140  # the other half are cut from words that are no keywords either
    assert 0.25 * length < min(parts) < 0.4 * length and 0.5 * length < max(parts) < 0.65 * length
    loud = np.abs(windows.astype(int)).reshape(200, -1, 160).max(axis=2) > 4000
    assert loud[1::2, 0].all() and loud[0::2, -1].all()  # the part lies at the window's edge


def test_the_same_seed_gives_the_same_windows() -> None:
    first, again, other = (between_words(data(), 10, seed=x) for x in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_recordings_are_cut_into_windows_that_overlap(tmp_path: Path) -> None:
    lengths = {"long.wav": 3 * SIZE + 100, "exact.wav": SIZE, "short.wav": 700}
    recordings = []
    for name, length in lengths.items():
        soundfile.write(tmp_path / name, np.arange(length).astype(np.int16), RATE_HZ)
        recordings.append(LongRecording(tmp_path / name, name, name))
    actual = cuts(recordings, data())
    assert actual.shape == (5 + 1 + 1, SIZE)
    assert actual[:, 0].tolist() == [0, 8000, 16_000, 24_000, 32_000, 0, 0]
    assert not actual[-1, 700:].any() and actual[-1, 699] == 699
    (tmp_path / "bad.wav").write_bytes(b"x")
    with pytest.raises(InputError, match="bad.wav: it cannot be read"):
        cuts([LongRecording(tmp_path / "bad.wav", "bad.wav", "x")], data())


def test_they_join_the_training_clips_of_unknown_alone() -> None:
    before = data()
    after = with_unknown(before, np.full((7, SIZE), 5, np.int16))
    assert np.bincount(after.train.labels).tolist() == [4, 4, 11]
    assert (after.train.samples[-7:] == 5).all() and after.digest != before.digest
    assert after.validation is before.validation and after.test is before.test
    with pytest.raises(InputError, match="what is no keyword"):
        with_unknown(data(("lamp", "music", "silence")), np.zeros((1, SIZE), np.int16))


def test_a_training_for_a_stream_hears_cuts_and_windows_between_words(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", np.full(2 * SIZE, 1234, np.int16), RATE_HZ)
    before = data()
    after = with_negatives(before, [str(tmp_path)], seed=3, progress=silent)
    assert np.bincount(after.train.labels).tolist() == [4, 4, 4 + 3 + 4]  # of two clips' length three cuts
    added = after.train.samples[len(before.train) :]
    assert (added[:3] == 1234).all() and np.array_equal(added[3:], between_words(before, 4, seed=3))
    assert after.offset_ms == 250.0 and before.offset_ms == 0.0
    assert with_negatives(before, [], seed=3, progress=silent) is before
