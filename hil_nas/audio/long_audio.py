"""Long recordings: files and folders of them, and who speaks in each."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil_nas.audio.decode import Samples, is_audio
from hil_nas.audio.layout import BACKGROUND, Recording
from hil_nas.audio.speakers import find_speakers, librispeech_speaker
from hil_nas.errors import InputError
from hil_nas.files import plain_name


@dataclass(frozen=True)
class LongRecording:
    """A recording of any length.

    Attributes:
        name: within the folder that was named, the same text on every machine.
        speaker: who speaks, as far as names, folders or a table say; else the recording itself.
    """

    path: Path
    name: str
    speaker: str


def long_recordings(paths: Sequence[Path]) -> list[LongRecording]:
    """The files that are named, and all audio below the folders that are, in the order of their names.

    Raises:
        InputError: for what is not there, and for a folder without audio.
    """
    found: list[LongRecording] = []
    for path in paths:
        if path.is_dir():
            found += _below(path)
        elif path.is_file():
            found.append(LongRecording(path, plain_name(path.name), plain_name(path)))
        else:
            raise InputError(f"{plain_name(path)} is neither a file nor a folder", hint="name recordings, or a folder")
    return found


def _below(folder: Path) -> list[LongRecording]:
    files = [x for x in sorted(folder.rglob("*")) if is_audio(x) and x.is_file()]
    if not files:
        raise InputError(f"{plain_name(folder)} holds no audio file", hint="name a folder of WAV or FLAC files")
    recordings = []
    for path in files:
        inside = path.relative_to(folder)
        top = plain_name(inside.parts[0]) if len(inside.parts) > 1 else ""
        recordings.append(Recording(path, plain_name(inside.as_posix()), BACKGROUND, top))
    speakers = find_speakers(folder, recordings)
    return [
        LongRecording(x.path, x.name, y or librispeech_speaker(x.stem) or x.name)
        for x, y in zip(recordings, speakers, strict=True)
    ]


def wav_file(samples: Samples, sample_rate_hz: int) -> bytes:
    """A WAV file of int16 mono (m,)."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()
