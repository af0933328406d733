"""The one way from a file to samples: whatever libsndfile reads becomes int16 at one rate, mono."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil_nas.errors import InputError

Samples = npt.NDArray[np.int16]  # (n, samples), or (m,) for one long recording
Float = npt.NDArray[np.float32]

SUFFIXES = (
    *(".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".w64", ".rf64", ".sph"),
)
_OTHER_AUDIO = (
    *(".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".amr", ".3gp", ".mka", ".mov", ".ape", ".wv", ".ac3"),
    *(".raw", ".pcm"),
)
_FULL_SCALE = 32768
_LARGEST_FLOAT = 8.0  # times full scale: a float file beyond it holds integers, not overdriven speech
_QUIETEST_CLIPPED = 0.03  # of full scale: below it steps of int16 alone make flat tops,
_COARSE, _QUIETEST_COARSE = ("PCM_U8", "PCM_S8", "ULAW", "ALAW"), 0.95  # and with 8 bits everywhere below full scale
_BLOCK_S = 10
_REPLACE = "replace or remove the file"
_NO_FILE = 7  # of libsndfile's errors
_CLIPPED_SAMPLES = 10  # that many with both neighbours at the extreme too: 0.6 % of Speech Commands have so many


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording as it is used, and what was seen on the way.

    Attributes:
        samples: int16 (m,), at the rate that was asked for.
        rate_hz: as it was recorded.
        clipped: whether its peaks are flat.
    """

    samples: Samples
    rate_hz: int
    clipped: bool


def is_audio(path: Path) -> bool:
    """Whether a name is that of audio, read or not."""
    return path.suffix.lower() in (*SUFFIXES, *_OTHER_AUDIO)


def is_read(path: Path) -> bool:
    """Whether audio of this name is in a form that libsndfile reads."""
    return path.suffix.lower() in SUFFIXES


def read_audio(path: Path, longest_s: int, sample_rate_hz: int) -> Audio:
    """One file as int16 (m,) at a rate: channels are averaged, other rates resampled by soxr (HQ, 20 bits).

    Raises:
        InputError: for a file that is not what it must be; its message is the reason alone, callers name the file.
    """
    _check_form(path)
    audio, rate_hz, quietest_clipped = _decoded(path, longest_s)
    mono = _mono(audio)
    if rate_hz != sample_rate_hz:
        import soxr

        mono = soxr.resample(mono, rate_hz, sample_rate_hz)
    samples = _rounded(mono)
    if not len(samples):
        raise InputError("it holds no samples", hint=_REPLACE)
    return Audio(samples, rate_hz, is_clipped(audio, quietest_clipped))


def audio_blocks(path: Path, sample_rate_hz: int) -> Iterator[Samples]:
    """One file of any length as int16 blocks (m,) at a rate, some seconds each; the samples of `read_audio`.

    Raises:
        InputError: as `read_audio`.
    """
    _check_form(path)
    with _opened(path) as file:
        resampler = None
        if file.samplerate != sample_rate_hz:
            import soxr

            resampler = soxr.ResampleStream(file.samplerate, sample_rate_hz, 1, dtype="float32")
        for audio in file.blocks(_BLOCK_S * file.samplerate, dtype="float32", always_2d=True):
            _check_floats(audio)
            mono = _mono(audio)
            yield _rounded(mono if resampler is None else resampler.resample_chunk(mono))
        if resampler is not None:
            yield _rounded(resampler.resample_chunk(np.zeros(0, np.float32), last=True))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A `soundfile.SoundFile`; what libsndfile says against it inside becomes an InputError, the reason alone."""
    import soundfile

    if not path.is_file():  # reading a pipe would wait for ever
        raise InputError("it is no file, or a link to none", hint=_REPLACE)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:  # bytes: a name need not be UTF-8
            yield file
    except soundfile.LibsndfileError as error:
        # of text that is called .mp3 libsndfile says that there is no such file
        reason = "" if error.code == _NO_FILE else error.error_string.rstrip(".") or f"libsndfile's error {error.code}"
        raise InputError("it cannot be read as audio" + f": {reason}" * bool(reason), hint=_REPLACE) from None
    except (soundfile.SoundFileError, OSError) as error:
        raise InputError(f"it cannot be read as audio: {error}", hint=_REPLACE) from None


def _decoded(path: Path, longest_s: int) -> tuple[Float, int, float]:
    """Samples (frames, channels), full scale 1, the rate they were recorded at, and the least peak that is clipping."""
    with _opened(path) as file:
        rate_hz, seconds = file.samplerate, file.frames / file.samplerate
        if seconds > longest_s:
            raise InputError(f"it lasts {seconds:.0f} s, expected at most {longest_s} s")
        quietest_clipped = _QUIETEST_COARSE if file.subtype in _COARSE else _QUIETEST_CLIPPED
        audio: Float = file.read(dtype="float32", always_2d=True)
    _check_floats(audio)
    return audio, rate_hz, quietest_clipped


def _check_form(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _OTHER_AUDIO:
        raise InputError(
            f"{suffix[1:]} is not read",
            hint=f'convert and remove: for f in *{suffix}; do ffmpeg -i "$f" "${{f%.*}}.wav" && rm "$f"; done',
        )


def _check_floats(audio: Float) -> None:
    if not np.isfinite(audio).all():
        raise InputError("it holds samples that are no numbers", hint=_REPLACE)
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > _LARGEST_FLOAT:
        raise InputError(f"its float samples reach {peak:g}, expected -1 to 1", hint="scale float samples to -1 to 1")


def _mono(audio: Float) -> Float:
    return audio[:, 0] if audio.shape[1] == 1 else audio.mean(1)


def _rounded(mono: Float) -> Samples:
    return np.clip(np.rint(mono * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def is_clipped(audio: Float, quietest: float = _QUIETEST_CLIPPED) -> bool:
    """Whether many samples stand at the extreme with both neighbours: of (frames, channels), before any change.

    Args:
        quietest: of full scale; below it no peak is clipping.
    """
    peak = float(np.abs(audio).max())
    if peak < quietest:
        return False
    flat = 0
    for side in (audio, -audio):
        top = float(side.max())
        if top > peak / 2:  # the silence beside a pulse is no flat bottom
            at = side >= min(top, 1.0 - 1.5 / _FULL_SCALE)
            flat += int(np.count_nonzero(at[2:] & at[1:-1] & at[:-2]))
    return flat >= _CLIPPED_SAMPLES
