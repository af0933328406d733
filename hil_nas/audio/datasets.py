"""Keyword data sets: folders in the layout of Speech Commands, and any folder of a user's own words."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hil_nas.audio.clips import Clips, Labels, Samples, audio_files, read_clips, read_noise
from hil_nas.audio.noise import generated_noise, silence_clips
from hil_nas.audio.splits import Split, split_files
from hil_nas.errors import InputError
from hil_nas.mfcc import CLIP_SAMPLES

STANDARD_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
SILENCE = "silence"
UNKNOWN = "unknown"
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

_BACKGROUND_FOLDER = "_background_noise_"
_TEST_FOLDER = "test_set"
_CLASS_FOLDERS = {"_silence_": SILENCE, "_unknown_": UNKNOWN}
_FEWEST_CLIPS = 10  # of one word: fewer leave nothing to validate and test with
_UNKNOWN_POOL = 4  # training has so many times a word's clips of other words, and draws from these
_NOISE_PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}

Files = dict[Split, list[Path]]


@dataclass(frozen=True, eq=False)
class KeywordData:
    """A keyword task, all of it in memory.

    Attributes:
        name: where it comes from, for reports.
        classes: the words in alphabetical order, then `silence`, then `unknown` where the task has them.
        train: to fit weights. Classes may be uneven; `balanced_indices` draws an epoch from them.
        validation: to choose with; classes are even where the data allows.
        test: to report with, never to choose.
        background: noise to mix into training clips, int16 (m,), m >= 16000.
    """

    name: str
    classes: tuple[str, ...]
    train: Clips
    validation: Clips
    test: Clips
    background: Samples

    @cached_property
    def digest(self) -> str:
        """16 hex digits of everything a training sees; two data sets with one digest train alike."""
        content = hashlib.sha256(repr(self.classes).encode())
        for clips in (self.train, self.validation):
            content.update(np.ascontiguousarray(clips.samples).data)
            content.update(np.ascontiguousarray(clips.labels).data)
        content.update(np.ascontiguousarray(self.background).data)
        return content.hexdigest()[:16]

    def split(self, name: Split) -> Clips:
        """The clips of one split by its name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


def balanced_indices(labels: Labels, words: int, rng: np.random.Generator) -> Labels:
    """One epoch in random order: every class as often as an average word has clips.

    A class with more clips is drawn from without repeating; one with fewer is repeated evenly.

    Args:
        labels: (n,); the first `words` classes are words, classes after them are silence and unknown.
    """
    counts = np.bincount(labels)
    size = max(1, round(float(np.mean(counts[:words]))))
    drawn = []
    for index in np.flatnonzero(counts):
        members = np.flatnonzero(labels == index)
        rounds = [rng.permutation(members) for _ in range(-(-size // len(members)))]
        drawn.append(np.concatenate(rounds)[:size])
    return rng.permutation(np.concatenate(drawn)).astype(np.int64)


def word_count(classes: Sequence[str]) -> int:
    """How many of the classes are words."""
    return sum(x not in (SILENCE, UNKNOWN) for x in classes)


def load_speech_commands(
    folder: Path, words: Sequence[str] | None = None, *, silence: bool = True, seed: int = 0
) -> KeywordData:
    """A folder with one subfolder of clips per word, as Speech Commands is published.

    Words that are not asked for become the class `unknown`, together with a folder `_unknown_`. `silence` is
    cut from `_background_noise_` (16 kHz recordings of any length), or from generated noise where the folder
    has none. A folder `test_set/<class>/`, as the official 12-class test set is, becomes the test split if it
    holds every word. For the other splits see `splits.split_files`.

    Args:
        folder: WAV or FLAC, 16 kHz, mono.
        words: the keywords; by default the ten standard ones where the folder has them all, else all it has.
        silence: whether it is a class.
        seed: which unknown clips are kept and where silence is cut.

    Raises:
        InputError: for a missing folder or word, too few clips, or a file that is not what it must be.
    """
    found = _word_files(folder)
    chosen = _chosen_words(folder, found, words)
    splits = split_files(folder, {word: files for word, files in found.items() if word not in _CLASS_FOLDERS})
    files: dict[str, Files] = {word: splits.pop(word) for word in chosen}
    unknown = _joined(list(splits.values()) + _special(folder, found, "_unknown_"))
    if any(unknown.values()):
        files[UNKNOWN] = unknown
    test = _official_test(folder / _TEST_FOLDER, chosen)
    _check_splits(folder, chosen, files, SPLITS if test is None else SPLITS[:2])
    recordings = _recordings(folder, seed)
    classes = (*chosen, *([SILENCE] if silence else []), *([UNKNOWN] if UNKNOWN in files else []))
    build = _Builder(classes, files, recordings, np.random.default_rng(seed))
    train, validation = build.clips("train"), build.clips("validation")
    return KeywordData(
        folder.name,
        classes,
        train,
        validation,
        build.clips("test") if test is None else _labelled(test, classes),
        np.concatenate(_noise_part(recordings, "train")),
    )


class _Builder:
    """Reads the clips of one split: words whole, unknown and silence in proportion."""

    def __init__(
        self,
        classes: tuple[str, ...],
        files: dict[str, Files],
        recordings: list[Samples],
        rng: np.random.Generator,
    ) -> None:
        self.classes, self.files, self.recordings, self.rng = classes, files, recordings, rng

    def clips(self, split: Split) -> Clips:
        words = [x for x in self.classes if x not in (SILENCE, UNKNOWN)]
        size = round(float(np.mean([len(self.files[x][split]) for x in words])))
        paths = [(index, path) for index, x in enumerate(words) for path in self.files[x][split]]
        if UNKNOWN in self.files:
            limit = size * (_UNKNOWN_POOL if split == "train" else 1)
            drawn = _draw(self.files[UNKNOWN][split], limit, self.rng, repeat=split == "train")
            paths += [(self.classes.index(UNKNOWN), path) for path in drawn]
        labels, samples = [index for index, _ in paths], read_clips([path for _, path in paths])
        if SILENCE in self.classes:
            silent = silence_clips(self.rng, _noise_part(self.recordings, split), max(1, size))
            labels += [self.classes.index(SILENCE)] * len(silent)
            samples = np.concatenate([samples, silent])
        return Clips(samples, np.array(labels, np.int64))


def _word_files(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder, expected one with a subfolder per word")
    found = {}
    for sub in sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith(".")):
        if sub.name in (_BACKGROUND_FOLDER, _TEST_FOLDER):
            continue
        files = audio_files(sub)
        if files:
            found[sub.name] = files
    if not any(word not in _CLASS_FOLDERS for word in found):
        raise InputError(
            f"{folder} has no subfolder with WAV or FLAC clips, expected one per word",
            hint="lay the clips out as <folder>/<word>/<clip>.wav",
        )
    return found


def _chosen_words(folder: Path, found: dict[str, list[Path]], words: Sequence[str] | None) -> tuple[str, ...]:
    all_words = [x for x in found if x not in _CLASS_FOLDERS]
    if words is None:
        words = STANDARD_WORDS if set(STANDARD_WORDS) <= set(all_words) else all_words
    for word in words:
        if word not in all_words:
            close = difflib.get_close_matches(word, all_words, 1)
            raise InputError(
                f"{folder} has no clips of '{word}'",
                hint=f"did you mean '{close[0]}'?" if close else f"it has {', '.join(all_words)}",
            )
        if len(found[word]) < _FEWEST_CLIPS:
            raise InputError(
                f"{folder / word} has {len(found[word])} clips, expected at least {_FEWEST_CLIPS}",
                hint="record more, by several speakers, or leave the word out",
            )
    if len(set(words)) < 1:
        raise InputError("no words are given, expected at least one")
    return tuple(sorted(set(words)))


def _special(folder: Path, found: dict[str, list[Path]], name: str) -> list[Files]:
    if name not in found:
        return []
    return [split_files(folder, {name: found[name]})[name]]


def _joined(parts: list[Files]) -> Files:
    return {split: [path for part in parts for path in part[split]] for split in SPLITS}


def _draw(paths: list[Path], limit: int, rng: np.random.Generator, *, repeat: bool) -> list[Path]:
    """Up to `limit` clips, of every word in proportion to the square root of its number of clips.

    Unknown stands for any other word, but a folder may hold a hundred times more clips of one than of another.

    Args:
        repeat: whether a rare word's clips may be taken again, so that up to twice as many come out as went in.
    """
    by_word: dict[str, list[Path]] = {}
    for path in paths:
        by_word.setdefault(path.parent.name, []).append(path)
    limit = min(limit, len(paths) * (2 if repeat else 1))
    roots = np.sqrt([len(files) for files in by_word.values()])
    quotas = np.diff(np.rint(np.cumsum(roots) / np.sum(roots) * limit).astype(int), prepend=0)
    drawn, rest = [], []
    for files, quota in zip(by_word.values(), quotas, strict=True):
        rounds = -(-int(quota) // len(files)) if repeat else 1
        order = [files[i] for _ in range(max(1, rounds)) for i in rng.permutation(len(files))]
        drawn += order[:quota]
        rest += order[quota:]
    drawn += [rest[i] for i in rng.permutation(len(rest))[: limit - len(drawn)]]
    return sorted(drawn)


def _recordings(folder: Path, seed: int) -> list[Samples]:
    """Recorded noise where there is any, digital near-silence included by `silence_clips`' volumes."""
    recorded = [folder / name for name in (_BACKGROUND_FOLDER, "_silence_") if (folder / name).is_dir()]
    paths = [path for sub in recorded for path in audio_files(sub)]
    return read_noise(paths) if paths else generated_noise(np.random.default_rng([seed, 1]))


def _noise_part(recordings: list[Samples], split: Split) -> list[Samples]:
    """The stretch of each recording that a split may use; one too short to divide serves all splits."""
    parts = []
    for recording in recordings:
        start, end = (round(x * len(recording)) for x in _NOISE_PARTS[split])
        parts.append(recording[start:end] if end - start >= CLIP_SAMPLES else recording)
    return parts


def _check_splits(folder: Path, words: Sequence[str], files: dict[str, Files], needed: Sequence[Split]) -> None:
    for word in words:
        for split in needed:
            if not files[word][split]:
                raise InputError(
                    f"{folder / word}: the split by speaker leaves no {split} clip of its "
                    f"{sum(len(x) for x in files[word].values())}, expected at least one",
                    hint="add clips of more speakers, or write validation_list.txt and testing_list.txt",
                )


def _official_test(folder: Path, words: Sequence[str]) -> dict[str, list[Path]] | None:
    """The files of `test_set/` by class; None where it does not hold every word and silence."""
    if not folder.is_dir():
        return None
    subs = sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith("."))
    files = {_CLASS_FOLDERS.get(x.name, x.name): audio_files(x) for x in subs}
    return files if all(files.get(x) for x in (*words, SILENCE)) else None


def _labelled(files: dict[str, list[Path]], classes: tuple[str, ...]) -> Clips:
    """Clips of named classes; other words are unknown, or left out where there is no such class."""
    named = [(name if name in classes else UNKNOWN, path) for name, paths in files.items() for path in paths]
    kept = [(classes.index(name), path) for name, path in named if name in classes]
    return Clips(read_clips([path for _, path in kept]), np.array([label for label, _ in kept], np.int64))
