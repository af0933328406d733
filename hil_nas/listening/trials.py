"""A network's answers to audio without keywords and to keywords in such audio, and what decisions make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil_nas.deploy.decisions import PROBABILITIES, Decisions
from hil_nas.listening.decider import Decider
from hil_nas.listening.rates import Rate

Int8 = NDArray[np.int8]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Words:
    """Streams of one keyword each, all made alike.

    Attributes:
        answers: (streams, n, classes).
        labels: the class of each stream's word (streams,).
        ends: the answer, a real number, at whose time each word ends (streams,).
    """

    answers: Int8
    labels: NDArray[np.int64]
    ends: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Negatives:
    """Recordings in which no keyword is said.

    Attributes:
        answers: (n, classes) of each.
        hours: of all.
    """

    answers: Sequence[Int8]
    hours: float


@dataclass(frozen=True, eq=False)
class Errors:
    """What some decisions did wrong.

    Attributes:
        decisions: these.
        hours: of negatives.
        false_accepts: of each class (classes,).
        misses: of each class (classes,) by how the words were embedded.
        words: how many there were of each class (classes,).
        delay: from a word's end until it was heard, the median in answers; nan where none was.
    """

    decisions: Decisions
    hours: float
    false_accepts: Counts
    misses: Mapping[str, Counts]
    words: Counts
    delay: float

    @property
    def rate(self) -> Rate:
        return Rate(int(self.false_accepts.sum()), self.hours)

    def miss_share(self, condition: str) -> float:
        """Of all words under one condition."""
        return float(self.misses[condition].sum() / self.words.sum())

    @property
    def mean_miss_share(self) -> float:
        """The mean over all conditions."""
        return float(np.mean([self.miss_share(x) for x in self.misses]))

    def class_miss_share(self, index: int) -> float:
        """Of one class's words, the mean over all conditions; nan where there is none."""
        if not self.words[index]:
            return float("nan")
        return float(np.mean([x[index] for x in self.misses.values()]) / self.words[index])


class Trials:
    """One part of what decisions are tried on.

    Args:
        output: scale and zero point of the answers.
        words: by how they are embedded, the same words in the same order in each.
    """

    def __init__(
        self, negatives: Negatives, words: Mapping[str, Words], output: tuple[float, int], decide_library: Path
    ) -> None:
        self.negatives, self.words, self._output, self._library = negatives, words, output, decide_library

    @property
    def logits(self) -> bool:
        """Whether answers are logits and no probabilities."""
        return self._output != PROBABILITIES

    def errors(self, decisions: Decisions) -> Errors:
        """By the device's own C. A word counts as heard when its class is, anywhere in its stream."""
        classes = len(decisions.labels)
        false_accepts, delays = self.false_accepts(decisions), []
        decider = Decider(self._library, decisions, self._output)
        misses, said = {}, np.zeros(classes, np.int64)
        for condition, words in self.words.items():
            right = decider.streams(words.answers) == words.labels[:, None]  # (streams, n)
            found = right.any(axis=1)
            misses[condition] = np.bincount(words.labels[~found], minlength=classes)
            said = np.bincount(words.labels, minlength=classes)
            delays.append((right.argmax(axis=1) - words.ends)[found])
        every = np.concatenate(delays)
        delay = float(np.median(every)) if len(every) else float("nan")
        return Errors(decisions, self.negatives.hours, false_accepts, misses, said, delay)

    def false_accepts(self, decisions: Decisions) -> Counts:
        """Of each class (classes,) in the negatives."""
        decider, counts = Decider(self._library, decisions, self._output), np.zeros(len(decisions.labels), np.int64)
        for answers in self.negatives.answers:
            decider.restart()
            heard, _ = decider.next(answers)
            counts += np.bincount(heard[heard >= 0], minlength=len(counts))
        return counts
