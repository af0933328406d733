"""Which split a recording belongs to: as published lists say, else by its speaker, whole, and by file where nobody is
known to speak.

What decides is the text of names, so that a folder is split alike on every machine and for any choice of keywords.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hil_nas.audio.layout import Recording, listed_key
from hil_nas.audio.speakers import official_speaker
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.words import ALL_WORDS

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

VALIDATION_LIST = "validation_list.txt"
TESTING_LIST = "testing_list.txt"
_SPEAKER_MARK = "_nohash_"
_PERCENT = 10.0  # of validation and of test each, as Speech Commands
_OFFICIAL_MODULUS = 2**27  # MAX_NUM_WAVS_PER_CLASS + 1
_HELD: tuple[Split, ...] = ("validation", "test")
_PUBLISHED = 0.95  # of the recordings named as Speech Commands' are, in its words, stand where its lists put them
_LARGE = 0.2  # of all clips: a speaker with more is held out only where no other will do
_ORDERS = 16  # of speakers that are tried, until every word is in every split

Wanted = Mapping[tuple[str, Split], int]  # clips of a word


def which_set(name: str, validation_percent: float = _PERCENT, testing_percent: float = _PERCENT) -> Split:
    """The official rule of Speech Commands: by SHA-1 of the speaker, so that new clips move no old ones.

    Args:
        name: a file name like `0a7c2a8d_nohash_0.wav`; folders and what follows the speaker are ignored.

    Source: the data set's README, `which_set`; arXiv:1804.03209.
    """
    speaker = Path(name).name.split(_SPEAKER_MARK)[0]
    digest = int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16)
    percent = (digest % _OFFICIAL_MODULUS) * (100.0 / (_OFFICIAL_MODULUS - 1))
    if percent < validation_percent:
        return "validation"
    return "test" if percent < testing_percent + validation_percent else "train"


def split_recordings(
    folder: Path, recordings: Sequence[Recording], speakers: Sequence[str | None]
) -> list[Split]:
    """The split of each recording.

    The folder's own lists decide for what they name. Of what no list names, a speaker who stands in one stays in that
    split; of the others, a tenth is held out for each split that has no list, and for both of a word that the lists do
    not know. Without lists the official hash decides over names with `_nohash_`, but moves a speaker where a word
    would be missing in a split. A recording whose speaker is not known stands for itself.

    Args:
        speakers: one for each recording, None where not known.

    Raises:
        InputError: for a list that names no file of the folder.
    """
    lists = _Lists.read(folder, recordings)
    units = [x or y.key for x, y in zip(speakers, recordings, strict=True)]
    listed = [lists.split(x) for x in recordings]
    start, fixed = _start(recordings, units, listed, lists)
    clips: dict[str, Counter[str]] = defaultdict(Counter)
    for recording, unit in zip(recordings, units, strict=True):
        clips[unit][recording.word] += 1
    split_of = _divided(clips, start, fixed, _wanted(clips, fixed, lists))
    return [x or split_of[unit] for x, unit in zip(listed, units, strict=True)]


@dataclass(frozen=True)
class _Lists:
    """What the folder's lists say.

    Attributes:
        keys: of the recordings that each list names, `word/stem`; no entry where there is no list.
        words: those that the lists know: the ones they name, and of published lists all of Speech Commands.
        published: whether they follow the official hash, but for clips that were added or left out.
    """

    keys: dict[Split, set[str]]
    words: frozenset[str] = frozenset()
    published: bool = False

    @classmethod
    def read(cls, folder: Path, recordings: Sequence[Recording]) -> _Lists:
        keys: dict[Split, set[str]] = {}
        for split, name in (("validation", VALIDATION_LIST), ("test", TESTING_LIST)):
            names = _read_list(folder / name, recordings)
            if names is not None:
                keys[split] = names  # type: ignore[index]
        lists = cls(keys)
        words = {x.word for x in recordings if lists.split(x)}
        official = [(x, official_speaker(x.stem)) for x in recordings if x.word in ALL_WORDS]
        agree = sum((lists.split(x) or "train") == lists.listed(which_set(y)) for x, y in official if y)
        published = bool(words) and agree > _PUBLISHED * sum(y is not None for _, y in official)
        return cls(keys, frozenset(words | set(ALL_WORDS if published else ())), published)

    def listed(self, split: Split) -> Split:
        """The split, or training where it has no list."""
        return split if split in self.keys else "train"

    def split(self, recording: Recording) -> Split | None:
        """The split that a list puts it in."""
        return next((x for x in ("test", "validation") if recording.key in self.keys.get(x, ())), None)

    @property
    def missing(self) -> tuple[Split, ...]:
        return tuple(x for x in _HELD if x not in self.keys)

    def of_official(self, speaker: str) -> Split:
        """Where published lists leave a speaker whom they do not name: in training, but for a tenth where one list
        is missing."""
        official = which_set(speaker)
        if official in self.keys:
            return official
        return self.missing[0] if self.missing and _rank(speaker) < _PERCENT / 100 else "train"


def _start(
    recordings: Sequence[Recording], units: Sequence[str], listed: Sequence[Split | None], lists: _Lists
) -> tuple[dict[str, Split], set[str]]:
    """The split that each unit begins in, training where there is no entry; and the units that stay there."""
    start: dict[str, Split] = {}
    for unit, split in zip(units, listed, strict=True):
        if split:
            start.setdefault(unit, split)
    fixed = set(start)
    for recording, unit in zip(recordings, units, strict=True):
        speaker = official_speaker(recording.stem)
        if speaker is None or unit in fixed:
            continue
        if lists.published and recording.word in lists.words:
            start[unit] = lists.of_official(speaker)
            fixed.add(unit)
        elif lists.published or not lists.keys:
            start[unit] = which_set(speaker)
    return start, fixed


def _wanted(clips: Mapping[str, Counter[str]], fixed: set[str], lists: _Lists) -> Wanted:
    """How many clips of each word each split should hold at least."""
    units: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for unit, words in clips.items():
        for word, count in words.items():
            if word not in lists.words or unit not in fixed:
                units[word] += 1
                counts[word] += count
    wanted: dict[tuple[str, Split], int] = {}
    for word, count in counts.items():
        known = word in lists.words
        splits = () if known and lists.published else lists.missing if known else _HELD
        if splits and units[word] > len(splits):  # else it cannot be in all
            wanted |= {(word, x): max(1, round(count * _PERCENT / 100)) for x in splits}
            wanted[word, "train"] = 1
    return wanted


def _divided(
    clips: Mapping[str, Counter[str]], start: Mapping[str, Split], fixed: set[str], wanted: Wanted
) -> dict[str, Split]:
    """The split of each unit, by the first order of units that leaves no word out of a split, else the best."""
    best, fewest = _in_order(clips, start, fixed, wanted, "")
    for salt in range(1, _ORDERS):
        if not fewest:
            break
        split_of, empty = _in_order(clips, start, fixed, wanted, f"{salt}:")
        if empty < fewest:
            best, fewest = split_of, empty
    return best


def _in_order(
    clips: Mapping[str, Counter[str]], start: Mapping[str, Split], fixed: set[str], wanted: Wanted, salt: str
) -> tuple[dict[str, Split], int]:
    """Moves units to where their words are wanted, and how many words are missing in a split after all.

    A unit is moved only if every word of it keeps enough units where it comes from. One that the official hash placed
    is moved last, and only for a word that a split has none of.
    """
    splits: dict[str, Split] = {x: start.get(x, "train") for x in clips}
    held: Counter[tuple[str, Split]] = Counter()
    voices: Counter[tuple[str, Split]] = Counter()
    for unit, words in clips.items():
        for word, count in words.items():
            held[word, splits[unit]] += count
            voices[word, splits[unit]] += 1

    def spared(word: str, source: Split, target: Split) -> bool:
        if source != "train":
            return voices[word, source] > (wanted.get((word, source), 0) > 0)
        others = sum(x != target and wanted.get((word, x), 0) > 0 and not voices[word, x] for x in _HELD)
        return voices[word, source] - 1 >= ((word, source) in wanted) + others

    def lacking(unit: str, word: str, target: Split) -> bool:
        enough = wanted.get((word, target), 0)
        return held[word, target] < (min(enough, 1) if unit in start else enough)

    large = _LARGE * sum(x.total() for x in clips.values())
    sizes = {x: words.total() if words.total() > large else 0 for x, words in clips.items()}
    order = sorted(clips.keys() - fixed, key=lambda x: (x in start, sizes[x], _rank(salt + x), x))
    targets: tuple[Split, ...] = (*_HELD, "train")
    for target in targets:
        for unit in order:
            source, words = splits[unit], clips[unit]
            if source == target or (source != "train" and unit not in start):
                continue
            if not any(lacking(unit, x, target) for x in words):
                continue
            if all(spared(x, source, target) for x in words):
                splits[unit] = target
                for word, count in words.items():
                    held[word, source] -= count
                    held[word, target] += count
                    voices[word, source] -= 1
                    voices[word, target] += 1
    return splits, sum(not held[x] for x in wanted)


def _read_list(path: Path, recordings: Sequence[Recording]) -> set[str] | None:
    """The recordings a list names, without endings: lists say .wav also where the clips are kept as FLAC."""
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(
            f"{plain_name(path)} cannot be read ({error})", hint="restore the list or remove it"
        ) from None
    names = {listed_key(x) for x in lines if x.strip()}
    if names and names.isdisjoint(x.key for x in recordings):
        raise InputError(
            f"{plain_name(path)} names {len(names)} clips, none of which is in {plain_name(path.parent)}",
            hint="write one `word/file.wav` a line, or remove the list",
        )
    return names


def _rank(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(b"split:" + text.encode()).digest()[:6], "big") / 2**48
