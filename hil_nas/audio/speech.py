"""Keywords spoken by espeak-ng: a data set that needs no download.

Words are said in many accents, timbres, rates and pitches, put into synthetic rooms, filtered as by a cheap
microphone, and mixed with noise and babble. A timbre, a room and a stretch of noise belong to one split only, so
that validation and test measure voices that training never heard.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.audio.checks import NAMED, Findings
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.decode import Samples
from hil_nas.audio.espeak import ACCENTS, Voice, available_timbres, espeak_version, say
from hil_nas.audio.layout import SILENCE, UNKNOWN
from hil_nas.audio.noise import Float, generated_noise, silence_clips, to_int16, unit_rms
from hil_nas.audio.splits import SPLITS, Split
from hil_nas.errors import InputError
from hil_nas.files import whole_file
from hil_nas.front_ends import ONE_SECOND, ClipFormat
from hil_nas.progress import Progress, Reporter, silent

_VERSION = 2  # of everything below that decides a sample
_SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
_ROOMS = 12
_NOISE_SECONDS = 20
_SNR_DB = (3.0, 25.0)
_LEVEL_DB = (-32.0, -14.0)  # RMS of the clip against full scale
_UNKNOWN_POOL = 3  # training has so many times a word's clips of other words

# Everyday words, many of them close to common commands.
OTHER_WORDS = (
    *("backward", "bed", "bird", "cat", "dog", "eight", "five", "follow", "forward", "four", "happy", "house"),
    *("learn", "marvin", "nine", "one", "seven", "sheila", "six", "three", "tree", "two", "visual", "wow", "zero"),
    *("dawn", "town", "brown", "gold", "low", "goat", "know it", "note", "lift", "laughed", "lend", "of", "cough"),
    *("often", "un", "own", "arm", "write it", "light", "ride", "shop", "top", "stock", "step", "cup", "upper"),
    *("apple", "yet", "yard", "guess", "mess", "start", "begin", "open", "close", "window", "music", "water"),
)  # fmt: skip
_BABBLE = (
    "the weather was fine in the morning but they said it would rain before the evening came",
    "please put the books back on the table when you have finished reading all of them",
    "nobody remembered who had asked for coffee and who had wanted tea with some milk in it",
    "she drove along the river for an hour and then turned towards the hills in the distance",
)


def spoken_keywords(
    words: Sequence[str],
    cache: Path,
    *,
    clips: int = 300,
    seed: int = 0,
    clip: ClipFormat = ONE_SECOND,
    progress: Reporter = silent,
) -> KeywordData:
    """A keyword task in synthetic voices: the words, silence and unknown.

    The same words, seed and espeak-ng give the same bytes. What was made once is read from the cache.

    Args:
        words: what English voices can say: letters, spaces, apostrophes and hyphens.
        cache: a folder; the data set is about 32 kB a clip.
        clips: of each word, in all splits together.
        clip: rate and length of each.

    Raises:
        MissingToolError: where espeak-ng is not installed.
        InputError: for a word that cannot be said, or too few clips.
    """
    maker = Maker(words, clips, seed, clip)
    numpy_version = np.__version__.split(".")[0]
    key = repr((_VERSION, espeak_version(), maker.timbres, maker.words, clips, seed, clip, numpy_version))
    path = cache / f"spoken-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    arrays = _read(path)
    if arrays is None:
        arrays = maker.arrays(progress)
        _write(path, arrays)
    train, validation, test = (Clips(arrays[f"{x}_samples"], arrays[f"{x}_labels"]) for x in SPLITS)
    findings = Findings({x: len(maker.timbres_of(x)) for x in SPLITS}, maker.timbres[:NAMED])
    return KeywordData("espeak-ng", maker.classes, train, validation, test, arrays["background"], findings, clip)


@dataclass(frozen=True)
class Utterance:
    """What is said in a clip, and how.

    Attributes:
        word: as it is written.
        text: with the punctuation that shapes it.
        rng: draws everything else of the clip.
    """

    word: str
    text: str
    voice: Voice
    rng: np.random.Generator


class Maker:
    """Says and mixes every clip; each draws from its own generator, so that threads change nothing.

    Raises:
        MissingToolError: where espeak-ng is not installed.
        InputError: for a word that cannot be said, or too few clips.
    """

    def __init__(self, words: Sequence[str], clips: int, seed: int, clip: ClipFormat) -> None:
        self.words = _checked(words, clips)
        self.classes = (*self.words, SILENCE, UNKNOWN)
        self.seed, self.clip = seed, clip
        self.counts = {split: max(1, round(clips * share)) for split, share in _SHARES.items()}
        self.timbres = available_timbres()
        self.others = [x for x in OTHER_WORDS if x not in self.words]

    def arrays(self, progress: Reporter) -> dict[str, np.ndarray]:
        """Samples and labels of every split, and the background."""
        result: dict[str, np.ndarray] = {}
        for number, split in enumerate(SPLITS):
            studio = self.studio(split)
            jobs = self.jobs(split)
            spoken = self._spoken(studio, split, f"speaking ({split})", progress)
            rng = np.random.default_rng([self.seed, 2, number])
            quiet = silence_clips(rng, studio.noise, self.counts[split], self.clip)
            labels = [label for label, _ in jobs] + [self.classes.index(SILENCE)] * len(quiet)
            result[f"{split}_samples"] = np.concatenate([spoken, quiet])
            result[f"{split}_labels"] = np.array(labels, np.int64)
            if split == "train":
                result["background"] = np.concatenate(studio.noise)
        return result

    def studio(self, split: Split) -> Studio:
        """The rooms and noises of a split."""
        rng = np.random.default_rng([self.seed, 1, SPLITS.index(split)])
        return Studio(self.timbres_of(split), rng, self.clip)

    def _spoken(self, studio: Studio, split: Split, task: str, progress: Reporter) -> Samples:
        jobs = self.jobs(split)
        out = np.empty((len(jobs), self.clip.samples), np.int16)

        def clip(job: tuple[int, int]) -> Samples:
            said = self.utterance(split, *job)
            return studio.record(say(said.text, said.voice, self.clip.sample_rate_hz), said.rng)

        with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as threads:
            for index, samples in enumerate(threads.map(clip, jobs)):
                out[index] = samples
                if (index + 1) % 50 == 0 or index + 1 == len(jobs):
                    progress(Progress(task, index + 1, len(jobs)))
        return out

    def jobs(self, split: Split) -> list[tuple[int, int]]:
        """Class and number of every spoken clip of a split."""
        count, base = self.counts[split], 1_000_000 * SPLITS.index(split)
        jobs = [(label, base + i) for label in range(len(self.words)) for i in range(count)]
        unknown = count * (_UNKNOWN_POOL if split == "train" else 1)
        return jobs + [(self.classes.index(UNKNOWN), base + i) for i in range(unknown)]

    def timbres_of(self, split: Split) -> list[str]:
        """Those of one split, which stand for its speakers."""
        order = [str(x) for x in np.random.default_rng([self.seed, 0]).permutation(self.timbres)]
        held = max(2, round(len(order) * 0.15))
        return [order[2 * held :], order[:held], order[held : 2 * held]][SPLITS.index(split)]

    def utterance(self, split: Split, label: int, number: int) -> Utterance:
        """What is said in the clip of a job, and how; nothing is said yet."""
        rng = np.random.default_rng([self.seed, 3, label, number])
        word = self.word(label, rng)
        text = word + str(rng.choice(["", ".", "!", "?"]))
        return Utterance(word, text, _voice(self.timbres_of(split), rng), rng)

    def word(self, label: int, rng: np.random.Generator) -> str:
        """A class's word, some other word of the class unknown."""
        return self.words[label] if label < len(self.words) else str(rng.choice(self.others))


class Studio:
    """The rooms and noises of one split."""

    def __init__(self, timbres: list[str], rng: np.random.Generator, clip: ClipFormat) -> None:
        self.timbres, self.clip, self.rate_hz = timbres, clip, clip.sample_rate_hz
        self.rooms = [_room(rng, self.rate_hz) for _ in range(_ROOMS)]
        self.noise = generated_noise(rng, self.rate_hz, _NOISE_SECONDS)
        self.noise += [self._babble(rng) for _ in range(2)]

    def record(self, speech: Float, rng: np.random.Generator) -> Samples:
        """A clip with the speech (m,) somewhere in it, int16 (samples,)."""
        speech = _convolved(speech, self.rooms[int(rng.integers(len(self.rooms)))])
        clip = _coloured(unit_rms(_placed(speech, self.clip.samples, rng)), self.rate_hz, rng)
        recording = self.noise[int(rng.integers(len(self.noise)))]
        start = int(rng.integers(len(recording) - self.clip.samples + 1))
        noise = unit_rms(recording[start : start + self.clip.samples].astype(np.float64))
        mixed = unit_rms(unit_rms(clip) + noise * _amplitude(-rng.uniform(*_SNR_DB)))
        return to_int16(mixed * _amplitude(rng.uniform(*_LEVEL_DB)))

    def _babble(self, rng: np.random.Generator) -> Samples:
        """Four people talking at once, for 20 s."""
        samples = _NOISE_SECONDS * self.rate_hz
        talkers = []
        for text in _BABBLE:
            talk = say(text, _voice(self.timbres, rng), self.rate_hz)
            talkers.append(rng.uniform(0.4, 1.0) * np.resize(unit_rms(talk), samples))
        return to_int16(0.05 * unit_rms(np.sum(talkers, axis=0)))


def _voice(timbres: Sequence[str], rng: np.random.Generator) -> Voice:
    accent, timbre = str(rng.choice(ACCENTS)), str(rng.choice(timbres))
    return Voice(accent, timbre, int(rng.integers(120, 210)), int(rng.integers(20, 85)))


def _checked(words: Sequence[str], clips: int) -> tuple[str, ...]:
    if not words:
        raise InputError("no words are given, expected at least one")
    for word in words:
        if not re.fullmatch(r"[^\W\d_]+([ '-][^\W\d_]+)*", word) or word in (SILENCE, UNKNOWN):
            raise InputError(f"'{word}' is no word to speak, expected letters", hint="write numbers out: 'seven'")
    if clips < 10:
        raise InputError(f"{clips} clips a word are too few to train, validate and test with, expected at least 10")
    return tuple(sorted(set(words)))


def _room(rng: np.random.Generator, sample_rate_hz: int) -> Float:
    """An impulse response: the direct sound, then decaying noise; 60 dB down after 0.08 to 0.5 s."""
    decay_s = rng.uniform(0.08, 0.5)
    time_s = np.arange(round(decay_s * sample_rate_hz)) / sample_rate_hz
    tail = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail *= rng.uniform(0.05, 0.4) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


def _convolved(audio: Float, response: Float) -> Float:
    samples = len(audio) + len(response) - 1
    size = 1 << (samples - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(response, size), size)[:samples]


def _placed(speech: Float, samples: int, rng: np.random.Generator) -> Float:
    """The speech at a random place of so many samples; of longer speech some part from near its middle."""
    clip = np.zeros(samples)
    if len(speech) > samples:
        start = int(rng.integers((len(speech) - samples) // 2 + 1))
        return speech[start : start + samples]
    start = int(rng.integers(samples - len(speech) + 1))
    clip[start : start + len(speech)] = speech
    return clip


def _coloured(clip: Float, sample_rate_hz: int, rng: np.random.Generator) -> Float:
    """As through some microphone: gains of up to 6 dB either way at seven frequencies, smooth between them."""
    points_hz = np.array([60.0, 150, 400, 1000, 2500, 5000, 8000])
    gains_db = rng.uniform(-6, 6, len(points_hz))
    frequencies = np.log(np.maximum(np.fft.rfftfreq(len(clip), 1 / sample_rate_hz), 20.0))
    gain = _amplitude(np.interp(frequencies, np.log(points_hz), gains_db))
    return np.fft.irfft(np.fft.rfft(clip) * gain, len(clip))


def _amplitude(decibels: Float | float) -> Float:
    return np.asarray(10 ** (np.asarray(decibels) / 20))


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """What an earlier call wrote; None where there is nothing or it is damaged, as it can be made again."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with whole_file(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
