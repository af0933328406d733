"""Clips of a word from a microphone, one file each, named so that word and speaker are found again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.audio.checks import QUIET_DB, ClipFacts, facts_of
from hil_nas.audio.clips import loudest
from hil_nas.audio.decode import Audio, Samples, is_clipped
from hil_nas.audio.layout import TEST_FOLDER, is_word, role
from hil_nas.audio.long_audio import wav_file
from hil_nas.errors import InputError
from hil_nas.files import require_writable, write_atomically
from hil_nas.front_ends import ONE_SECOND, ClipFormat
from hil_nas.progress import Progress, Reporter, silent

_PAUSE_S = 0.7  # before each take: the end of the last word, and the time to read what is to be said
_TAKE_CLIPS = 2  # clips of listening for each: a person answers late
_TRIES = 5  # takes in a row that may fail
_FULL_SCALE = 32768
_WORD = re.compile(r"[^\W_]+([ '-][^\W_]+)*")
_SPEAKER = re.compile(r"[^\W_]*")


@dataclass(frozen=True)
class Take:
    """A clip that was kept.

    Attributes:
        file: its path.
        level_db: RMS against full scale.
    """

    file: str
    level_db: float


def check_names(word: str, speaker: str) -> None:
    """
    Raises:
        InputError: for a word that is no folder of a word, or a speaker whom a file's name would not give back.
    """
    if not _WORD.fullmatch(word) or not is_word(role(word)) or word == TEST_FOLDER:
        raise InputError(f"'{word}' is no word to record", hint="write letters and digits, with spaces between")
    if not _SPEAKER.fullmatch(speaker):
        raise InputError(f"'{speaker}' is no speaker's name here, expected letters and digits", hint="write AnnaMaria")


def record_word(
    word: str,
    folder: Path,
    blocks: Iterator[Samples],
    *,
    speaker: str = "",
    count: int = 10,
    clip: ClipFormat = ONE_SECOND,
    progress: Reporter = silent,
) -> list[Take]:
    """`folder/word/speaker_word_01.wav` and so on; numbers go on behind those that are there.

    Of each take the loudest part is kept, as long as a clip. One that is silent or clipped is said and taken again.

    Args:
        blocks: int16 (m,) at the clip's rate, as a microphone gives them.
        speaker: empty where nobody is named.

    Raises:
        InputError: for names as `check_names`, after several takes in a row that cannot be used, and where the
            microphone ends.
        OutputError: where the system refuses.
    """
    check_names(word, speaker)
    require_writable(folder / word)
    takes: list[Take] = []
    failed, pause, length = 0, round(_PAUSE_S * clip.sample_rate_hz), _TAKE_CLIPS * clip.samples
    microphone = _Microphone(blocks)
    while len(takes) < count:
        microphone.read(pause)
        number = len(takes) + 1
        progress(Progress(f"{number} of {count}", 0, 0, f"say '{word}'", lasting=True))
        heard = microphone.read(length)
        start = loudest(heard, clip.samples)
        samples = heard[start : start + clip.samples]
        facts = _facts(samples, clip)
        fault = _fault(facts)
        if fault:
            failed += 1
            progress(Progress(f"{number} of {count}", 0, 0, f"{fault}; again", lasting=True))
            if failed == _TRIES:
                raise InputError(f"{_TRIES} takes in a row cannot be used: {fault}", hint="set the microphone's level")
            continue
        failed = 0
        path = _next_file(folder / word, f"{speaker}_{word}" if speaker else word)
        write_atomically(path, wav_file(samples, clip.sample_rate_hz))
        takes.append(Take(str(path), round(facts.level_db, 1)))
        progress(Progress(f"{number} of {count}", 0, 0, f"{path.name}, {facts.level_db:.0f} dB", lasting=True))
    return takes


class _Microphone:
    """So many samples at a time of blocks of any length."""

    def __init__(self, blocks: Iterator[Samples]) -> None:
        self._blocks, self._rest = blocks, np.zeros(0, np.int16)

    def read(self, samples: int) -> Samples:
        parts = [self._rest]
        while sum(map(len, parts)) < samples:
            block = next(self._blocks, None)
            if block is None:
                raise InputError("the microphone gave no more samples", hint="see whether it is still attached")
            parts.append(block)
        heard = np.concatenate(parts)
        self._rest = heard[samples:]
        return heard[:samples]


def _facts(samples: Samples, clip: ClipFormat) -> ClipFacts:
    full_scale = samples.astype(np.float32)[:, None] / np.float32(_FULL_SCALE)
    audio = Audio(samples, clip.sample_rate_hz, is_clipped(full_scale))
    return facts_of("", samples, audio, clip.sample_rate_hz)


def _fault(facts: ClipFacts) -> str:
    """Why a take cannot be used; empty where it can."""
    if facts.silent:
        return "the microphone gives nothing but zeros"
    if facts.clipped:
        return f"it is clipped, at {facts.level_db:.0f} dB: speak softer or farther away"
    if facts.level_db < QUIET_DB:
        return f"nothing was heard, at {facts.level_db:.0f} dB, expected {QUIET_DB:.0f} dB or more"
    return ""


def _next_file(folder: Path, name: str) -> Path:
    """The file behind the highest number that a recording of this name has, in whatever form."""
    numbered = re.compile(rf"{re.escape(name)}_(\d+)")
    there = [numbered.fullmatch(x.stem) for x in folder.iterdir()] if folder.is_dir() else []
    return folder / f"{name}_{max((int(x[1]) for x in there if x), default=0) + 1:02d}.wav"
