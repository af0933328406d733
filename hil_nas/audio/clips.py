"""Clips as arrays: equally long mono audio; files that cannot be read are reported together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil_nas.audio.checks import ClipFacts, facts_of
from hil_nas.audio.decode import Samples, is_read, read_audio
from hil_nas.audio.layout import Recording
from hil_nas.errors import InputError
from hil_nas.files import plain_name
from hil_nas.front_ends import ClipFormat

Labels = npt.NDArray[np.int64]  # (n,)

_LONGEST_CLIP_S = 10
_LONGEST_NOISE_S = 600
_READERS = max(2, min(8, os.cpu_count() or 2))  # libsndfile and soxr release the interpreter
_NAMED = 5  # of the files that cannot be used


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips and their classes.

    Attributes:
        samples: int16 (n, samples).
        labels: int64 (n,), indices into the data set's classes.
    """

    samples: Samples
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.int64]) -> Clips:
        """The clips at these indices, in this order."""
        return Clips(self.samples[indices], self.labels[indices])


class Reader:
    """Reads the recordings of one data set.

    Attributes:
        refused: why recordings cannot be used, by name, for `check`.
    """

    def __init__(self, folder: Path, clip: ClipFormat) -> None:
        self.folder, self.clip = folder, clip
        self.refused: dict[str, InputError] = {}

    def clips(
        self, recordings: Sequence[Recording], read: Callable[[], None] = lambda: None
    ) -> tuple[Samples, list[ClipFacts | None]]:
        """Recordings as int16 (n, samples), in the order given, and what was seen of each.

        A shorter one is padded with zeros at its end; of a longer one the loudest part is kept. One that cannot be
        used is zeros, and has no facts.

        Args:
            read: called after each.
        """
        length = self.clip.samples
        out = np.zeros((len(recordings), length), np.int16)

        def fill(index: int) -> ClipFacts | None:
            recording = recordings[index]
            try:
                audio = read_audio(recording.path, _LONGEST_CLIP_S, self.clip.sample_rate_hz)
            except InputError as error:
                hint = error.hint or "cut long clips into short ones, one word each"
                self.refused[recording.name] = InputError(error.message, hint=hint)
                return None
            start = loudest(audio.samples, length) if len(audio.samples) > length else 0
            part = audio.samples[start : start + length]
            out[index, : len(part)] = part
            return facts_of(recording.name, part, audio, self.clip.sample_rate_hz)

        facts: list[ClipFacts | None] = []
        with ThreadPoolExecutor(_READERS) as readers:
            for clip_facts in readers.map(fill, range(len(recordings))):
                facts.append(clip_facts)
                read()
        return out, facts

    def refuse(self, recordings: Iterable[Recording]) -> None:
        """Keeps for `check` the recordings in a format that cannot be read, whether or not they are drawn."""
        self.clips([x for x in recordings if not is_read(x.path)])

    def noise(self, recordings: Sequence[Recording]) -> dict[str, Samples]:
        """Noise of any length as int16 (m,) each, by name; what is shorter than a clip is repeated."""
        samples_of: dict[str, Samples] = {}
        for recording in recordings:
            try:
                samples = read_audio(recording.path, _LONGEST_NOISE_S, self.clip.sample_rate_hz).samples
            except InputError as error:
                hint = error.hint or f"cut long noise into recordings of at most {_LONGEST_NOISE_S} s"
                self.refused[recording.name] = InputError(error.message, hint=hint)
                continue
            samples_of[recording.name] = np.resize(samples, max(len(samples), self.clip.samples))
        return samples_of

    def check(self) -> None:
        """Raises InputError where recordings could not be used; it names the first and counts them."""
        if not self.refused:
            return
        names = sorted(self.refused)
        some = ", ".join(f"{x} ({self.refused[x].message})" for x in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        hints = dict.fromkeys(self.refused[x].hint or "" for x in names)
        raise InputError(
            f"{len(names)} recordings in {plain_name(self.folder)} cannot be used: {some}{more}"
            if len(names) > 1 else f"{plain_name(self.folder)}/{some} cannot be used",
            hint="; ".join(hints),
        )  # fmt: skip


def loudest(audio: Samples, length: int) -> int:
    """Where in (m,) the samples with the most energy begin."""
    energy = np.concatenate([[0], np.cumsum(audio.astype(np.int64) ** 2)])
    return int(np.argmax(energy[length:] - energy[:-length]))
