"""Which recordings of a folder a keyword task takes, for which class and split: names alone are read."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hil_nas.audio.checks import NAMED, Findings, speaker_warnings, unused_warnings
from hil_nas.audio.layout import (
    BACKGROUND,
    SILENCE,
    TEST_FOLDER,
    UNKNOWN,
    DataFolder,
    Recording,
    find_recordings,
    find_test_set,
    is_word,
    role,
)
from hil_nas.audio.speakers import find_speakers
from hil_nas.audio.splits import SPLITS, Split, split_recordings
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.words import TEN_WORDS

_FEWEST_CLIPS = 10  # of one word: fewer leave nothing to validate and test with

Files = dict[Split, list[Recording]]


@dataclass(frozen=True)
class Selection:
    """What a task is made of.

    Attributes:
        classes: the words in alphabetical order, then `silence`, then `unknown` where the task has them.
        words: the recordings of every word.
        others: those of all other words, by word.
        noise: what silence is cut from, with the split of each, which counts for one that is too short to divide.
        test_set: the recordings of the official test set, with their class; None where the folder has none for these.
        findings: who speaks in what the task can take, and what a person should know of it.
    """

    folder: Path
    classes: tuple[str, ...]
    words: dict[str, Files]
    others: dict[str, Files]
    noise: list[tuple[Recording, Split]]
    test_set: list[tuple[Recording, str]] | None
    findings: Findings


@dataclass(frozen=True)
class Survey:
    """What names say of a folder, whatever a task takes of it.

    Attributes:
        tested: the recordings of its test set, if there is one.
        speaker_of: by a recording's name; no entry where nothing says who speaks.
        split_of: by the name of a recording that is none of the test set.
    """

    data: DataFolder
    tested: list[Recording]
    speaker_of: dict[str, str]
    split_of: dict[str, Split]


def survey(folder: Path, words: Sequence[str] | None) -> Survey:
    """Reads the names of a folder.

    Args:
        words: the keywords, as far as they are named: they may show which folders are words.

    Raises:
        InputError: for a missing folder, one without recordings, or a list or table that is not what it must be.
    """
    data = find_recordings(folder, [plain_name(x) for x in words or ()])
    tested = find_test_set(folder)
    recordings = [*(x for x in data.recordings if x.word != BACKGROUND), *tested]
    speakers = find_speakers(folder, recordings)
    speaker_of = {x.name: y for x, y in zip(recordings, speakers, strict=True) if y}
    everything = [*(x for x in data.recordings if x.word != BACKGROUND), *data.of(BACKGROUND)]
    splits = split_recordings(folder, everything, [speaker_of.get(x.name) for x in everything])
    return Survey(data, tested, speaker_of, {x.name: y for x, y in zip(everything, splits, strict=True)})


def select(surveyed: Survey, words: Sequence[str] | None, *, silence: bool) -> Selection:
    """The recordings of a task.

    Raises:
        InputError: for a missing word, or too few recordings or speakers.
    """
    data, tested = surveyed.data, surveyed.tested
    speaker_of, split_of = surveyed.speaker_of, surveyed.split_of
    chosen = _chosen_words(data, words)
    recordings = [x for x in data.recordings if x.word != BACKGROUND]
    noise = data.of(BACKGROUND)

    files: dict[str, Files] = {x: {y: [] for y in SPLITS} for x in (*sorted(data.words), UNKNOWN)}
    for recording in recordings:
        if recording.word != SILENCE:
            files[recording.word][split_of[recording.name]].append(recording)
    others = {x: y for x, y in files.items() if x not in chosen and any(y.values())}
    classes = (*chosen, *([SILENCE] if silence else []), *([UNKNOWN] if others else []))
    test_set, lacking = _test_set(tested, chosen, classes)
    needed = SPLITS if test_set is None else SPLITS[:2]
    for word in chosen:
        _check_splits(data, word, files[word], needed, speaker_of)
    taken: list[tuple[Recording, Split]] = [(y, x) for word in files.values() for x in needed for y in word[x]]
    taken += [(x, "test") for x, _ in test_set or ()]
    voices = _voices(taken, speaker_of)
    unknown = sum(x.name not in speaker_of and x.word != SILENCE for x, _ in taken)
    twice = sorted(x for x, spoken_in in voices.items() if len(spoken_in) > 1)
    return Selection(
        data.folder,
        classes,
        {x: files[x] for x in chosen},
        others,
        [(x, split_of[x.name]) for x in (*noise, *data.of(SILENCE))],
        test_set,
        Findings(
            {x: sum(x in spoken_in for spoken_in in voices.values()) for x in SPLITS},
            tuple(sorted(voices)[:NAMED]),
            unknown,
            (
                *speaker_warnings(unknown, sum(x.word != SILENCE for x, _ in taken), twice),
                *unused_warnings(data.empty, TEST_FOLDER if tested and test_set is None else "", lacking),
            ),
        ),
    )


def _chosen_words(data: DataFolder, words: Sequence[str] | None) -> tuple[str, ...]:
    """The keywords that were named; else the ten standard words where the folder has them all, else all its words."""
    if words is None:
        words = TEN_WORDS if set(TEN_WORDS) <= set(data.words) else list(data.words)
    folder, chosen = plain_name(data.folder), [plain_name(x) for x in words]
    for word in chosen:
        if not is_word(role(word)):
            raise InputError(
                f"'{word}' is a class of its own, expected words beside it",
                hint="leave it out: its folder is used all the same",
            )
        if word not in data.words:
            close = difflib.get_close_matches(word, data.words, 1)
            raise InputError(
                f"{folder} has no clips of '{word}'",
                hint=f"did you mean '{close[0]}'?" if close else f"it has {', '.join(sorted(data.words))}",
            )
        if not data.words[word]:
            raise InputError(
                f"{folder}/{word} holds no audio file, expected clips of '{word}'",
                hint="put them there, remove the folder, or name the words that are wanted with --words",
            )
        if data.words[word] < _FEWEST_CLIPS:
            raise InputError(
                f"{folder}/{word} has {data.words[word]} clips, expected at least {_FEWEST_CLIPS}",
                hint="record more, by several speakers, or leave the word out",
            )
    if not chosen:
        raise InputError("no words are given, expected at least one")
    return tuple(sorted(set(chosen)))


def _check_splits(
    data: DataFolder, word: str, files: Files, needed: Sequence[Split], speaker_of: dict[str, str]
) -> None:
    empty = [x for x in needed if not files[x]]
    if not empty:
        return
    clips = [x for split in files.values() for x in split]
    voices = sorted({speaker_of.get(x.name, x.name) for x in clips})
    raise InputError(
        f"{plain_name(data.folder)}/{word}: the split by speaker leaves no {empty[0]} clip of its {len(clips)} "
        f"by {len(voices)} speaker{'s' * (len(voices) != 1)} ({', '.join(voices[:3])}{', ...' * (len(voices) > 3)}), "
        "expected at least one",
        hint="add clips of more speakers, at least 3 for each word, or say in speakers.csv who speaks, or write "
        "validation_list.txt and testing_list.txt",
    )


def _test_set(
    tested: Sequence[Recording], words: Sequence[str], classes: tuple[str, ...]
) -> tuple[list[tuple[Recording, str]] | None, list[str]]:
    """The recordings of the test set by class, and the words for whose lack it is not used.

    Words that are not keywords become unknown, or are left out where there is no such class.
    """
    held = {x.word for x in tested}
    lacking = [x for x in (*words, *(SILENCE for _ in classes if _ == SILENCE)) if x not in held]
    if not tested or lacking:
        return None, lacking
    named = [(x, x.word if not is_word(x.word) or x.word in classes else UNKNOWN) for x in tested]
    return [(x, name) for x, name in named if name in classes], []


def _voices(taken: Sequence[tuple[Recording, Split]], speaker_of: dict[str, str]) -> dict[str, set[str]]:
    """The splits that each known speaker stands in."""
    splits_of: dict[str, set[str]] = defaultdict(set)
    for recording, split in taken:
        if speaker := speaker_of.get(recording.name):
            splits_of[speaker].add(split)
    return splits_of
