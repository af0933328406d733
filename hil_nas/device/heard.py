"""What the records of `hil listen` mean: a board's answers on a stream, what it decided on them, what that took."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hil_nas.device.protocol import shown
from hil_nas.device.replies import NUMBER
from hil_nas.errors import ProtocolError

_RECORD = re.compile(rf"decision-{NUMBER}-{NUMBER}-{NUMBER}-{NUMBER}-((?:[0-9a-f][0-9a-f])+)")
_LIMIT, _ONE = 1 << 32, 1 << 15


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
