"""Clips as arrays: one second of 16 kHz mono audio each, read from WAV or FLAC and checked on the way in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil_nas.errors import InputError
from hil_nas.mfcc import CLIP_SAMPLES, SAMPLE_RATE_HZ

Samples = npt.NDArray[np.int16]  # (n, 16000), or (m,) for one long recording
Labels = npt.NDArray[np.int64]  # (n,)

SUFFIXES = (".wav", ".flac")
_OTHER_AUDIO = (".mp3", ".m4a", ".ogg", ".opus", ".aac", ".wma", ".aiff", ".webm")
_LONGEST_CLIP_S = 10
_LONGEST_NOISE_S = 600
_READERS = 2  # libsndfile releases the interpreter; more than two readers gain nothing on a small machine


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips and their classes.

    Attributes:
        samples: int16 (n, 16000).
        labels: int64 (n,), indices into the data set's classes.
    """

    samples: Samples
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> Clips:
        """The clips at these indices, in this order."""
        return Clips(self.samples[indices], self.labels[indices])


def audio_files(folder: Path) -> list[Path]:
    """The WAV and FLAC files of a folder, sorted by name; hidden files do not count.

    Raises:
        InputError: where a file is audio of a form that is not read.
    """
    files = []
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or not path.is_file():
            continue
        if suffix in _OTHER_AUDIO:
            raise InputError(f"{path} is {suffix[1:]} audio, expected WAV or FLAC", hint=_convert_hint(path))
        if suffix in SUFFIXES:
            files.append(path)
    return files


def read_clips(paths: Sequence[Path]) -> Samples:
    """Files as int16 (n, 16000), in the order given.

    A shorter clip is padded with zeros at its end; of a longer one the loudest second is kept.

    Raises:
        InputError: for a file that is unreadable, empty, not 16 kHz or not mono; the message names it.
    """
    out = np.zeros((len(paths), CLIP_SAMPLES), np.int16)

    def fill(index: int) -> None:
        audio = read_audio(paths[index], _LONGEST_CLIP_S)
        start = _loudest_second(audio) if len(audio) > CLIP_SAMPLES else 0
        part = audio[start : start + CLIP_SAMPLES]
        out[index, : len(part)] = part

    with ThreadPoolExecutor(_READERS) as readers:
        list(readers.map(fill, range(len(paths))))
    return out


def read_noise(paths: Sequence[Path]) -> list[Samples]:
    """Noise recordings of any length as int16 (m,) each; what is shorter than a clip is repeated.

    Raises:
        InputError: as `read_clips`.
    """
    recordings = [read_audio(path, _LONGEST_NOISE_S) for path in paths]
    return [np.resize(x, CLIP_SAMPLES) if len(x) < CLIP_SAMPLES else x for x in recordings]


def read_audio(path: Path, longest_s: int) -> Samples:
    """One file as int16 (m,).

    Raises:
        InputError: for a file that is unreadable, empty, too long, not 16 kHz or not mono.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            _check(path, file.samplerate, file.channels, file.frames, longest_s)
            audio: Samples = file.read(dtype="int16")
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).removeprefix(f"Error opening {str(path)!r}: ").rstrip(".")
        raise InputError(
            f"{path} cannot be read as audio ({reason}), expected WAV or FLAC",
            hint="replace or remove the file",
        ) from None
    return audio


def _check(path: Path, rate_hz: int, channels: int, frames: int, longest_s: int) -> None:
    if rate_hz != SAMPLE_RATE_HZ:
        raise InputError(f"{path} has {rate_hz} Hz, expected {SAMPLE_RATE_HZ} Hz", hint=_convert_hint(path))
    if channels != 1:
        raise InputError(f"{path} has {channels} channels, expected mono", hint=_convert_hint(path))
    if frames == 0:
        raise InputError(f"{path} holds no samples, expected about one second", hint="remove the file")
    if frames > longest_s * SAMPLE_RATE_HZ:
        raise InputError(
            f"{path} lasts {frames / SAMPLE_RATE_HZ:.0f} s, expected at most {longest_s} s",
            hint="cut it into clips of one second, one word each",
        )


def _convert_hint(path: Path) -> str:
    target = f"{path.stem}-16k.wav"
    return f"convert it: ffmpeg -i '{path.name}' -ar {SAMPLE_RATE_HZ} -ac 1 -sample_fmt s16 '{target}'"


def _loudest_second(audio: Samples) -> int:
    """Where the second with the most energy begins."""
    energy = np.concatenate([[0], np.cumsum(audio.astype(np.int64) ** 2)])
    return int(np.argmax(energy[CLIP_SAMPLES:] - energy[:-CLIP_SAMPLES]))
