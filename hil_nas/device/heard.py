"""What the records of `hil listen` mean: a board's answers on a stream, what it decided on them, what that took."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil_nas.device.protocol import shown
from hil_nas.device.replies import NUMBER
from hil_nas.errors import ProtocolError

_RECORD = re.compile(rf"decision-{NUMBER}-{NUMBER}-{NUMBER}-{NUMBER}-((?:[0-9a-f][0-9a-f])+)")
_LIMIT, _ONE = 1 << 32, 1 << 15
_MOST_SAMPLES = 16_000  # of one upload that a board's firmware takes


@dataclass(frozen=True)
class BoardDecision:
    """One answer.

    Attributes:
        samples: from the stream's beginning to the window's end, modulo 2^32.
        cycles: since the decision before: the front end's new frames, the network, the decision. The first one's hold
            a whole window's frames.
        heard: the class, or -1.
        posterior: its average, 32768 for 1; 0 where none was heard.
        answer: the network's int8 outputs, as bytes.
    """

    samples: int
    cycles: int
    heard: int
    posterior: int
    answer: bytes


def uploads(samples: NDArray[np.int16], period_samples: int) -> Iterator[NDArray[np.int16]]:
    """A stream in parts that a board takes, each of whole periods where one has room.

    A board hears an upload a period at a time, as a product hears its microphone. Were a period cut in two between
    uploads, its decision would be made in more pieces than a product ever makes it in, and cost one percent more; those
    behind it, at another offset, less.
    """
    size = _MOST_SAMPLES // period_samples * period_samples or _MOST_SAMPLES
    for begin in range(0, len(samples), size):
        yield samples[begin : begin + size]


def parse_decisions(records: Sequence[str], classes: int) -> list[BoardDecision]:
    """The records of `hil listen`.

    Raises:
        ProtocolError: for other records, a counter that stands still, and numbers that no decision has.
    """
    return [_decision(x, classes) for x in records]


def _decision(text: str, classes: int) -> BoardDecision:
    match = _RECORD.fullmatch(text)
    if match is None or len(match[5]) != 2 * classes:
        raise ProtocolError(f"expected a decision on {classes} classes, found {shown(text)}")
    samples, cycles, heard, posterior = map(int, match.groups()[:4])
    if samples >= _LIMIT or cycles >= _LIMIT or heard > classes or posterior > _ONE:
        raise ProtocolError(f"no decision has the numbers of {shown(text)}")
    if not cycles:
        raise ProtocolError(
            f"the cycle counter did not move before the decision at sample {samples}",
            hint="the board's counter is missing or not enabled",
        )
    return BoardDecision(samples, cycles, heard - 1, posterior, bytes.fromhex(match[5]))
