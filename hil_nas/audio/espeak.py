"""Calls espeak-ng for one utterance at a time."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass

import numpy as np

from hil_nas.audio.noise import Float
from hil_nas.errors import InputError, MissingToolError

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
# timbres that sound like different people; near copies and robots are left out
TIMBRES = (
    *(f"m{i}" for i in range(1, 9)), *(f"f{i}" for i in range(1, 6)), *("klatt", "klatt2", "klatt4", "whisper"),
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Lee"),
    *("Marco", "Mario", "Michael", "Mike", "Storm", "adam", "anika", "antonio", "aunty", "belinda", "benjamin"),
    *("boris", "caleb", "david", "ed", "edward", "grandma", "grandpa", "gustave", "iven", "john", "linda", "max"),
    *("michel", "miguel", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph"),
    *("travis", "victor", "zac"),
)  # fmt: skip
_TIMEOUT_S = 30
_HEADER_BYTES = 44


@dataclass(frozen=True)
class Voice:
    """How something is said.

    Attributes:
        accent, timbre: as espeak-ng names them; the timbre stands for the speaker.
        words_per_minute: 80 to 450.
        pitch: 0 to 99.
    """

    accent: str
    timbre: str
    words_per_minute: int
    pitch: int


def espeak_version() -> str:
    """Version of the program that is installed.

    Raises:
        MissingToolError: where there is none.
    """
    done = subprocess.run([_program(), "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return done.stdout.split("Data at")[0].strip()


def available_timbres() -> tuple[str, ...]:
    """Those of `TIMBRES` that this installation has.

    Raises:
        MissingToolError: where espeak-ng or nearly all of its variants are missing.
    """
    done = subprocess.run(
        [_program(), "--voices=variant"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    listed = {field.removeprefix("!v/") for field in done.stdout.split() if field.startswith("!v/")}
    available = tuple(x for x in TIMBRES if x in listed)
    if len(available) < 12:
        raise MissingToolError(
            f"espeak-ng has {len(available)} of the {len(TIMBRES)} voice variants, expected at least 12",
            hint="install its data: apt install espeak-ng espeak-ng-data",
        )
    return available


def say(text: str, voice: Voice, sample_rate_hz: int) -> Float:
    """The utterance, (m,), as espeak-ng's full scale gives it, silence trimmed off.

    Raises:
        MissingToolError: where espeak-ng is not installed.
        InputError: where nothing is heard, as for a word without sounds.
    """
    command = [_program(), "-v", f"{voice.accent}+{voice.timbre}", "-s", str(voice.words_per_minute)]
    command += ["-p", str(voice.pitch), "--stdout", "--stdin"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0 or done.stdout[:4] != b"RIFF" or len(done.stdout) <= _HEADER_BYTES:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[-1] or "no sound"
        raise InputError(f"espeak-ng could not say '{text}' as {command[2]}: {reason}")
    rate_hz = struct.unpack("<I", done.stdout[24:28])[0]
    body = done.stdout[_HEADER_BYTES:]
    audio = np.frombuffer(body[: len(body) // 2 * 2], "<i2") / 32768.0
    audio = trimmed(_resampled(audio, rate_hz, sample_rate_hz))
    if not len(audio):
        raise InputError(f"espeak-ng says nothing for '{text}'", hint="write the word as it is spoken")
    return audio


def _program() -> str:
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingToolError(
            "espeak-ng is not installed, and words are spoken by it where no recordings are given",
            hint="apt install espeak-ng, or name a folder of recorded words",
        )
    return program


def _resampled(audio: Float, rate_hz: int, wanted_hz: int) -> Float:
    """To another rate by cutting the spectrum: exact for a sound with silence around it."""
    silent = np.zeros(rate_hz // 50)
    spectrum = np.fft.rfft(np.concatenate([silent, audio, silent]))
    samples = round((len(audio) + 2 * len(silent)) * wanted_hz / rate_hz)
    kept = min(len(spectrum), samples // 2 + 1)
    return np.fft.irfft(spectrum[:kept], samples) * (wanted_hz / rate_hz)


def trimmed(audio: Float) -> Float:
    """Without what lies 46 dB and more below the peak at both ends."""
    peak = float(np.max(np.abs(audio), initial=0.0))
    loud = np.flatnonzero(np.abs(audio) > peak * 0.005) if peak > 1e-4 else np.array([], np.int64)
    return audio[loud[0] : loud[-1] + 1] if len(loud) else audio[:0]
