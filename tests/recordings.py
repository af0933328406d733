"""Folders of people's own recordings, made on the spot: tones, written by libsndfile's own writer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.layout import BACKGROUND, find_recordings
from hil_nas.audio.speakers import find_speakers
from hil_nas.audio.splits import SPLITS, split_recordings

Wave = npt.NDArray[np.float64]
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")


def tone(hz: float, seconds: float = 1.0, level: float = 0.3, rate_hz: int = 16000) -> Wave:
    """A sine (m,) of this peak, full scale 1."""
    return level * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def write_pcm(path: Path, clip: Wave) -> None:
    soundfile.write(path, clip, 16000, subtype="PCM_16")


def record(
    folder: Path,
    words: Sequence[str],
    name: str = "{word}/{person}_{word}_{take:02d}.wav",
    *,
    people: Sequence[str] = PEOPLE,
    takes: int = 5,
    write: Callable[[Path, Wave], None] = write_pcm,
) -> None:
    """Every word by every person, each clip a tone of its own, under names made by this pattern."""
    for number, word in enumerate(words):
        for voice, person in enumerate(people):
            for take in range(takes):
                path = folder / name.format(word=word, person=person, take=take, number=number)
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, tone(200 + 300 * number + 20 * voice + take))


def splits_of(folder: Path, words: Sequence[str] = ()) -> dict[str, set[str]]:
    """The names of the recordings in each split."""
    recordings = [x for x in find_recordings(folder, words).recordings if x.word != BACKGROUND]
    people: dict[str, set[str]] = {x: set() for x in SPLITS}
    for recording, split in zip(
        recordings, split_recordings(folder, recordings, find_speakers(folder, recordings)), strict=True
    ):
        people[split].add(recording.name)
    return people


def people_in(splits: dict[str, set[str]], people: Sequence[str] = PEOPLE) -> dict[str, set[str]]:
    """Who is named in the names of each split."""
    return {split: {x for x in people for name in names if x in name} for split, names in splits.items()}


def in_two(people: dict[str, set[str]]) -> set[str]:
    """Who stands in more than one split."""
    places: dict[str, int] = defaultdict(int)
    for names in people.values():
        for person in names:
            places[person] += 1
    return {x for x, count in places.items() if count > 1}


def pitches_hz(data: KeywordData, split: str, label: int) -> list[int]:
    """The strongest frequency of each clip of a class, in steps of 1 Hz."""
    clips = data.split(split)  # type: ignore[arg-type]
    chosen = clips.samples[clips.labels == label].astype(float)
    return np.abs(np.fft.rfft(chosen)).argmax(1).tolist()
