"""Keyword data sets: folders in the layout of Speech Commands, and any folder of a user's own words."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hil_nas.audio.checks import ClipFacts, Findings, class_warnings, clip_warnings, noise_warnings, twice_warnings
from hil_nas.audio.clips import Clips, Labels, Reader
from hil_nas.audio.decode import Samples
from hil_nas.audio.layout import SILENCE, UNKNOWN, Recording
from hil_nas.audio.noise import generated_noise, silence_clips
from hil_nas.audio.selection import Selection, select, survey
from hil_nas.audio.splits import SPLITS, Split
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.front_ends import ONE_SECOND, ClipFormat
from hil_nas.progress import Progress, Reporter, silent

_UNKNOWN_POOL = 4  # training has so many times a word's clips of other words, and draws from these
_NOISE_PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
_SHORTEST_DIVIDED = 10  # clips of noise, so that a tenth of it is one


@dataclass(frozen=True, eq=False)
class KeywordData:
    """A keyword task, all of it in memory.

    Attributes:
        name: where it comes from, for reports.
        classes: the words in alphabetical order, then `silence`, then `unknown` where the task has them.
        train: to fit weights. Classes may be uneven; `balanced_indices` draws an epoch from them.
        validation: to choose with; classes are even where the data allows.
        test: to report with, never to choose.
        background: noise to mix into training clips, int16 (m,), a clip or more.
        findings: what a person should know of it.
        clip: rate and length of every clip.
        offset_ms: how far off the middle words stand in what will be heard: at least so far training clips are moved.
    """

    name: str
    classes: tuple[str, ...]
    train: Clips
    validation: Clips
    test: Clips
    background: Samples
    findings: Findings = field(default_factory=Findings)
    clip: ClipFormat = ONE_SECOND
    offset_ms: float = 0.0

    @cached_property
    def digest(self) -> str:
        """16 hex digits of everything a training sees; two data sets with one digest train alike."""
        content = hashlib.sha256(repr((self.classes, self.offset_ms)).encode())
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
    folder: Path,
    words: Sequence[str] | None = None,
    *,
    silence: bool = True,
    seed: int = 0,
    clip: ClipFormat = ONE_SECOND,
    progress: Reporter = silent,
) -> KeywordData:
    """A folder of recordings, one subfolder per word, as Speech Commands is published or in another layout that
    `layout` reads.

    Words that are not among the keywords become the class `unknown`, together with a folder `_unknown_`. `silence` is
    cut from `_background_noise_` and `_silence_` (recordings of any length), or from generated noise where the folder
    has none. A folder `test_set/<class>/`, as the official 12-class test set is, becomes the test split if it holds
    every word. For the other splits see `splits.split_recordings`.

    Args:
        folder: audio of any form, rate and number of channels that `decode` reads.
        words: the keywords; by default the ten standard ones where the folder has them all, else all it has.
        silence: whether it is a class.
        seed: which unknown clips are kept and where silence is cut.
        clip: what every recording is brought to.
        progress: receives each step and each warning.

    Raises:
        InputError: for a missing folder or word, too few clips, or files that are not what they must be, all at once.
    """
    loader = Loader(select(survey(folder, words), words, silence=silence), seed, clip, progress)
    train, validation, test = (loader.clips(x) for x in SPLITS)
    findings = loader.checked()
    background = np.concatenate(loader.noise_of("train"))
    return KeywordData(plain_name(folder.name), loader.classes, train, validation, test, background, findings, clip)


def load_test_split(
    folder: Path,
    words: Sequence[str] | None = None,
    *,
    seed: int = 0,
    clip: ClipFormat = ONE_SECOND,
    progress: Reporter = silent,
) -> tuple[Clips, Findings]:
    """The test split alone: the same clips that `load_speech_commands` puts into it, and findings about them.

    Raises:
        InputError: as `load_speech_commands`, but for files of the other splits.
    """
    loader = Loader(select(survey(folder, words), words, silence=True), seed, clip, progress, only=("test",))
    test = loader.clips("test")
    return test, loader.checked()


class Loader:
    """Draws the recordings of every split, words whole, unknown and silence in proportion, and reads what it drew.

    Attributes:
        drawn: the recordings of each split and their class; one of the class unknown may be there twice.
        facts: of each split that was read, the class of each clip that could be used and what was seen of it.
        noise: recordings of any length (m,), by name.
    """

    def __init__(
        self, selection: Selection, seed: int, clip: ClipFormat, progress: Reporter, only: Sequence[Split] = SPLITS
    ) -> None:
        self.selection, self.classes = selection, selection.classes
        self.clip, self.progress = clip, progress
        rng = np.random.default_rng(seed)
        self._reader = Reader(selection.folder, clip)
        self.noise = self._reader.noise([x for x, _ in selection.noise])
        rate_hz = clip.sample_rate_hz
        self._generated = [] if self.noise else generated_noise(np.random.default_rng([seed, 1]), rate_hz)
        self._shortest_divided = _SHORTEST_DIVIDED * clip.samples
        self.drawn: dict[Split, list[tuple[Recording, str]]] = {}
        self._silence: dict[Split, Samples] = {}
        for split in SPLITS:
            self._draw(split, rng)
        self._read, self._total = 0, sum(len(self.drawn[x]) for x in only)
        self.facts: dict[Split, list[tuple[str, ClipFacts]]] = {}

    def clips(self, split: Split) -> Clips:
        """The clips of one split; zeros where a recording cannot be used, which `checked` reports."""
        drawn, silent = self.drawn[split], self._silence.get(split)
        samples, facts = self._reader.clips([x for x, _ in drawn], self._count_read)
        self.facts[split] = [(name, y) for (_, name), y in zip(drawn, facts, strict=True) if y]
        labels = [self.classes.index(name) for _, name in drawn]
        if silent is not None:
            labels += [self.classes.index(SILENCE)] * len(silent)
            samples = np.concatenate([samples, silent])
        return Clips(samples, np.array(labels, np.int64))

    def checked(self) -> Findings:
        """What was found in all that was read; told as progress too.

        Raises:
            InputError: where a recording could not be used.
        """
        self.refused()
        self._reader.check()
        findings = self.findings()
        for note in findings.notes:
            self.progress(Progress("data", 0, 0, note, lasting=True))
        return findings

    def refused(self) -> dict[str, InputError]:
        """Why recordings cannot be used, by name: of those that were drawn, and of any in a form that is not read."""
        self._reader.refuse(y for x in self.selection.others.values() for split in self.facts for y in x[split])
        return self._reader.refused

    def findings(self) -> Findings:
        """What was found in all that was read and can be used."""
        by_word: dict[str, list[ClipFacts]] = defaultdict(list)
        for facts in self.facts.values():
            for name, fact in facts:
                if name != SILENCE:
                    by_word[name].append(fact)
        warnings = (
            *self.selection.findings.warnings,
            *class_warnings({x: {name for _, name in y} for x, y in self.drawn.items()}, self.classes),
            *clip_warnings(by_word, self.clip.sample_rate_hz),
            *noise_warnings(self.noise, self._shared_noise()),
            *twice_warnings({x: [fact for _, fact in y] for x, y in self.facts.items()}),
        )
        return replace(self.selection.findings, warnings=warnings)

    def noise_of(self, split: Split) -> list[Samples]:
        """The noise that a split may use: a stretch of each long recording, and the short ones of that split."""
        parts = [_stretch(x, split) for x in self._generated]
        for recording, own_split in self.selection.noise:
            samples = self.noise.get(recording.name)
            if samples is None:
                continue
            if len(samples) >= self._shortest_divided:
                parts.append(_stretch(samples, split))
            elif split == own_split:
                parts.append(samples)
        return parts or list(self.noise.values())

    def _count_read(self) -> None:
        self._read += 1
        if self._read % 500 == 0 or self._read == self._total:
            self.progress(Progress("reading clips", self._read, self._total))

    def _shared_noise(self) -> bool:
        """Whether splits share noise, for want of enough recordings."""
        long = any(len(x) >= self._shortest_divided for x in self.noise.values())
        own_splits = {own_split for _, own_split in self.selection.noise}
        return bool(self.noise) and not long and own_splits != set(SPLITS)

    def _draw(self, split: Split, rng: np.random.Generator) -> None:
        selection = self.selection
        if split == "test" and selection.test_set is not None:
            self.drawn[split] = selection.test_set
            return
        words = {word: files[split] for word, files in selection.words.items()}
        size = round(float(np.mean([len(x) for x in words.values()])))
        drawn = [(x, word) for word, files in words.items() for x in files]
        if UNKNOWN in self.classes:
            limit = size * (_UNKNOWN_POOL if split == "train" else 1)
            others = {word: files[split] for word, files in selection.others.items()}
            drawn += [(x, UNKNOWN) for x in _draw(others, limit, rng, repeat=split == "train")]
        self.drawn[split] = drawn
        if SILENCE in self.classes:
            self._silence[split] = silence_clips(rng, self.noise_of(split), max(1, size), self.clip)


def _stretch(recording: Samples, split: Split) -> Samples:
    start, end = (round(x * len(recording)) for x in _NOISE_PARTS[split])
    return recording[start:end]


def _draw(
    others: dict[str, list[Recording]], limit: int, rng: np.random.Generator, *, repeat: bool
) -> list[Recording]:
    """Up to `limit` recordings, of every word in proportion to the square root of its number of recordings.

    Unknown stands for any other word, but a folder may hold a hundred times more clips of one than of another.

    Args:
        repeat: whether a rare word's clips may be taken again, so that up to twice as many come out as went in.
    """
    by_word = [x for x in others.values() if x]
    limit = min(limit, sum(map(len, by_word)) * (2 if repeat else 1))
    roots = np.sqrt([len(files) for files in by_word])
    quotas = np.diff(np.rint(np.cumsum(roots) / np.sum(roots) * limit).astype(int), prepend=0)
    drawn, rest = [], []
    for files, quota in zip(by_word, quotas, strict=True):
        rounds = -(-int(quota) // len(files)) if repeat else 1
        order = [files[i] for _ in range(max(1, rounds)) for i in rng.permutation(len(files))]
        drawn += order[:quota]
        rest += order[quota:]
    drawn += [rest[i] for i in rng.permutation(len(rest))[: limit - len(drawn)]]
    return sorted(drawn, key=lambda x: x.name.split("/"))
