"""What a person should know of their recordings: clips that teach the wrong thing, and voices in two splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil_nas.audio.decode import Audio, Samples
from hil_nas.audio.layout import UNKNOWN

_FULL_SCALE = 32768
# Of Speech Commands' clips 0.6 % are clipped, 2 % have such an offset; by word at most 1 % and 12 %.
_WARNED_SHARE = 0.25  # the share of a word's clips with a fault from which on it is mentioned
_OFFSET = 0.01  # of full scale
_SMALLEST_OFFSET = 0.001  # that counts where it exceeds the signal's RMS
QUIET_DB = -50.0  # RMS against full scale; words of Speech Commands lie at -30 to -20 in the median
_QUIETER_DB = 30.0  # than the loudest word
NAMED = 4  # words, clips or speakers that are named; the rest is counted


@dataclass(frozen=True)
class ClipFacts:
    """What was seen of one clip while it was read.

    Attributes:
        offset: mean, of full scale.
        level_db: RMS without the mean, against full scale.
        rate_hz: as it was recorded.
        seconds: of the whole recording, which may be longer or shorter than a clip.
        content: a digest of the samples, equal for clips with equal samples.
    """

    name: str
    silent: bool
    clipped: bool
    offset: float
    level_db: float
    rate_hz: int
    seconds: float
    content: bytes

    @property
    def has_offset(self) -> bool:
        """Whether the mean is more than a microphone usually adds, or more than the signal itself."""
        offset = abs(self.offset)
        return offset > _OFFSET or offset > max(_SMALLEST_OFFSET, 10 ** (self.level_db / 20))


@dataclass(frozen=True)
class Findings:
    """What was found in a data set beside its clips.

    Attributes:
        speakers: how many are known in each split.
        speaker_names: the first of them, by which a person sees whether they are any.
        clips_without_speaker: recordings of words whose speaker nothing names.
        warnings: one sentence each.
    """

    speakers: Mapping[str, int] = field(default_factory=dict)
    speaker_names: tuple[str, ...] = ()
    clips_without_speaker: int = 0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "speakers": dict(self.speakers),
            "speaker_names": list(self.speaker_names),
            "clips_without_speaker": self.clips_without_speaker,
            "warnings": list(self.warnings),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """All of it for people: whom the splits know, then the warnings."""
        counts = ", ".join(f"{count} in {split}" for split, count in self.speakers.items())
        known = f"speakers like {', '.join(self.speaker_names)}: {counts}" if self.speaker_names else ""
        return (*([known] if known else []), *self.warnings)


def facts_of(name: str, clip: Samples, audio: Audio, sample_rate_hz: int) -> ClipFacts:
    """The facts of the samples (m,) that are used of a recording, at the rate to which it was brought."""
    x = clip.astype(np.float32) / _FULL_SCALE
    offset = float(x.mean())
    rms = float(np.sqrt(np.mean(np.square(x - offset))))
    content = hashlib.blake2b(clip.tobytes().rstrip(b"\0"), digest_size=16).digest()
    level_db = 20 * float(np.log10(max(rms, 1e-6)))
    seconds = len(audio.samples) / sample_rate_hz
    return ClipFacts(name, not clip.any(), audio.clipped, offset, level_db, audio.rate_hz, seconds, content)


def clip_warnings(by_word: Mapping[str, Sequence[ClipFacts]], rate_hz: int) -> list[str]:
    """Warnings about words whose clips, used at a rate, have a fault; every silent clip is mentioned."""
    levels = {word: float(np.median([x.level_db for x in facts])) for word, facts in by_word.items() if facts}
    loudest_db = max(levels.values(), default=0.0)
    quiet = [
        f"{word} ({level:.0f} dB)"
        for word, level in levels.items()
        if (level < QUIET_DB or level < loudest_db - _QUIETER_DB) and not all(x.silent for x in by_word[word])
    ]
    narrow = f"were recorded below {rate_hz:,} Hz, without high frequencies"
    messages = [
        _share_warning(by_word, lambda x: x.silent, 0.0, "hold nothing but zeros", "record them again"),
        _share_warning(by_word, lambda x: x.clipped, _WARNED_SHARE, "are clipped", "record them softer"),
        _share_warning(by_word, lambda x: x.has_offset, _WARNED_SHARE, "have a DC offset", "remove it"),
        _share_warning(by_word, lambda x: x.rate_hz < rate_hz, _WARNED_SHARE, narrow, "record all words alike"),
    ]
    if quiet:
        messages.append(f"words are far too quiet, in RMS against full scale: {_some(quiet)}; record them louder")
    return [x for x in messages if x]


def noise_warnings(recordings: Mapping[str, Samples], shared: bool) -> list[str]:
    """Warnings about silent noise, and about noise that serves several splits."""
    silent = [name for name, samples in recordings.items() if not samples.any()]
    messages = [f"noise recordings hold nothing but zeros: {_some(silent)}"] if silent else []
    if shared:
        messages.append("the same noise serves several splits, for there is too little: record some of 10 s or more")
    return messages


def class_warnings(names: Mapping[str, set[str]], classes: Sequence[str]) -> list[str]:
    """A warning where a split has no clip of the class unknown. It cannot lack a word, which is refused earlier, nor
    silence, which is cut for each split."""
    empty = [split for split, present in names.items() if UNKNOWN in classes and UNKNOWN not in present]
    return [f"the class '{UNKNOWN}' has no clip in {_some(empty)}"] if empty else []


def twice_warnings(by_split: Mapping[str, Sequence[ClipFacts]]) -> list[str]:
    """Warnings about clips with the same samples that are in two splits under two names."""
    names_of: dict[bytes, dict[str, str]] = defaultdict(dict)
    for split, facts in by_split.items():
        for x in facts:
            if not x.silent:
                names_of[x.content].setdefault(split, x.name)
    twice = [" = ".join(x.values()) for x in names_of.values() if len(x) > 1]
    if not twice:
        return []
    are = "clip stands" if len(twice) == 1 else "clips stand"
    return [f"{len(twice)} {are} in two splits under two names: {_some(twice)}; remove one of each"]


def speaker_warnings(unknown: int, of: int, twice: Sequence[str]) -> list[str]:
    """Warnings about recordings without a known speaker, and about speakers whom lists put into two splits."""
    messages = []
    if unknown:
        messages.append(
            f"no speaker is known of {unknown:,} of {of:,} clips, so these are split one by one, and validation and "
            "test may hold voices of the training; name them speaker_word_number.wav, or list file,speaker in "
            "speakers.csv"
        )
    if twice:
        messages.append(f"the lists put speakers into two splits: {_some(twice)}")
    return messages


def unused_warnings(empty: Sequence[str], test_folder: str, lacking: Sequence[str]) -> list[str]:
    """Warnings about folders without a recording, and about a test set that lacks classes."""
    messages = [f"folders hold no audio file: {_some(empty)}"] if empty else []
    if test_folder:
        lacks = f"{test_folder}/ is not used, for it has no {_some(lacking)}"
        messages.append(f"{lacks}: test is split off like validation")
    return messages


def _share_warning(
    by_word: Mapping[str, Sequence[ClipFacts]], fault: Callable[[ClipFacts], bool], share: float, what: str, do: str
) -> str:
    counts = {word: sum(map(fault, facts)) for word, facts in by_word.items()}
    words = [f"{word} ({n} of {len(by_word[word])})" for word, n in counts.items() if n > share * len(by_word[word])]
    return f"clips {what}: {_some(words)}; {do}" if words else ""


def _some(items: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(items) - NAMED
    return ", ".join(items[:NAMED]) + (f" and {more} more" if more > 0 else "")
